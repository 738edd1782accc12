#include "sched/context.h"

#include <cxxabi.h>

#include <cstdint>
#include <cstring>

#include "kernel/check.h"
#include "sched/exception_state.h"

#if !defined(__x86_64__)
#include <boost/context/detail/fcontext.hpp>
#endif
#if defined(WEFT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(WEFT_TSAN)
#include <sanitizer/tsan_interface.h>
#define WEFT_NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define WEFT_NO_TSAN
#endif

#if defined(__x86_64__)
extern "C" void weft_sched_start() noexcept;
#endif

namespace weft::sched {

// Not inlined: its answer belongs to the thread that asks.
[[gnu::noinline]] ExceptionState* exceptions_of_this_thread() noexcept {
  asm volatile("" ::: "memory");
  return reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
}

struct Context::Door {
  // First thing on arrival.
  WEFT_NO_TSAN static void arrive([[maybe_unused]] void* left_context, [[maybe_unused]] Context* self) noexcept {
#if defined(WEFT_ASAN)
    auto* left = static_cast<Context*>(left_context);
    __sanitizer_finish_switch_fiber(self != nullptr ? self->fake_stack_ : nullptr, &left->bottom_, &left->size_bytes_);
#endif
  }

#if defined(__x86_64__)
  WEFT_NO_TSAN static void start(void* left, void (*entry)()) noexcept {
    arrive(left, nullptr);
    entry();
    WEFT_CHECK(!"a fiber's entry returned");
  }

  // What weft_sched_switch() would have saved.
  struct Frame {
    std::uint32_t mxcsr;
    std::uint16_t x87_control;
    std::uint16_t unused;
    void (*r12)(void* left, void (*entry)());
    void (*r13)();
    std::uint64_t r14, r15, rbx, rbp;
    void (*rip)();
    std::uint64_t end[2];  // zeros, for who follows frame pointers or return addresses
  };
  static_assert(sizeof(Frame) == 80);

  static void* first_frame(std::byte* top, std::size_t, void (*entry)()) noexcept {
    // weft_sched_start wants the stack pointer as it is before a call: a multiple of 16, once the frame is popped.
    auto* frame =
        reinterpret_cast<Frame*>((reinterpret_cast<std::uintptr_t>(top) & ~std::uintptr_t{15}) - sizeof(Frame));
    *frame = {};
    asm volatile("stmxcsr %0" : "=m"(frame->mxcsr));
    asm volatile("fnstcw %0" : "=m"(frame->x87_control));
    frame->r12 = &start;
    frame->r13 = entry;
    frame->rip = &weft_sched_start;
    return frame;
  }

  WEFT_NO_TSAN static void* jump(Context& from, Context& to) noexcept {
    return weft_sched_switch(&from.machine_, to.machine_, &from);
  }
#else
  WEFT_NO_TSAN static void start(boost::context::detail::transfer_t arrived) noexcept {
    auto* left = static_cast<Context*>(arrived.data);
    left->machine_ = arrived.fctx;
    void (*entry)() = left->entry_;  // the leaver carried our entry over
    left->entry_ = nullptr;
    arrive(left, nullptr);
    entry();
    WEFT_CHECK(!"a fiber's entry returned");
  }
  WEFT_NO_TSAN static void* jump(Context& from, Context& to) noexcept {
    if (to.entry_ != nullptr) {
      from.entry_ = to.entry_;
      to.entry_ = nullptr;
    }
    const auto arrived = boost::context::detail::jump_fcontext(to.machine_, &from);
    static_cast<Context*>(arrived.data)->machine_ = arrived.fctx;
    return arrived.data;
  }
#endif
};

void Context::prepare(void* bottom, std::size_t size_bytes, std::size_t stagger, void (*entry)()) noexcept {
#if defined(WEFT_ASAN)
  bottom_ = bottom;
  size_bytes_ = size_bytes;
  fake_stack_ = nullptr;
  // The last fiber on this stack ended without leaving its frames.
  __asan_unpoison_memory_region(bottom, size_bytes);
#endif
#if defined(WEFT_TSAN)
  tsan_fiber_ = __tsan_create_fiber(0);
  owns_tsan_fiber_ = true;
#endif
  auto* top = static_cast<std::byte*>(bottom) + size_bytes - (stagger % 16) * 64;
#if defined(__x86_64__)
  machine_ = Door::first_frame(top, size_bytes, entry);
#else
  entry_ = entry;
  machine_ = boost::context::detail::make_fcontext(top, static_cast<std::size_t>(top - static_cast<std::byte*>(bottom)),
                                                   &Door::start);
#endif
}

void Context::release() noexcept {
#if defined(WEFT_TSAN)
  if (owns_tsan_fiber_) __tsan_destroy_fiber(tsan_fiber_);
  tsan_fiber_ = nullptr;
  owns_tsan_fiber_ = false;
#endif
  machine_ = nullptr;
}

void Context::take_over(Context& ended) noexcept {
  (void)ended;
#if defined(WEFT_ASAN)
  bottom_ = ended.bottom_;
  size_bytes_ = ended.size_bytes_;
#endif
#if defined(WEFT_TSAN)
  tsan_fiber_ = ended.tsan_fiber_;
  owns_tsan_fiber_ = ended.owns_tsan_fiber_;
  ended.tsan_fiber_ = nullptr;
  ended.owns_tsan_fiber_ = false;
#endif
  ended.machine_ = nullptr;
  machine_ = nullptr;
}

void Context::run_above(const Context& below) noexcept {
  (void)below;
#if defined(WEFT_ASAN)
  bottom_ = below.bottom_;
  size_bytes_ = below.size_bytes_;
#endif
#if defined(WEFT_TSAN)
  tsan_fiber_ = below.tsan_fiber_;
  owns_tsan_fiber_ = false;
#endif
  machine_ = nullptr;
}

#if !defined(__x86_64__) || defined(WEFT_ASAN) || defined(WEFT_TSAN)
WEFT_NO_TSAN void Context::switch_to(Context& from, Context& to, [[maybe_unused]] bool ends) noexcept {
#if defined(WEFT_ASAN)
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.fake_stack_, to.bottom_, to.size_bytes_);
#endif
#if defined(WEFT_TSAN)
  if (from.tsan_fiber_ == nullptr) from.tsan_fiber_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_fiber_, 0);
#endif
  Door::arrive(Door::jump(from, to), &from);
}
#endif

}  // namespace weft::sched
