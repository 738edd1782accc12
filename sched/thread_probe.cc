#include "sched/thread_probe.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <thread>

#include "sched/backtrace.h"
#include "sched/current.h"
#include "sched/fiber.h"

namespace weft::sched {
namespace {

enum State : int { kFree, kAsked, kAnswering, kAnswered };

constinit std::mutex one_at_a_time;
constinit std::atomic<int> state{kFree};
constinit pthread_t asked{};   // written before kAsked
constinit ThreadProbe answer;  // the handler's between kAnswering and kAnswered

void write_answer(const void* ucontext) noexcept {
  answer.fiber_id = 0;
  answer.place_count = 0;
  const FiberState* fiber = current_fiber();
  if (fiber == nullptr) return;
  answer.fiber_id = fiber->id;
  std::copy_n(fiber->name, answer.fiber_name.size(), answer.fiber_name.data());
  // Caught in the midst of a switch the thread may be on another stack: then nothing but the place itself is read.
  const FramePlace from = interrupted_frame(ucontext);
  answer.place_count =
      walk_frames(from, fiber->stack.bottom, fiber->stack.bottom + fiber->stack.size_bytes, answer.places);
}

void on_signal(int, siginfo_t*, void* ucontext) {
  const int kept_errno = errno;
  int expected = kAsked;
  if (state.load(std::memory_order_acquire) == kAsked && pthread_equal(asked, pthread_self()) != 0 &&
      state.compare_exchange_strong(expected, kAnswering, std::memory_order_acq_rel)) {
    write_answer(ucontext);
    state.store(kAnswered, std::memory_order_release);
  }
  errno = kept_errno;
}

bool is_ours(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &on_signal;
}

// one_at_a_time is held.
bool install() noexcept {
  struct sigaction there{};
  if (sigaction(SIGURG, nullptr, &there) != 0) return false;
  if (is_ours(there)) return true;
  if ((there.sa_flags & SA_SIGINFO) != 0 || (there.sa_handler != SIG_DFL && there.sa_handler != SIG_IGN)) return false;
  struct sigaction action{};
  action.sa_sigaction = &on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  return sigaction(SIGURG, &action, nullptr) == 0;
}

}  // namespace

ThreadProbe probe_thread(pthread_t thread) {
  const std::lock_guard guard(one_at_a_time);
  ThreadProbe none;
  if (!install()) return none;
  asked = thread;
  state.store(kAsked, std::memory_order_release);
  if (pthread_kill(thread, SIGURG) != 0) {
    state.store(kFree, std::memory_order_relaxed);
    return none;
  }
  const auto until = std::chrono::steady_clock::now() + ThreadProbe::kPatience;
  while (state.load(std::memory_order_acquire) != kAnswered) {
    if (std::chrono::steady_clock::now() >= until) {
      int expected = kAsked;
      if (state.compare_exchange_strong(expected, kFree, std::memory_order_acq_rel)) return none;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  ThreadProbe taken = answer;
  taken.answered = true;
  state.store(kFree, std::memory_order_relaxed);
  return taken;
}

}  // namespace weft::sched
