// sched/context.h - one machine context: a fiber's, or the thread's own. The one door to Boost.Context. Internal.
//
//   worker -> [context] -> another fiber
//
// A switch saves and restores the registers that a call preserves, the stack pointer and, where they differ, the floating-point
// control words, and tells AddressSanitizer and ThreadSanitizer. On x86-64 the switch is our own (context_x86_64.cc, some 25
// instructions), with frames laid out as Boost's; elsewhere it is Boost's.
// The C++ exception state does not travel by itself: see exception_state.h.
//
// Invariants   C1  a context runs on at most one thread; switch_to() returns in the context it was called in, perhaps on
//                  another thread: nothing thread-local may be kept across it (see current.h)
//              C2  a prepared context is left for the last time with `ends`, and then only released
//              C3  of the contexts that share a stack, only the one made last runs or has a place to go on from
// Tests: tests/sched/context_test.cc.
#pragma once

#include <cstddef>

#include "sched/sanitizers.h"

#if defined(__x86_64__)
// context_x86_64.cc. Saves the stack pointer at `*from` and goes on at `to`; there `left` is what the call returns, or what the
// entry is called with.
extern "C" void* weft_sched_switch(void** from, void* to, void* left) noexcept;
#endif

namespace weft::sched {

class Context {
 public:
  // The context of the thread that first switches away from it.
  Context() noexcept = default;
  ~Context() { release(); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Makes it start in `entry`, which must not return, on the stack [bottom, bottom + size_bytes). `stagger` keeps the tops
  // of equally aligned stacks off the same cache sets.
  void prepare(void* bottom, std::size_t size_bytes, std::size_t stagger, void (*entry)()) noexcept;
  // There is a place to go on from.
  [[nodiscard]] bool prepared() const noexcept { return machine_ != nullptr; }
  // Forgets a stack whose fiber has ended. Not from the context itself.
  void release() noexcept;

  // The running context `ended` goes on as this one: same stack, same frames.
  void take_over(Context& ended) noexcept;
  // This one runs now on the stack of `below`, the running one, above its frames, and has ended before `below` goes on (C3).
  void run_above(const Context& below) noexcept;

  // Leaves `from`, the running one, and goes on in `to`. With `ends`, `from` will never be entered again.
  static void switch_to(Context& from, Context& to, bool ends = false) noexcept;

  // Where the stack pointer was when the context was last left; for the inspector, which looks while a worker may be writing it.
  [[nodiscard]] __attribute__((no_sanitize("thread"))) void* stack_pointer() const noexcept { return machine_; }

 private:
  friend struct DebugLayoutMaker;
  struct Door;  // context.cc: the side that sees the machine

  void* machine_ = nullptr;  // the stack pointer; the frame there is that of Boost's fcontext_t
#if !defined(__x86_64__)
  void (*entry_)() = nullptr;
#endif
#if defined(WEFT_ASAN)
  const void* bottom_ = nullptr;
  std::size_t size_bytes_ = 0;
  void* fake_stack_ = nullptr;
#endif
#if defined(WEFT_TSAN)
  void* tsan_fiber_ = nullptr;
  bool owns_tsan_fiber_ = false;
#endif
};

#if defined(__x86_64__) && !defined(WEFT_ASAN) && !defined(WEFT_TSAN)
inline void Context::switch_to(Context& from, Context& to, bool /*ends*/) noexcept {
  weft_sched_switch(&from.machine_, to.machine_, &from);
}
#endif

}  // namespace weft::sched
