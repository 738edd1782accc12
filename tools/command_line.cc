#include "tools/command_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace weft::tools {
namespace {

// 0 for bytes, 10 for K and so on; -1 for what is no unit.
int shift_of(std::string_view unit) {
  constexpr std::string_view kLetters = "KMGTPE";
  if (unit.empty() || unit == "B" || unit == "b") return 0;
  const std::size_t letter = kLetters.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit.front()))));
  if (letter == std::string_view::npos) return -1;
  const std::string_view rest = unit.substr(1);
  if (!rest.empty() && rest != "B" && rest != "b" && rest != "iB") return -1;
  return 10 * (static_cast<int>(letter) + 1);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  constexpr double kTooMany = 0x1p63;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  double number = 0;
  const auto [after, error] = std::from_chars(begin, end, number, std::chars_format::fixed);
  const int shift = error == std::errc() ? shift_of({after, end}) : -1;
  if (shift < 0 || !(number >= 0)) {
    return fail(Errc::kInvalid, fmt::format("'{}' is not a size; write for example 512M, 10G or 2T", text));
  }
  if (std::ldexp(number, shift) >= kTooMany) return fail(Errc::kInvalid, fmt::format("{} is too much", text));
  // Whole numbers do not pass through a double, which has 53 bits.
  std::uint64_t whole = 0;
  if (std::from_chars(begin, end, whole).ptr == after) return whole << shift;
  return static_cast<std::uint64_t>(std::ldexp(number, shift));
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  const bool whole = value == std::floor(value) || value >= 100;
  return fmt::format("{:.{}f} {}", value, whole ? 0 : 1, kUnits[unit]);
}

void complain(std::string_view program, std::string_view message) { fmt::print(stderr, "{}: {}\n", program, message); }

ProgressBar::ProgressBar(std::string title, When when)
    : title_(std::move(title)),
      enabled_(when == When::kAlways || (when == When::kOnTerminal && ::isatty(STDERR_FILENO) != 0)) {}

void ProgressBar::update(std::uint64_t done, std::uint64_t total) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (shown_ && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  shown_ = true;
  constexpr int kWidth = 40;
  const double share = total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  fmt::print(stderr, "\r{} [{:<{}}] {:5.1f}%", title_, std::string(static_cast<std::size_t>(share * kWidth), '='),
             kWidth, share * 100);
  std::fflush(stderr);
}

void ProgressBar::finish() {
  if (!shown_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace weft::tools
