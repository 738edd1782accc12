#include "tools/every_thread.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sched/runtime.h"
#include "tests/support/sanitizer.h"

namespace weft::tools {
namespace {

constinit thread_local int calls_here = 0;

class EveryThread : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer has a thread that takes no signal, and so is refused";
  }
};

// Threads that sleep until the end, each of which then says how often it was called.
class Sleepers {
 public:
  explicit Sleepers(unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      threads_.emplace_back([this] {
        std::unique_lock lock(lock_);
        changed_.wait(lock, [this] { return ended_; });
        calls_.push_back(calls_here);
      });
  }
  ~Sleepers() { end(); }
  std::vector<int> end() {
    {
      const std::lock_guard guard(lock_);
      ended_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    return calls_;
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::vector<int> calls_;
  std::vector<std::thread> threads_;
};

TEST_F(EveryThread, IsCalledOnce) {
  Sleepers sleepers(8);
  const int before = calls_here;
  EXPECT_TRUE(on_every_thread([] { return ++calls_here, 0; }));
  EXPECT_EQ(calls_here, before + 1);
  EXPECT_EQ(sleepers.end(), std::vector<int>(8, 1));
}

TEST_F(EveryThread, AnErrorOfOneIsTheAnswer) {
  Sleepers sleepers(2);
  const pid_t caller = ::gettid();
  const Status done = on_every_thread([&] { return ::gettid() == caller ? 0 : EXDEV; });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().os_errno(), EXDEV);
}

TEST_F(EveryThread, WorkersAreReachedFromAFiberWhileThreadsComeAndGo) {
  std::atomic<bool> stop{false};
  std::thread maker([&] {
    while (!stop.load()) std::thread([] {}).join();
  });
  auto runtime = std::move(*sched::Runtime::create({.workers = 3}));
  std::atomic<int> calls{0};
  EXPECT_TRUE(runtime.block_on([&] { return on_every_thread([&] { return calls.fetch_add(1), 0; }); }));
  stop.store(true);
  maker.join();
  EXPECT_GE(calls.load(), 3 + 2) << "workers, this thread and the one that makes threads";
}

}  // namespace
}  // namespace weft::tools
