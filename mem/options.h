// mem/options.h - what the environment variable WEFT_HEAP asks of the heap at start. libweft-mem(7) is its manual. Internal.
//
//   WEFT_HEAP=hardened,profile=/tmp/p.%p.heap,sample=256k,hard=2g
//
// Read once, by the first call that needs to know, before main() as a rule, and without allocating. What is not understood is said
// on standard error, and the rest holds. In a program that runs with more rights than its caller (set-user-ID) nothing that
// writes a file is taken from the caller.
// Tests: tests/mem/options_test.cc.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weft::mem {

inline constexpr std::size_t kNoLimit = SIZE_MAX;
inline constexpr std::size_t kUsualSample = std::size_t{512} << 10;

// Whether there is a thread that gives back what nobody uses (purge_thread.h).
enum class PurgeThread : std::uint8_t {
  kAuto,  // in programs that have threads
  kOn,    // in others as well
  kOff,
};

struct Options {
  bool hardened = false;
  bool full = false;  // hardened=full
  // Sampling is wanted: profile, leaks or sample was given.
  bool sampling = false;
  // Paths, as given: "%p" stands for the process id. nullptr: not asked for; "": asked for without a path.
  const char* profile = nullptr;
  const char* leaks = nullptr;
  const char* report = nullptr;
  const char* stats = nullptr;
  std::size_t sample_bytes = 0;  // 0: not given
  std::size_t soft_bytes = kNoLimit;
  std::size_t hard_bytes = kNoLimit;
  PurgeThread purge_thread = PurgeThread::kAuto;
};

// The process's. Thread-safe.
const Options& options() noexcept;

// `text`: what stands behind "WEFT_HEAP="; commas in it become zero bytes, and it must outlive `into`. Each fault is handed to
// `complain` as what is wrong and with which option. `trusted`: files may be written.
void parse_options(std::span<char> text, bool trusted, Options& into,
                   void (*complain)(const char* what, std::string_view option)) noexcept;

// "%p" becomes the id of that process; the result ends with a zero byte. False: `into` is too short.
bool expand_path(const char* pattern, pid_t process, std::span<char> into) noexcept;
// Whether this process is the one to write to that path: forked children leave a path without "%p" to their parent.
bool is_own_path(const char* pattern) noexcept;

}  // namespace weft::mem
