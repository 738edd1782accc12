// mem/interpose/process.cc - see process.h.
#include "mem/interpose/process.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

#include "mem/line.h"
#include "mem/options.h"
#include "mem/report.h"
#include "mem/text_file.h"

namespace weft::mem {

const char process_hooks = 0;

namespace {

void write_end_report(TextFile& to) noexcept {
  const std::string_view path = options().report;
  static std::array<char, kReportBytes> text;
  write_report(report_format_of(path), text);
  to.add_text(text.data());
}

// Nothing if it was not asked for, or is another process's to write.
void write_asked(const char* option, const char* pattern, void (*write)(TextFile& to)) noexcept {
  if (pattern == nullptr || *pattern == '\0' || !is_own_path(pattern)) return;
  static std::array<char, 4096> path;
  errno = ENAMETOOLONG;
  if (expand_path(pattern, path) && write_file(path.data(), write)) return;
  const int error = errno;
  Line line;
  line.add("weft heap: ").add(option).add("=").add(pattern).add(": cannot be written: ");
  line.add(strerrordesc_np(error)).write_out();
}

[[gnu::destructor]] void process_ends() noexcept {
  write_asked("report", options().report, &write_end_report);
}

}  // namespace
}  // namespace weft::mem
