#include "sched/offload.h"

#include "sched/current.h"
#include "sched/scheduler.h"
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
  const std::lock_guard guard(lock_);
  job.next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = &job;
  tail_ = &job;
  if (++queued_ <= idle_) {
    work_.notify_one();
  } else if (threads_.size() < max_threads_) {
    threads_.emplace_back([this] { serve(); });
  }
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
    job->call();
    const FunctionRef<void()> done = job->done;
    done();
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
  waiter.park("offload");
}

}  // namespace weft::sched
