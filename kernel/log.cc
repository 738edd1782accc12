#include "kernel/log.h"

#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <mutex>
#include <string_view>

#include "kernel/clock.h"
#include "kernel/spinlock.h"

namespace weft {
namespace {

constexpr const char* kNames[] = {"error", "warning", "info", "debug"};

int level_from_environment() noexcept {
  const char* wanted = std::getenv("WEFT_LOG");  // NOLINT(concurrency-mt-unsafe): nothing here sets it
  for (int level = 0; wanted != nullptr && level < 4; ++level)
    if (std::string_view(wanted) == kNames[level]) return level;
  return static_cast<int>(LogLevel::kInfo);
}

std::atomic<int>& level_now() noexcept {
  static std::atomic<int> level{level_from_environment()};
  return level;
}

constexpr int kSyslog = -1;
constinit std::atomic<int> descriptor{STDERR_FILENO};
constinit std::atomic<const Clock*> clock_of_windows{nullptr};

// How much each format has had of its window. Two formats that fall on one place take turns to forget each other, at worst to
// let more through.
struct Place {
  const char* format = nullptr;
  std::chrono::nanoseconds window_start{};
  unsigned lines = 0;
  std::uint64_t left_out = 0;
};
constinit Place places[64];
constinit Spinlock places_lock;

// Whether a line of this format may go out; how many were left out since the last that did.
bool admit(const char* format, std::uint64_t& left_out) noexcept {
  const Clock* clock = clock_of_windows.load(std::memory_order_relaxed);
  const auto now = (clock != nullptr ? *clock : system_clock()).monotonic();
  const std::lock_guard guard(places_lock);
  Place& place = places[std::hash<const void*>{}(format) / 8 % std::size(places)];
  if (place.format != format) place = {.format = format, .window_start = now};
  if (now - place.window_start >= kLogWindow) {
    place.window_start = now;
    place.lines = 0;
  }
  if (place.lines >= kLogBurst) {
    ++place.left_out;
    return false;
  }
  ++place.lines;
  left_out = place.left_out;
  place.left_out = 0;
  return true;
}

// `line` has room for the line's end.
void put_line(LogLevel level, char* line, std::size_t lead, std::size_t length) noexcept {
  const int fd = descriptor.load(std::memory_order_relaxed);
  if (fd == kSyslog) {
    static constexpr int kPriorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    syslog(kPriorities[static_cast<int>(level)], "%.*s", static_cast<int>(length - lead), line + lead);
    return;
  }
  line[length] = '\n';
  // Nobody is left to tell should this fail.
  if (::write(fd, line, length + 1) < 0) return;
}

}  // namespace

bool log_enabled(LogLevel level) noexcept {
  return static_cast<int>(level) <= level_now().load(std::memory_order_relaxed);
}

void set_log_level(LogLevel level) noexcept { level_now().store(static_cast<int>(level), std::memory_order_relaxed); }

void log_to(int fd) noexcept { descriptor.store(fd, std::memory_order_relaxed); }

bool log_goes_to_stderr() noexcept { return descriptor.load(std::memory_order_relaxed) == STDERR_FILENO; }

void log_to_syslog(const char* name) noexcept {
  openlog(name, LOG_PID, LOG_DAEMON);
  descriptor.store(kSyslog, std::memory_order_relaxed);
}

void set_log_clock(const Clock& clock) noexcept { clock_of_windows.store(&clock, std::memory_order_relaxed); }

void log_line(LogLevel level, const char* format, ...) noexcept {
  char line[1024];
  std::uint64_t left_out = 0;
  if (level <= LogLevel::kWarning && !admit(format, left_out)) return;
  if (left_out != 0) {
    const auto lead =
        static_cast<std::size_t>(std::snprintf(line, sizeof line, "weft: %s: ", kNames[static_cast<int>(level)]));
    const auto more = static_cast<std::size_t>(std::snprintf(line + lead, sizeof line - lead,
                                                             "%llu lines like the next one were left out",
                                                             static_cast<unsigned long long>(left_out)));
    put_line(level, line, lead, lead + more);
  }
  const int lead = std::snprintf(line, sizeof line, "weft: %s: ", kNames[static_cast<int>(level)]);
  const auto room = static_cast<int>(sizeof line) - lead - 1;  // the last byte is for the line's end
  va_list arguments;
  va_start(arguments, format);
  const int wanted = std::vsnprintf(line + lead, static_cast<std::size_t>(room), format, arguments);
  va_end(arguments);
  const int length = lead + std::clamp(wanted, 0, room - 1);
  std::replace(line, line + length, '\n', ' ');
  put_line(level, line, static_cast<std::size_t>(lead), static_cast<std::size_t>(length));
}

}  // namespace weft
