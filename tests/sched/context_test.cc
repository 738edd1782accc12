#include "sched/context.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "sched/current.h"
#include "sched/runtime.h"
#include "sched/worker.h"

namespace weft::sched {
namespace {

TEST(ExceptionState, ARethrowAfterASwitchThrowsTheFibersOwn) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 16; ++f) {
      fibers.push_back(spawn("thrower", [f] {
        for (int i = 0; i < 40; ++i) {
          const int mine = f * 1000 + i;
          try {
            try {
              throw mine;
            } catch (...) {
              yield();  // others throw and catch meanwhile, perhaps on this thread; we come back perhaps on another
              throw;
            }
          } catch (int caught) {
            ASSERT_EQ(caught, mine);
          }
        }
      }));
    }
    for (auto& fiber : fibers) fiber.join();
  });
}

struct YieldsWhileUnwinding {
  int* wrong;
  ~YieldsWhileUnwinding() {
    const int before = std::uncaught_exceptions();
    yield();
    if (std::uncaught_exceptions() != before || before != 1) ++*wrong;
  }
};

TEST(ExceptionState, UnwindingSurvivesASwitch) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 16; ++f) {
      fibers.push_back(spawn("unwinder", [] {
        int wrong = 0;
        for (int i = 0; i < 30; ++i) {
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          try {
            const YieldsWhileUnwinding yields{&wrong};
            throw std::runtime_error("x");
          } catch (const std::exception&) {
            yield();
          }
        }
        EXPECT_EQ(wrong, 0);
      }));
    }
    for (auto& fiber : fibers) fiber.join();
  });
}

// All in one function, so that a compiler that keeps the address of a thread_local over a call would show.
TEST(StaleTls, TheCurrentWorkerIsReadAnewAfterEachSwitch) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  std::vector<long> thread_of(2, 0);
  for (unsigned i = 0; i < 2; ++i)
    runtime->spawn_pinned(i, "who", [&, i] { thread_of[i] = syscall(SYS_gettid); }).join();
  std::atomic<int> migrations{0};
  runtime->block_on([&] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 32; ++f) {
      fibers.push_back(spawn("wanderer", [&] {
        unsigned last = current_worker()->index();
        for (int i = 0; i < 2000 && migrations < 500; ++i) {
          yield();
          const unsigned here = current_worker()->index();
          ASSERT_EQ(thread_of[here], syscall(SYS_gettid));
          ASSERT_NE(current_fiber(), nullptr);
          if (here != last) ++migrations;
          last = here;
        }
      }));
    }
    for (auto& fiber : fibers) fiber.join();
  });
  EXPECT_GT(migrations, 0);
}

}  // namespace
}  // namespace weft::sched
