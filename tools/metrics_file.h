// tools/metrics_file.h - the numbers of a running server as a file that other programs read.
//
// The file is replaced as a whole (written beside it, then renamed), so a reader never sees half of one. Its format goes by its
// name: ".prom" is Prometheus's text format, as node_exporter's textfile collector takes it, ".txt" a line each for people, anything
// else JSON. Blocks the thread. Tests: tests/tools/metrics_file_test.cc.
#pragma once

#include <string>
#include <string_view>

#include "kernel/metrics.h"
#include "kernel/result.h"

namespace weft::tools {

MetricsFormat metrics_format_of(std::string_view path) noexcept;

// Errors: those of open(2) and rename(2); the old file is then as it was.
Status write_metrics_file(const Metrics& metrics, const std::string& path);

}  // namespace weft::tools
