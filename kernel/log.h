// kernel/log.h - one line to whoever runs this: to stderr, a file, or syslog.
//
//   log_warning("journal: %u of %u blocks unreadable", bad, all);
//
// A failing disk can make a million errors a second. Of errors and warnings from one place (one format string) at most
// kLogBurst lines go out in kLogWindow; the next line from there says how many were left out.
//
// Level by the environment's WEFT_LOG (error, warning, info, debug; info if unset). A line is written whole, by one
// call. Any thread or fiber; never parks a fiber, though the thread may wait for the terminal. Tests: tests/kernel/log_test.cc.
#pragma once

#include <chrono>
#include <cstdint>

namespace weft {

class Clock;

inline constexpr unsigned kLogBurst = 200;
inline constexpr auto kLogWindow = std::chrono::seconds(5);

enum class LogLevel : std::uint8_t { kError, kWarning, kInfo, kDebug };

[[nodiscard]] bool log_enabled(LogLevel level) noexcept;
void set_log_level(LogLevel level) noexcept;
// The descriptor lines go to from now on, which the caller keeps open. 2 at the start.
void log_to(int fd) noexcept;
[[nodiscard]] bool log_goes_to_stderr() noexcept;
// To syslog(3) from now on, as `name` (which lives for ever) with facility daemon; each line at its level.
void log_to_syslog(const char* name) noexcept;
// What kLogWindow is measured with; lives for ever. system_clock() at the start.
void set_log_clock(const Clock& clock) noexcept;

// printf's format. Longer than about 1000 bytes is cut; a line break within becomes a space.
[[gnu::format(printf, 2, 3)]] void log_line(LogLevel level, const char* format, ...) noexcept;

}  // namespace weft

// Macros, so that arguments are not evaluated for a level that is off.
#define WEFT_LOG_AT(level, ...) \
  (::weft::log_enabled(level) ? ::weft::log_line(level, __VA_ARGS__) : static_cast<void>(0))
#define log_error(...) WEFT_LOG_AT(::weft::LogLevel::kError, __VA_ARGS__)
#define log_warning(...) WEFT_LOG_AT(::weft::LogLevel::kWarning, __VA_ARGS__)
#define log_info(...) WEFT_LOG_AT(::weft::LogLevel::kInfo, __VA_ARGS__)
#define log_debug(...) WEFT_LOG_AT(::weft::LogLevel::kDebug, __VA_ARGS__)
