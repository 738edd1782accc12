// tests/sched/after_fork_test.cc - what the child of a process with runtimes may do, and what it is told.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string>

#include "sched/mutex.h"
#include "sched/runtime.h"
#include "sched/sanitizers.h"
#include "sched/simulation.h"
#include "tests/sched/in_fork.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

class AfterFork : public testing::Test {
 protected:
  void SetUp() override {
#ifdef WEFT_TSAN
    GTEST_SKIP() << "ThreadSanitizer starts no thread in the child of a process with threads";
#endif
  }
  static Runtime make(const char* name) { return std::move(*Runtime::create({.name = name, .workers = 2})); }
};

TEST_F(AfterFork, TheParentsRuntimeIsRefusedByName) {
  Runtime runtime = make("kitchen");
  const End spawned = in_fork([&] {
    runtime.spawn("cook", [] {}).join();
    return 0;
  });
  EXPECT_EQ(spawned.signal(), SIGABRT);
  EXPECT_NE(spawned.said.find("runtime \"kitchen\" was used in the child of a fork"), std::string::npos)
      << spawned.said;
  EXPECT_EQ(runtime.block_on([] { return 7; }), 7);
}

TEST_F(AfterFork, WhoWaitsForTheParentsFiberIsToldToo) {
  Runtime runtime = make("kitchen");
  Fiber cook = runtime.spawn("cook", [] {
    while (!stop_requested()) (void)sleep_for(1h);
  });
  const End joined = in_fork([&] {
    cook.join();
    return 0;
  });
  EXPECT_EQ(joined.signal(), SIGABRT);
  EXPECT_NE(joined.said.find("kitchen"), std::string::npos) << joined.said;
  cook.request_stop();
  cook.join();
}

TEST_F(AfterFork, TheEndOfTheParentsRuntimeWaitsForNobody) {
  auto runtime = std::make_unique<Runtime>(make("kitchen"));
  runtime->spawn("cook", [] { (void)sleep_for(1h); }).detach();
  const End ended = in_fork([&] {
    runtime.reset();
    return 3;
  });
  EXPECT_EQ(ended.code(), 3) << ended.said;
}

TEST_F(AfterFork, AChildMakesARuntimeOfItsOwn) {
  Runtime runtime = make("kitchen");
  const End ended = in_fork([] {
    Runtime own = make("tent");
    return own.block_on([] {
      Mutex mutex;
      const std::lock_guard guard(mutex);
      return sleep_for(1ms) ? 7 : 8;
    });
  });
  EXPECT_EQ(ended.code(), 7) << ended.said;
}

TEST_F(AfterFork, WhoForksOnAFiberGoesOnAsAPlainThread) {
  Runtime runtime = make("kitchen");
  const End ended = runtime.block_on([&] {
    return in_fork([] {
      Mutex mutex;
      const std::lock_guard guard(mutex);
      Fiber helper = spawn("helper", [] {});
      helper.join();
      return !on_fiber() && sleep_for(1ms) ? 5 : 6;
    });
  });
  EXPECT_EQ(ended.code(), 5) << ended.said;
}

TEST_F(AfterFork, AtTheEndOfTheFibersBodyThereIsNobodyToReturnTo) {
  Runtime runtime = make("kitchen");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = runtime.block_on([&] {
    const pid_t forked = fork();
    if (forked == 0) {
      alarm(20);
      dup2(ends[1], STDERR_FILENO);
    }
    return forked;
  });
  close(ends[1]);
  char said[512] = {};
  EXPECT_GT(read(ends[0], said, sizeof said - 1), 0);
  close(ends[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  EXPECT_NE(std::string(said).find("kitchen"), std::string::npos) << said;
}

TEST_F(AfterFork, ASimulationGoesOnInTheChild) {
  const End ended = in_fork([] {
    Simulation simulation(1);
    int code = 1;
    const Status ran = simulation.run([&] {
      const pid_t child = fork();
      if (child == 0) {
        (void)sleep_for(1h);
        _exit(9);
      }
      int status = 0;
      waitpid(child, &status, 0);
      code = WEXITSTATUS(status);
    });
    return ran ? code : 2;
  });
  EXPECT_EQ(ended.code(), 9) << ended.said;
}

}  // namespace
}  // namespace weft::sched
