// mem/stack_trace.cc - see stack_trace.h.
#include "mem/stack_trace.h"

#include <unwind.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#ifdef WEFT_MEM_WEAK
#include <dlfcn.h>
#endif

// Begin and end of the section, as the linker knows them.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
[[gnu::visibility("hidden")]] extern const char __start_weft_heap[];
[[gnu::visibility("hidden")]] extern const char __stop_weft_heap[];
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
}

namespace weft::mem {
namespace {

struct Unwinder {
  decltype(&_Unwind_Backtrace) backtrace;
  decltype(&_Unwind_GetIP) address;
};
constinit std::atomic<const Unwinder*> unwinder{nullptr};

#ifdef WEFT_MEM_WEAK
const Unwinder* find_unwinder() noexcept {
  static constinit Unwinder found{};
  void* library = dlopen("libgcc_s.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  found.backtrace = reinterpret_cast<decltype(found.backtrace)>(dlsym(library, "_Unwind_Backtrace"));
  found.address = reinterpret_cast<decltype(found.address)>(dlsym(library, "_Unwind_GetIP"));
  return found.backtrace != nullptr && found.address != nullptr ? &found : nullptr;
}
#else
const Unwinder* find_unwinder() noexcept {
  static constexpr Unwinder kLinked{.backtrace = &_Unwind_Backtrace, .address = &_Unwind_GetIP};
  return &kLinked;
}
#endif

constinit thread_local bool tracing = false;

// The heap's own calls of each other are not deeper.
constexpr std::size_t kDeepestEntry = 10;

struct Walk {
  StackTrace& into;
  std::size_t seen = 0;
  const Unwinder& unwind;
};

bool is_entry(const void* address) noexcept {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  return at > reinterpret_cast<std::uintptr_t>(__start_weft_heap) &&
         at <= reinterpret_cast<std::uintptr_t>(__stop_weft_heap);
}

_Unwind_Reason_Code visit(_Unwind_Context* context, void* to) noexcept {
  Walk& walk = *static_cast<Walk*>(to);
  auto* address = reinterpret_cast<void*>(walk.unwind.address(context));
  if (address == nullptr) return _URC_END_OF_STACK;
  if (walk.seen++ < kDeepestEntry && is_entry(address)) {
    walk.into.depth = 0;
    return _URC_NO_REASON;
  }
  walk.into.frames[walk.into.depth++] = address;
  return walk.into.depth == StackTrace::kMostFrames ? _URC_END_OF_STACK : _URC_NO_REASON;
}

}  // namespace

bool is_tracing() noexcept { return tracing; }

void trace_stack(StackTrace& into) noexcept {
  into.depth = 0;
  const Unwinder* found = unwinder.load(std::memory_order_acquire);
  if (found == nullptr || tracing) return;
  tracing = true;
  Walk walk{.into = into, .unwind = *found};
  found->backtrace(&visit, &walk);
  tracing = false;
}

bool prepare_stack_traces() noexcept {
  if (unwinder.load(std::memory_order_acquire) == nullptr) {
    unwinder.store(find_unwinder(), std::memory_order_release);
    // What it prepares for itself it prepares now.
    StackTrace first;
    trace_stack(first);
  }
  return unwinder.load(std::memory_order_acquire) != nullptr;
}

}  // namespace weft::mem
