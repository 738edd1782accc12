// sched/context.h - one machine context: a fiber's, or the thread's own. The one door to Boost.Context.
//
//   worker -> [context] -> another fiber
//
// A switch saves and restores, beside registers and stack pointer, the C++ exception state (which Boost before 1.88 leaves
// behind: a rethrow would then throw another fiber's exception), and tells AddressSanitizer and ThreadSanitizer.
//
// Invariants   C1  a context runs on at most one thread; switch_to() returns in the context it was called in, perhaps on
//                  another thread: nothing thread-local may be kept across it (see current.h)
//              C2  a prepared context is left for the last time with `ends`, and then only released
// Tests: tests/sched/context_test.cc.
#pragma once

#include <cstddef>

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
  [[nodiscard]] bool prepared() const noexcept { return machine_ != nullptr; }
  // Forgets a stack whose fiber has ended. Not from the context itself.
  void release() noexcept;

  // Leaves `from`, the running one, and goes on in `to`. With `ends`, `from` will never be entered again.
  static void switch_to(Context& from, Context& to, bool ends = false) noexcept;

  // Where the stack pointer was when the context was last left; for the inspector.
  [[nodiscard]] void* stack_pointer() const noexcept { return machine_; }

 private:
  struct ExceptionState {  // what __cxa_get_globals() points at, by the Itanium C++ ABI
    void* caught = nullptr;
    unsigned int uncaught = 0;
  };
  struct Door;  // context.cc: the side that sees Boost

  void* machine_ = nullptr;  // Boost's fcontext_t
  ExceptionState exceptions_;
  void (*entry_)() = nullptr;
  const void* bottom_ = nullptr;  // the rest is for sanitizers only
  std::size_t size_bytes_ = 0;
  void* fake_stack_ = nullptr;
  void* tsan_fiber_ = nullptr;
  bool owns_tsan_fiber_ = false;
};

}  // namespace weft::sched
