// mem/report.h - what the heap holds, for people, for programs (JSON) and for Prometheus (text exposition format 0.0.4).
//
// Thread-safe; takes what gather_stats() takes. Allocates nothing, so it may be asked by a process that has no memory left.
// Under malloc's name the heap writes a report at exit where WEFT_HEAP names a file: report=PATH, in the format its name says.
// Tests: tests/mem/report_test.cc.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace weft::mem {

enum class ReportFormat { kText, kJson, kPrometheus };

// What any report fits into.
inline constexpr std::size_t kReportBytes = std::size_t{16} << 10;

// By the end of a path: .json, .prom; anything else is text.
ReportFormat report_format_of(std::string_view path) noexcept;

// Writes it, ended by a zero byte and cut if it does not fit. Returns its length without that byte: if `into` is shorter than
// that and one, ask again.
[[gnu::visibility("default")]] std::size_t write_report(ReportFormat format, std::span<char> into) noexcept;

}  // namespace weft::mem
