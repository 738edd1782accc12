#include "sched/context.h"

#include <cxxabi.h>

#include <boost/context/detail/fcontext.hpp>

#include "kernel/check.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WEFT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WEFT_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define WEFT_TSAN 1
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

namespace weft::sched {

namespace ctx = boost::context::detail;

struct Context::Door {
  // Out of line, and opaque to the optimizer: a compiler that sees two calls of __cxa_get_globals() in one function, one on
  // each side of a switch, may keep the first thread's address for both.
  [[gnu::noinline]] static void save_exceptions(ExceptionState& into) noexcept {
    asm volatile("" ::: "memory");
    into = *reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  }
  [[gnu::noinline]] static void restore_exceptions(const ExceptionState& from) noexcept {
    asm volatile("" ::: "memory");
    *reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals()) = from;
  }

  // First thing on arrival: the context that was left gets the place where it stopped.
  WEFT_NO_TSAN static void arrive(ctx::transfer_t arrived, Context* self) noexcept {
    auto* left = static_cast<Context*>(arrived.data);
    left->machine_ = arrived.fctx;
#if defined(WEFT_ASAN)
    __sanitizer_finish_switch_fiber(self != nullptr ? self->fake_stack_ : nullptr, &left->bottom_, &left->size_bytes_);
#endif
    restore_exceptions(self != nullptr ? self->exceptions_ : ExceptionState{});
  }

  WEFT_NO_TSAN static void start(ctx::transfer_t arrived) noexcept {
    auto* left = static_cast<Context*>(arrived.data);
    void (*entry)() = left->entry_;  // the leaver carried our entry over, see switch_to()
    left->entry_ = nullptr;
    arrive(arrived, nullptr);
    entry();
    WEFT_CHECK(!"a fiber's entry returned");
  }
};

void Context::prepare(void* bottom, std::size_t size_bytes, std::size_t stagger, void (*entry)()) noexcept {
  bottom_ = bottom;
  size_bytes_ = size_bytes;
  entry_ = entry;
  exceptions_ = {};
  fake_stack_ = nullptr;
#if defined(WEFT_ASAN)
  // The last fiber on this stack ended without leaving its frames.
  __asan_unpoison_memory_region(bottom, size_bytes);
#endif
#if defined(WEFT_TSAN)
  tsan_fiber_ = __tsan_create_fiber(0);
  owns_tsan_fiber_ = true;
#endif
  auto* top = static_cast<std::byte*>(bottom) + size_bytes - (stagger % 16) * 64;
  machine_ = ctx::make_fcontext(top, static_cast<std::size_t>(top - static_cast<std::byte*>(bottom)), &Door::start);
}

void Context::release() noexcept {
#if defined(WEFT_TSAN)
  if (owns_tsan_fiber_) __tsan_destroy_fiber(tsan_fiber_);
  owns_tsan_fiber_ = false;
#endif
  machine_ = nullptr;
}

[[gnu::noinline]] WEFT_NO_TSAN void Context::switch_to(Context& from, Context& to, bool ends) noexcept {
  Door::save_exceptions(from.exceptions_);
  // A new context learns its entry through the one that is left.
  if (to.entry_ != nullptr) {
    from.entry_ = to.entry_;
    to.entry_ = nullptr;
  }
#if defined(WEFT_ASAN)
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.fake_stack_, to.bottom_, to.size_bytes_);
#endif
  (void)ends;
#if defined(WEFT_TSAN)
  if (from.tsan_fiber_ == nullptr) from.tsan_fiber_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_fiber_, 0);
#endif
  Door::arrive(ctx::jump_fcontext(to.machine_, &from), &from);
}

}  // namespace weft::sched
