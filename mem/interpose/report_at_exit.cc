// mem/interpose/report_at_exit.cc - WEFT_HEAP=report=PATH: a preloaded heap says at exit what the program still held.
// Tests: tests/mem/report_test.cc.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "mem/report.h"

namespace {

using namespace weft::mem;

// The value of report= in WEFT_HEAP; empty: not asked for. Parts are separated by commas.
std::string_view asked_path() noexcept {
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    std::string_view rest = *each;
    if (!rest.starts_with("WEFT_HEAP=")) continue;
    const std::size_t at = rest.find("report=");
    if (at == std::string_view::npos) return {};
    rest.remove_prefix(at + 7);
    return rest.substr(0, rest.find(','));
  }
  return {};
}

[[gnu::destructor]] void report_at_exit() noexcept {
  const std::string_view path = asked_path();
  std::array<char, 4096> name{};
  if (path.empty() || path.size() >= name.size()) return;
  path.copy(name.data(), path.size());
  const ReportFormat format = path.ends_with(".json")   ? ReportFormat::kJson
                              : path.ends_with(".prom") ? ReportFormat::kPrometheus
                                                        : ReportFormat::kText;
  static std::array<char, std::size_t{16} << 10> text;
  const std::size_t length = write_report(format, text);
  const int file = open(name.data(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return;
  static_cast<void>(!write(file, text.data(), length < text.size() ? length : text.size() - 1));
  close(file);
}

}  // namespace
