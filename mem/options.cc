// mem/options.cc - see options.h.
#include "mem/options.h"

#include <sched.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "mem/line.h"
#include "mem/seldom.h"

namespace weft::mem {
namespace {

constexpr const char* kKnown =
    "known are hardened[=full], fast, profile[=FILE], sample=SIZE, leaks[=FILE], report=FILE, stats=SOCKET, soft=SIZE, "
    "hard=SIZE, purge_thread=auto|on|off";

enum class Value { kNone, kLevel, kMaybe, kPath, kSize, kPurgeThread };

struct Known {
  std::string_view name;
  Value value;
  void (*set)(Options& into, const char* path, std::size_t size) noexcept;
};
constexpr std::array<Known, 10> kOptions{{
    {"hardened", Value::kLevel,
     [](Options& into, const char* level, std::size_t) noexcept {
       into.hardened = true;
       into.full = level != nullptr;
     }},
    {"fast", Value::kNone, [](Options& into, const char*, std::size_t) noexcept { into.hardened = false; }},
    {"profile", Value::kMaybe,
     [](Options& into, const char* path, std::size_t) noexcept {
       into.profile = path;
       into.sampling = true;
     }},
    {"leaks", Value::kMaybe,
     [](Options& into, const char* path, std::size_t) noexcept {
       into.leaks = path;
       into.sampling = true;
     }},
    {"report", Value::kPath, [](Options& into, const char* path, std::size_t) noexcept { into.report = path; }},
    {"stats", Value::kPath, [](Options& into, const char* path, std::size_t) noexcept { into.stats = path; }},
    {"sample", Value::kSize,
     [](Options& into, const char*, std::size_t size) noexcept {
       into.sample_bytes = size;
       into.sampling = true;
     }},
    {"soft", Value::kSize, [](Options& into, const char*, std::size_t size) noexcept { into.soft_bytes = size; }},
    {"hard", Value::kSize, [](Options& into, const char*, std::size_t size) noexcept { into.hard_bytes = size; }},
    {"purge_thread", Value::kPurgeThread,
     [](Options& into, const char*, std::size_t when) noexcept { into.purge_thread = static_cast<PurgeThread>(when); }},
}};
// By number.
constexpr std::array<std::string_view, 3> kPurgeThreads{"auto", "on", "off"};

// "4096", "512k", "2G", "1t": powers of 1024. 0: no size.
std::size_t size_of(std::string_view text) noexcept {
  std::size_t value = 0;
  std::size_t at = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    if (__builtin_mul_overflow(value, std::size_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<std::size_t>(text[at] - '0'), &value)) {
      return 0;
    }
  }
  if (at == 0) return 0;
  std::string_view unit = text;
  unit.remove_prefix(at);
  if (unit.empty()) return value;
  constexpr std::string_view kUnits = "kmgt";
  const std::size_t step = kUnits.find(static_cast<char>(unit[0] | 0x20));
  if (unit.size() > 1 || step == std::string_view::npos) return 0;
  const std::size_t factor = std::size_t{1} << 10 * (step + 1);
  return __builtin_mul_overflow(value, factor, &value) ? 0 : value;
}

// One of them, ended by a zero byte.
const char* fault_of(char* text, bool trusted, Options& into) noexcept {
  char* value = std::strchr(text, '=');
  const std::string_view name =
      value == nullptr ? std::string_view(text) : std::string_view(text, static_cast<std::size_t>(value - text));
  const auto* known =
      std::find_if(kOptions.begin(), kOptions.end(), [&](const Known& each) { return each.name == name; });
  if (known == kOptions.end()) return "no such option";
  if (value != nullptr) ++value;
  const bool is_file = known->value == Value::kPath || known->value == Value::kMaybe;
  if (is_file && !trusted) return "not for a program that runs with more rights than its caller";
  switch (known->value) {
    case Value::kNone:
      if (value != nullptr) return "takes no value";
      known->set(into, nullptr, 0);
      return nullptr;
    case Value::kLevel:
      if (value != nullptr && std::strcmp(value, "full") != 0) return "has no level but full";
      known->set(into, value, 0);
      return nullptr;
    case Value::kMaybe:
    case Value::kPath:
      if ((value == nullptr || *value == '\0') && known->value == Value::kPath) return "needs a path: NAME=PATH";
      known->set(into, value == nullptr ? "" : value, 0);
      return nullptr;
    case Value::kSize: {
      const std::size_t size = value == nullptr ? 0 : size_of(value);
      if (size == 0) return "needs a size of at least a byte, such as 4096, 512k, 64m, 2g";
      known->set(into, nullptr, size);
      return nullptr;
    }
    case Value::kPurgeThread: {
      const auto* when = std::find(kPurgeThreads.begin(), kPurgeThreads.end(), value == nullptr ? "" : value);
      if (when == kPurgeThreads.end()) return "is auto, on or off";
      known->set(into, nullptr, static_cast<std::size_t>(when - kPurgeThreads.begin()));
      return nullptr;
    }
  }
  return nullptr;
}

void complain_on_stderr(const char* what, std::string_view option) noexcept {
  Line line;
  line.add("weft heap: WEFT_HEAP: '").add(option).add("': ").add(what).add("; ").add(kKnown);
  line.write_out();
}

constexpr std::size_t kLongest = 4096;

constinit std::atomic<int> state{0};  // 0: nobody has read it; 1: somebody is at it; 2: done
constinit Options process_options;
constinit pid_t first_process = 0;

void read_environment() noexcept {
  constexpr std::string_view kName = "WEFT_HEAP=";
  WEFT_SELDOM static constinit std::array<char, kLongest> copy{};  // the program may change its environment
  first_process = getpid();
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    std::string_view value = *each;
    if (!value.starts_with(kName)) continue;
    value.remove_prefix(kName.size());
    if (value.size() >= copy.size()) {
      value.remove_suffix(value.size() - 40);
      return complain_on_stderr("is too long, nothing of it holds", value);
    }
    std::memcpy(copy.data(), value.data(), value.size());
    parse_options(std::span(copy).first(value.size() + 1), getauxval(AT_SECURE) == 0, process_options,
                  &complain_on_stderr);
    return;
  }
}

}  // namespace

void parse_options(std::span<char> text, bool trusted, Options& into,
                   void (*complain)(const char* what, std::string_view option)) noexcept {
  // The last byte is the zero byte.
  for (std::size_t at = 0; at + 1 < text.size();) {
    const std::size_t end =
        std::min(std::string_view(text.data() + at, text.size() - 1 - at).find(','), text.size() - 1 - at) + at;
    text[end] = '\0';
    char* option = text.data() + at;
    const std::string_view whole(option, end - at);
    if (const char* fault = whole.empty() ? nullptr : fault_of(option, trusted, into); fault != nullptr) {
      complain(fault, whole);
    }
    at = end + 1;
  }
  if (into.soft_bytes != kNoLimit && into.soft_bytes > into.hard_bytes) {
    complain("is more than hard=, so that it is never reached", "soft");
  }
}

const Options& options() noexcept {
  while (state.load(std::memory_order_acquire) != 2) [[unlikely]] {
    int none = 0;
    if (state.compare_exchange_strong(none, 1, std::memory_order_acq_rel)) {
      read_environment();
      state.store(2, std::memory_order_release);
    } else if (none == 1) {
      sched_yield();
    }
  }
  return process_options;
}

bool expand_path(const char* pattern, pid_t process, std::span<char> into) noexcept {
  std::size_t length = 0;
  const auto put = [&](char c) {
    if (length < into.size()) into[length] = c;
    ++length;
  };
  for (; *pattern != '\0'; ++pattern) {
    if (pattern[0] != '%' || pattern[1] != 'p') {
      put(*pattern);
      continue;
    }
    ++pattern;
    Line digits;
    digits.add_number(static_cast<std::uint64_t>(process));
    for (const char c : digits.text()) put(c);
  }
  put('\0');
  return length <= into.size();
}

bool is_own_path(const char* pattern) noexcept {
  options();
  return std::strstr(pattern, "%p") != nullptr || getpid() == first_process;
}

}  // namespace weft::mem
