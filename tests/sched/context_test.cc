#include "sched/context.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
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

// An exception_ptr of one fiber, rethrown by another elsewhere, while both handle exceptions of their own.
TEST(ExceptionState, ARethrowAfterAMigrationThrowsTheFibersOwn) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<int> migrations{0};
  runtime->block_on([&] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 16; ++f) {
      fibers.push_back(spawn("wanderer", [&, f] {
        for (int i = 0; i < 2000 && migrations < 300; ++i) {
          const std::string mine = std::to_string(f) + "/" + std::to_string(i);
          std::exception_ptr kept;
          try {
            throw std::runtime_error(mine);
          } catch (...) {
            const unsigned before = current_worker()->index();
            kept = std::current_exception();
            try {
              throw f;  // a second one within
            } catch (int inner) {
              yield();
              EXPECT_EQ(inner, f);
            }
            yield();
            if (current_worker()->index() != before) ++migrations;
            EXPECT_EQ(kept, std::current_exception());
            try {
              throw;
            } catch (const std::runtime_error& again) {
              ASSERT_EQ(again.what(), mine);
            }
          }
          EXPECT_EQ(std::current_exception(), nullptr);
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          try {
            std::rethrow_exception(kept);
          } catch (const std::runtime_error& last) {
            ASSERT_EQ(last.what(), mine);
          }
        }
      }));
    }
    for (auto& fiber : fibers) fiber.join();
  });
  EXPECT_GT(migrations, 0);
}

// errno is thread-local: what a fiber leaves there is not there after a park, and errors come as values instead. Under NoMigrate it
// is the same thread's, though other fibers of that thread may write it.
TEST(StaleTls, UnderNoMigrateAThreadLocalStaysTheSame) {
  static thread_local int of_thread = 0;
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 16; ++f) {
      fibers.push_back(spawn("stays", [] {
        const NoMigrate stay;
        int* const place = &of_thread;
        int* const error_place = &errno;
        const long thread = syscall(SYS_gettid);
        for (int i = 0; i < 200; ++i) {
          yield();
          ASSERT_EQ(place, &of_thread);
          ASSERT_EQ(error_place, &errno);
          ASSERT_EQ(thread, syscall(SYS_gettid));
        }
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
