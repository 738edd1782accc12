// mem/purge_thread.h - gives back what nobody uses while the program sleeps. Internal.
//
//   free -> PageRuns, queues of heaps -> [purge thread, within two seconds] -> kernel
//
// Freed pages stay dirty within a budget (purge.h), and what others freed waits until its owner next needs memory. Of a program that goes
// on, that is right; one that sleeps would keep it for good. So once there are some MiB there is a thread, "weft-purge":
//   each 0.4 s   pages that were dirty all the time since it last looked go to the kernel;
//                heaps in which nothing happened meanwhile are tended in their owners' place (LocalHeap::tend), and asked to flush
//   otherwise    it waits for a futex: when three looks have found nothing, until more is freed. A process that sleeps is not woken.
// It is not in the way of the program: a program without threads stays without one (kAuto), a child of fork() has its own when it comes to
// that, it allocates nothing, and when main() ends by pthread_exit() it ends as well, so that the program ends with its own last thread.
// What stays in a thread that sleeps for good is what waits in its lists: see mem/README.md.
// Locks   one that a fork() takes first, and nobody else: around each visit of a heap (biased_lock.h) and each purge, with PageRuns' inside.
// Tests: tests/mem/purge_thread_test.cc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mem/options.h"
#include "mem/size_class.h"

namespace weft::mem::purge_thread {

// So much must be in use or dirty before there is a thread, and less is not worth waking it up for.
inline constexpr std::size_t kWorthThreadUnits = (std::size_t{4} << 20) / kUnitBytes;
inline constexpr std::size_t kWorthWakingUnits = (std::size_t{256} << 10) / kUnitBytes;

namespace detail {
enum class State : std::uint8_t {
  kOff,  // not wanted, or there can be none
  kAllowed,
  kStarting,
  kRunning,
};
enum Futex : std::uint32_t { kAwake, kAsleep, kEnd };

[[gnu::visibility("hidden")]] extern constinit std::atomic<State> state;
[[gnu::visibility("hidden")]] extern constinit std::atomic<std::uint32_t> futex;

void start_if_worth() noexcept;
void wake(Futex as) noexcept;
}  // namespace detail

// Of the main thread, once. Until then there is no thread.
void allow(PurgeThread when) noexcept;

// Of a slow path of malloc that has nothing in hand, and not of free(), which glibc calls with the lock that a new thread needs.
inline void consider() noexcept {
  if (detail::state.load(std::memory_order_relaxed) == detail::State::kAllowed) [[unlikely]]
    detail::start_if_worth();
}
// There is more to look at.
inline void wake() noexcept {
  if (detail::futex.load(std::memory_order_seq_cst) == detail::kAsleep) [[unlikely]]
    detail::wake(detail::kAwake);
}

void before_fork() noexcept;
void after_fork_in_parent() noexcept;
void after_fork_in_child() noexcept;

}  // namespace weft::mem::purge_thread
