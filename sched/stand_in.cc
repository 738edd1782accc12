#include "sched/stand_in.h"

namespace weft::sched {
namespace {

constinit thread_local FiberState* this_threads_stand_in = nullptr;

}  // namespace

// Opaque to the optimizer, see current.h.
[[gnu::noinline]] FiberState* current_stand_in() noexcept {
  asm volatile("" ::: "memory");
  return this_threads_stand_in;
}

[[gnu::noinline]] void set_current_stand_in(FiberState* state) noexcept {
  asm volatile("" ::: "memory");
  this_threads_stand_in = state;
}

}  // namespace weft::sched
