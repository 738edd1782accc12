// mem/report.h - what the heap holds, for people, for programs (JSON) and for Prometheus (text exposition format 0.0.4).
//
// Thread-safe; takes what gather_stats() takes. Allocates nothing, so it may be asked by a process that has no memory left.
// Preloaded, the heap writes a report at exit where WEFT_HEAP names a file: report=PATH, as JSON if it ends in .json, for Prometheus
// if in .prom, else as text.
// Tests: tests/mem/report_test.cc.
#pragma once

#include <cstddef>
#include <span>

namespace weft::mem {

enum class ReportFormat { kText, kJson, kPrometheus };

// Writes it, ended by a zero byte and cut if it does not fit. Returns its length without that byte: if `into` is shorter than
// that and one, ask again. 16 KiB suffice.
[[gnu::visibility("default")]] std::size_t write_report(ReportFormat format, std::span<char> into) noexcept;

}  // namespace weft::mem
