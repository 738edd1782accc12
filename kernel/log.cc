#include "kernel/log.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace weft {
namespace {

constexpr const char* kNames[] = {"error", "warning", "info", "debug"};

int level_from_environment() noexcept {
  const char* wanted = std::getenv("WEFT_LOG");
  for (int level = 0; wanted != nullptr && level < 4; ++level)
    if (std::string_view(wanted) == kNames[level]) return level;
  return static_cast<int>(LogLevel::kInfo);
}

std::atomic<int>& level_now() noexcept {
  static std::atomic<int> level{level_from_environment()};
  return level;
}

constinit std::atomic<int> descriptor{STDERR_FILENO};

}  // namespace

bool log_enabled(LogLevel level) noexcept {
  return static_cast<int>(level) <= level_now().load(std::memory_order_relaxed);
}

void set_log_level(LogLevel level) noexcept { level_now().store(static_cast<int>(level), std::memory_order_relaxed); }

void log_to(int fd) noexcept { descriptor.store(fd, std::memory_order_relaxed); }

void log_line(LogLevel level, const char* format, ...) noexcept {
  char line[1024];
  const int lead = std::snprintf(line, sizeof line, "weft: %s: ", kNames[static_cast<int>(level)]);
  const auto room = static_cast<int>(sizeof line) - lead - 1;  // the last byte is for the line's end
  va_list arguments;
  va_start(arguments, format);
  const int wanted = std::vsnprintf(line + lead, static_cast<std::size_t>(room), format, arguments);
  va_end(arguments);
  const int length = lead + std::clamp(wanted, 0, room - 1);
  std::replace(line, line + length, '\n', ' ');
  line[length] = '\n';
  // Nobody is left to tell should this fail.
  if (::write(descriptor.load(std::memory_order_relaxed), line, static_cast<std::size_t>(length) + 1) < 0) return;
}

}  // namespace weft
