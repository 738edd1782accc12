#include "sched/offload.h"

#include <mutex>

#include "kernel/spinlock.h"
#include "sched/current.h"
#include "sched/scheduler.h"
#include "sched/start_thread.h"
#include "sched/waiter.h"

namespace weft::sched {

OffloadPool::~OffloadPool() {
  {
    const std::lock_guard guard(lock_);
    stop_ = true;
  }
  work_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void OffloadPool::submit(Job& job) {
  if (!enqueue(job)) run(job);
}

// False: there is no thread, and none to be had.
bool OffloadPool::enqueue(Job& job) {
  const std::lock_guard guard(lock_);
  if (queued_ >= idle_ && threads_.size() < max_threads_) {
    auto started = start_thread("a thread for blocking calls", [this] { serve(); });
    if (started) {
      threads_.push_back(*std::move(started));
    } else if (threads_.empty()) {
      return false;
    }
  }
  job.next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = &job;
  tail_ = &job;
  ++queued_;
  work_.notify_one();
  return true;
}

void OffloadPool::run(Job& job) {
  job.call();
  const FunctionRef<void()> done = job.done;
  done();
}

void OffloadPool::serve() {
  std::unique_lock guard(lock_);
  for (;;) {
    while (head_ == nullptr && !stop_) {
      ++idle_;
      work_.wait(guard);
      --idle_;
    }
    if (head_ == nullptr) return;
    Job* job = head_;
    head_ = job->next;
    if (head_ == nullptr) tail_ = nullptr;
    --queued_;
    guard.unlock();
    run(*job);
    guard.lock();
  }
}

void run_blocking(FunctionRef<void()> call) noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current() == nullptr || worker->simulated()) {
    call();
    return;
  }
  Waiter waiter;
  const auto done = [&waiter] {
    if (waiter.claim(Outcome::kNotified)) waiter.resume();
  };
  OffloadPool::Job job{call, done};
  worker->scheduler().offload().submit(job);
  waiter.park("offload", Deadline::never(), false, &job);
}

namespace {

// A call that two hold: the pool until it has run, the fiber while it waits.
struct Pending {
  explicit Pending(std::shared_ptr<DroppableCall> what) : call(std::move(what)) {}
  void run() {
    {
      const std::lock_guard guard(lock);
      if (waiter == nullptr) return;
    }
    call->run();
  }
  void end() {
    const std::shared_ptr<Pending> last = std::move(self);
    Waiter* claimed = nullptr;
    {
      const std::lock_guard guard(lock);
      done = true;
      if (waiter != nullptr && waiter->claim(Outcome::kNotified)) claimed = waiter;
    }
    if (claimed != nullptr) claimed->resume();
  }

  std::shared_ptr<DroppableCall> call;
  std::shared_ptr<Pending> self;  // the pool's hold
  Spinlock lock;                  // guards both below
  Waiter* waiter = nullptr;       // null: nobody waits any more
  bool done = false;
  struct Run {
    Pending* pending;
    void operator()() const { pending->run(); }
  } run_it{this};
  struct End {
    Pending* pending;
    void operator()() const { pending->end(); }
  } end_it{this};
  OffloadPool::Job job{run_it, end_it};
};

}  // namespace

Status run_blocking_until(const std::shared_ptr<DroppableCall>& call, Deadline deadline) {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current() == nullptr || worker->simulated()) {
    call->run();
    return {};
  }
  Waiter waiter;
  const auto pending = std::make_shared<Pending>(call);
  pending->self = pending;
  pending->waiter = &waiter;
  worker->scheduler().offload().submit(pending->job);
  const Outcome outcome = waiter.park("offload", deadline, true, pending.get());
  if (outcome == Outcome::kNotified) return {};
  const std::lock_guard guard(pending->lock);
  pending->waiter = nullptr;
  if (pending->done) return {};
  return fail(outcome == Outcome::kCancelled ? Errc::kCancelled : Errc::kTimedOut);
}

}  // namespace weft::sched
