// mem/purge_thread.cc - see purge_thread.h.
#include "mem/purge_thread.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <mutex>

#include "kernel/spinlock.h"
#include "mem/heap_registry.h"
#include "mem/keep_errno.h"
#include "mem/own_thread.h"
#include "mem/page_runs.h"

namespace weft::mem::purge_thread {

namespace detail {
constinit std::atomic<State> state{State::kOff};
constinit std::atomic<std::uint32_t> futex{kAwake};
}  // namespace detail

namespace {

using detail::State;

constexpr timespec kBetweenLooks{.tv_sec = 0, .tv_nsec = 400'000'000};
constexpr int kLooksForNothing = 3;

constinit PurgeThread wanted = PurgeThread::kOff;
constinit pid_t process = 0;
constinit bool has_key = false;
constinit pthread_key_t main_key{};
// Whoever forks must not find a heap visited, or runs away that are being purged, which a child would miss for ever.
constinit Spinlock tending;

// Until the futex is not `expected` any more, or for a while.
void wait(detail::Futex expected, const timespec* most) noexcept {
  syscall(SYS_futex, &detail::futex, FUTEX_WAIT_PRIVATE, static_cast<std::uint32_t>(expected), most, nullptr, 0);
}

// True: there may be more to do for it.
bool look_after(LocalHeap& heap) noexcept {
  if (heap.is_private() || heap.state() != HeapState::kOwned) return false;
  if (const std::size_t activity = heap.counts().sum(); activity != heap.activity_seen) {
    heap.activity_seen = activity;
    heap.tended = false;
    return heap.has_queued();
  }
  if (heap.tended && !heap.has_queued()) return false;
  heap.ask_to_flush();
  const std::scoped_lock guard(tending);
  heap.tended = heap.tend();
  return heap.tended && heap.has_queued();
}

// True: there was something, or there may be soon.
bool look() noexcept {
  bool found = false;
  heap_registry.each([&](LocalHeap& heap) { found = look_after(heap) || found; });
  const std::scoped_lock guard(tending);
  return page_runs.purge_unused() > 0 || page_runs.dirty_units() > kWorthWakingUnits || found;
}

// There is nothing to do: until somebody says that there is.
void sleep_until_woken() noexcept {
  page_runs.remove_empty_segments();
  std::uint32_t awake = detail::kAwake;
  if (!detail::futex.compare_exchange_strong(awake, detail::kAsleep, std::memory_order_seq_cst)) return;
  // Who freed before it could see us asleep has not woken us up.
  {
    const std::scoped_lock guard(page_runs.lock());
    if (page_runs.dirty_units() > kWorthWakingUnits) wake();
  }
  while (detail::futex.load(std::memory_order_seq_cst) == detail::kAsleep) wait(detail::kAsleep, nullptr);
}

void run() noexcept {
  const auto ends = [] { return detail::futex.load(std::memory_order_acquire) == detail::kEnd; };
  while (!ends()) {
    for (int nothing = 0; nothing < kLooksForNothing && !ends();) {
      wait(detail::kAwake, &kBetweenLooks);
      nothing = look() ? 0 : nothing + 1;
    }
    sleep_until_woken();
  }
}

constexpr OwnThread kThread{.name = "weft-purge", .body = &run};

// glibc ends a process with its last thread, whoever's that is.
void main_thread_ends(void*) noexcept {
  detail::state.store(State::kOff, std::memory_order_relaxed);
  detail::wake(detail::kEnd);
}

void this_is_the_main_thread() noexcept {
  process = getpid();
  if (has_key) pthread_setspecific(main_key, &process);
  detail::state.store(State::kAllowed, std::memory_order_release);
}

}  // namespace

void detail::start_if_worth() noexcept {
  if (page_runs.live_units() + page_runs.dirty_units() < kWorthThreadUnits) return;
  if (wanted == PurgeThread::kAuto && __libc_single_threaded != 0) return;
  const KeepErrno keep_errno;
  // (A child of vfork() has our memory, and must not have our thread.)
  State allowed = State::kAllowed;
  if (getpid() != process || !state.compare_exchange_strong(allowed, State::kStarting, std::memory_order_acq_rel))
    return;
  State starting = State::kStarting;
  state.compare_exchange_strong(starting, start_own_thread(kThread) ? State::kRunning : State::kOff,
                                std::memory_order_acq_rel);
}

void detail::wake(Futex as) noexcept {
  const KeepErrno keep_errno;
  const std::uint32_t before = futex.exchange(as, std::memory_order_seq_cst);
  // The end is the end.
  if (before == kEnd) return futex.store(kEnd, std::memory_order_seq_cst);
  if (before != as) syscall(SYS_futex, &futex, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void allow(PurgeThread when) noexcept {
  wanted = when;
  if (when == PurgeThread::kOff) return;
  has_key = pthread_key_create(&main_key, &main_thread_ends) == 0;
  this_is_the_main_thread();
}

void before_fork() noexcept { tending.lock(); }
void after_fork_in_parent() noexcept { tending.unlock(); }
void after_fork_in_child() noexcept {
  tending.unlock();
  detail::futex.store(detail::kAwake, std::memory_order_relaxed);
  if (wanted != PurgeThread::kOff) this_is_the_main_thread();
}

}  // namespace weft::mem::purge_thread
