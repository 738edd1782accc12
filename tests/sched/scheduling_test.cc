#include "sched/scheduling.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sched/fork_join.h"
#include "sched/mutex.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

Runtime make(unsigned workers) {
  auto runtime = Runtime::create({.workers = workers});
  EXPECT_TRUE(runtime.has_value());
  return std::move(*runtime);
}

void spin_for(std::chrono::microseconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) {}
}

// Waits at most so long as a loaded machine may need.
template <typename Condition>
bool comes_true(Condition condition) {
  const auto limit = std::chrono::steady_clock::now() + 20s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// Many fibers that may run on two of four workers, woken in all ways there are.
void stay_in(const SpawnOptions& options) {
  Runtime runtime = make(4);
  Semaphore gate(0);
  Mutex mutex;
  std::array<std::atomic<int>, 4> seen{};
  std::vector<Fiber> fibers;
  fibers.reserve(8);
  const auto note = [&] { ++seen[worker_index()]; };
  for (int i = 0; i < 8; ++i)
    fibers.push_back(runtime.spawn(options, [&] {
      for (int round = 0; round < 100; ++round) {
        note();
        yield();
        note();
        (void)sleep_for(10us);
        note();
        (void)gate.acquire();
        note();
        const std::lock_guard guard(mutex);
        note();
      }
    }));
  Fiber waker = runtime.spawn("waker", [&] {
    for (int i = 0; i < 400; ++i) {
      gate.release();
      yield();
    }
  });
  for (int i = 0; i < 400; ++i) gate.release();
  for (Fiber& fiber : fibers) fiber.join();
  waker.join();
  EXPECT_EQ(seen[0], 0);
  EXPECT_GT(seen[1], 0);
  EXPECT_EQ(seen[2], 0);
  EXPECT_GT(seen[3], 0);
  EXPECT_EQ(seen[1] + seen[3], 8 * 100 * 5);
}

TEST(Scheduling, AFiberOfSomeWorkersRunsOnNoOther) {
  static constexpr unsigned kSome[] = {1, 3};
  stay_in({.name = "restricted", .workers = kSome});
  stay_in({.name = "restricted", .group = Group("some", 50), .workers = kSome});
  stay_in({.name = "restricted", .scheduling_class = SchedulingClass::kHigh, .workers = kSome});
}

TEST(Scheduling, AFiberOfSomeWorkersGoesToOneThatIsFree) {
  static constexpr unsigned kBoth[] = {0, 1};
  Runtime runtime = make(2);
  std::atomic<unsigned> first{9};
  std::atomic<unsigned> second{9};
  Fiber holds = runtime.spawn({.name = "holds", .workers = kBoth}, [&] {
    first = worker_index();
    while (second.load() == 9) {}
  });
  ASSERT_TRUE(comes_true([&] { return first != 9; }));
  runtime.spawn({.name = "other", .workers = kBoth}, [&] { second = worker_index(); }).join();
  holds.join();
  EXPECT_EQ(first + second, 1U);
}

TEST(Scheduling, AFiberOfSomeWorkersStaysOnOneUnderNoMigrate) {
  static constexpr unsigned kBoth[] = {0, 1};
  Runtime runtime = make(2);
  std::atomic<bool> stop{false};
  Fiber other = runtime.spawn("other", [&] {
    while (!stop) yield();
  });
  runtime
      .spawn({.name = "stays", .workers = kBoth},
             [&] {
               const NoMigrate stay;
               const unsigned here = worker_index();
               for (int i = 0; i < 200; ++i) {
                 yield();
                 (void)sleep_for(10us);
                 EXPECT_EQ(worker_index(), here);
               }
             })
      .join();
  stop = true;
  other.join();
}

TEST(Scheduling, GroupsShareAWorkerAsTheirSharesSay) {
  Runtime runtime = make(1);
  Group large("large", 300);
  Group small("small", 100);
  std::atomic<bool> stop{false};
  std::vector<Fiber> fibers;
  for (const Group& group : {large, small})
    for (int i = 0; i < 3; ++i)
      fibers.push_back(runtime.spawn({.name = "spinner", .group = group}, [&] {
        while (!stop) {
          spin_for(50us);
          yield();
        }
      }));
  ASSERT_TRUE(comes_true([&] { return large.cpu_time() + small.cpu_time() > 300ms; }));
  stop = true;
  const double ratio = static_cast<double>(large.cpu_time().count()) / static_cast<double>(small.cpu_time().count());
  for (auto& fiber : fibers) fiber.join();
  EXPECT_GT(ratio, 2.2);
  EXPECT_LT(ratio, 4.0);
}

TEST(Scheduling, ChildrenInheritGroupAndClassUnlessToldOtherwise) {
  Runtime runtime = make(2);
  Group group("group", 50);
  runtime
      .spawn({.name = "parent", .group = group, .scheduling_class = SchedulingClass::kHigh},
             [&] {
               EXPECT_EQ(scheduling_class(), SchedulingClass::kHigh);
               std::chrono::nanoseconds before = group.cpu_time();
               spawn("child", [&] {
                 EXPECT_EQ(scheduling_class(), SchedulingClass::kHigh);
                 spin_for(2000us);
               }).join();
               EXPECT_GE(group.cpu_time() - before, 2ms);
               spawn({.name = "other", .group = Group(), .scheduling_class = SchedulingClass::kNormal}, [&] {
                 EXPECT_EQ(scheduling_class(), SchedulingClass::kNormal);
                 before = group.cpu_time();
                 spawn("grandchild", [] { spin_for(2000us); }).join();
               }).join();
               EXPECT_LT(group.cpu_time() - before, 2ms);
             })
      .join();
  EXPECT_EQ(Group().name(), "ordinary");
  EXPECT_EQ(group.name(), "group");
  group.set_shares(0);
  EXPECT_EQ(group.shares(), 1U);
}

TEST(Scheduling, AForkThatBecomesAFiberIsOfItsParentsGroupAndClass) {
  Runtime runtime = make(1);
  const Group group("forks", 200);
  SchedulingClass seen = SchedulingClass::kNormal;
  runtime
      .spawn({.name = "parent", .group = group, .scheduling_class = SchedulingClass::kHigh},
             [&] {
               Fork child([&] { seen = scheduling_class(); });
               (void)sleep_for(1ms);  // makes it a fiber
               child.join();
             })
      .join();
  EXPECT_EQ(seen, SchedulingClass::kHigh);
}

TEST(Scheduling, AHighFiberRunsBeforeAllThatWereReadyFirst) {
  Runtime runtime = make(1);
  std::vector<int> order;
  runtime.block_on([&] {
    std::vector<Fiber> fibers;
    for (int i = 0; i < 5; ++i) fibers.push_back(spawn("ordinary", [&order, i] { order.push_back(i); }));
    fibers.push_back(spawn({.name = "idle", .scheduling_class = SchedulingClass::kIdle}, [&] { order.push_back(99); }));
    fibers.push_back(spawn({.name = "high", .scheduling_class = SchedulingClass::kHigh}, [&] { order.push_back(-1); }));
    for (auto& fiber : fibers) fiber.join();
  });
  ASSERT_EQ(order.size(), 7U);
  EXPECT_EQ(order.front(), -1);
  EXPECT_EQ(order.back(), 99);
}

TEST(Scheduling, UnderAFloodOfHighFibersEverybodyElseStillRuns) {
  for (const unsigned workers : {1U, 2U}) {
    Runtime runtime = make(workers);
    Group group("group");
    std::atomic<bool> stop{false};
    std::atomic<int> ordinary{0};
    std::atomic<int> grouped{0};
    std::atomic<int> idle{0};
    std::vector<Fiber> fibers;
    for (int i = 0; i < 8; ++i)
      fibers.push_back(runtime.spawn({.name = "flood", .scheduling_class = SchedulingClass::kHigh}, [&] {
        while (!stop) {
          spin_for(20us);
          yield();
        }
      }));
    fibers.push_back(runtime.spawn("ordinary", [&] {
      for (; !stop; ++ordinary) yield();
    }));
    fibers.push_back(runtime.spawn({.name = "grouped", .group = group}, [&] {
      for (; !stop; ++grouped) (void)sleep_for(100us);
    }));
    fibers.push_back(runtime.spawn({.name = "idle", .scheduling_class = SchedulingClass::kIdle}, [&] {
      while (!stop) {
        ++idle;
        yield();
      }
    }));
    EXPECT_TRUE(comes_true([&] { return ordinary > 5 && grouped > 5 && idle > 0; }))
        << ordinary << " " << grouped << " " << idle;
    stop = true;
    for (auto& fiber : fibers) fiber.join();
  }
}

TEST(Scheduling, YieldLoopsPairsAndForksKeepNobodyFromRunning) {
  for (const unsigned workers : {1U, 2U}) {
    Runtime runtime = make(workers);
    Group group("group", 1);
    std::atomic<bool> stop{false};
    Semaphore ping(0);
    Semaphore pong(0);
    std::vector<Fiber> fibers;
    for (unsigned i = 0; i <= workers; ++i)
      fibers.push_back(runtime.spawn("yields", [&] {
        while (!stop) yield();
      }));
    for (unsigned i = 0; i < workers; ++i) {
      fibers.push_back(runtime.spawn("ping", [&] {
        while (!stop) {
          ping.release();
          (void)pong.acquire(1, Deadline::after(1ms));
        }
      }));
      fibers.push_back(runtime.spawn("pong", [&] {
        while (!stop) {
          (void)ping.acquire(1, Deadline::after(1ms));
          pong.release();
        }
      }));
      fibers.push_back(runtime.spawn("forks", [&] {
        while (!stop) spawn("forked", [] { spin_for(5us); }).join();
      }));
    }
    std::atomic<int> slept{0};
    std::atomic<int> grouped{0};
    fibers.push_back(runtime.spawn("sleeper", [&] {
      for (; !stop; ++slept) (void)sleep_for(1ms);
    }));
    fibers.push_back(runtime.spawn({.name = "grouped", .group = group}, [&] {
      for (; !stop; ++grouped) yield();
    }));
    EXPECT_TRUE(comes_true([&] { return slept > 20 && grouped > 20; })) << slept << " " << grouped;
    stop = true;
    for (auto& fiber : fibers) fiber.join();
  }
}

TEST(Scheduling, AnIdleFiberRunsWhenAllOthersSleep) {
  Runtime runtime = make(2);
  std::atomic<int> turns{0};
  Fiber idle = runtime.spawn({.name = "idle", .scheduling_class = SchedulingClass::kIdle}, [&] {
    for (; turns < 100; ++turns) (turns % 2 == 0) ? yield() : (void)sleep_for(10us);
  });
  idle.join();
  EXPECT_EQ(turns, 100);
}

TEST(Scheduling, AFiberOfAGroupStaysOnTheWorkerItWasGiven) {
  Runtime runtime = make(2);
  Group group("group");
  for (const auto which : {SchedulingClass::kNormal, SchedulingClass::kHigh, SchedulingClass::kIdle})
    for (unsigned home = 0; home < 2; ++home)
      runtime
          .spawn({.name = "pinned", .group = group, .scheduling_class = which, .worker = home},
                 [home] {
                   for (int i = 0; i < 100; ++i) {
                     ASSERT_EQ(worker_index(), home);
                     if (i % 10 == 0) {
                       (void)sleep_for(10us);
                     } else {
                       yield();
                     }
                   }
                 })
          .join();
}

TEST(Scheduling, AGroupServesOneRuntimeAfterAnother) {
  Group group("group");
  for (int i = 0; i < 3; ++i) {
    Runtime runtime = make(1);
    runtime.spawn({.name = "member", .group = group}, [] { yield(); }).join();
  }
  EXPECT_GT(group.cpu_time(), 0ns);
}

TEST(Scheduling, OnAPlainThreadOptionsStartAPlainThread) {
  bool ran = false;
  spawn({.name = "stand-in", .group = Group("group"), .scheduling_class = SchedulingClass::kIdle}, [&] {
    ran = !on_fiber() && scheduling_class() == SchedulingClass::kNormal;
    checkpoint();
  }).join();
  EXPECT_TRUE(ran);
}

TEST(Scheduling, ARuntimeEndsWithFibersOfAllClassesInIt) {
  const Group group("group");
  {
    Runtime runtime = make(2);
    for (int i = 0; i < 50; ++i)
      for (const auto which : {SchedulingClass::kNormal, SchedulingClass::kHigh, SchedulingClass::kIdle})
        runtime
            .spawn({.name = "sleeper", .group = group, .scheduling_class = which},
                   [] { (void)sleep_for(std::chrono::hours(1)); })
            .detach();
  }
}

// What is mixed: groups, classes, homes; yields, sleeps, locks, children. Nobody may be lost, whatever meets.
void mixed_life(std::mt19937 random, const std::vector<Group>& groups, Mutex& mutex, int depth,
                std::atomic<int>& ended) {
  std::vector<Fiber> children;
  for (int i = 0; i < 40; ++i) {
    switch (random() % 6) {
      case 0: yield(); break;
      case 1: (void)sleep_for(std::chrono::microseconds(random() % 50)); break;
      case 2: {
        const std::lock_guard guard(mutex);
        if (random() % 4 == 0) yield();
        break;
      }
      case 3: {
        const NoMigrate stay;
        yield();
        break;
      }
      case 4: checkpoint(); break;
      default: {
        if (depth == 0 || children.size() >= 3) break;
        SpawnOptions options{.name = "child"};
        if (random() % 2 == 0) options.group = groups[random() % groups.size()];
        if (random() % 2 == 0) options.scheduling_class = static_cast<SchedulingClass>(random() % 3);
        if (random() % 4 == 0) options.worker = random() % worker_count();
        children.push_back(spawn(options, [&groups, &mutex, depth, &ended, seed = random()] {
          mixed_life(std::mt19937(seed), groups, mutex, depth - 1, ended);
        }));
      }
    }
  }
  for (auto& child : children) child.join();
  ++ended;
}

TEST(Scheduling, NobodyIsLostInAMixOfEverything) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (const unsigned workers : {1U, 2U, 4U}) {
    Runtime runtime = make(workers);
    const std::vector<Group> groups{Group(), Group("a", 10), Group("b", 1000)};
    Mutex mutex;
    std::atomic<int> ended{0};
    std::vector<Fiber> roots;
    for (int i = 0; i < 6; ++i)
      roots.push_back(runtime.spawn({.name = "root", .group = groups[random() % 3]},
                                    [&, from = random()] { mixed_life(std::mt19937(from), groups, mutex, 3, ended); }));
    for (auto& root : roots) root.join();
    EXPECT_GE(ended, 6);
  }
}

TEST(Scheduling, ASimulationWithClassesGivesTheSameTraceForTheSameSeed) {
  const auto trace_of = [](std::uint64_t seed) {
    Simulation simulation(seed);
    std::atomic<int> ended{0};
    EXPECT_TRUE(simulation
                    .run([&] {
                      const std::vector<Group> groups{Group(), Group("a", 10), Group("b", 1000)};
                      Mutex mutex;
                      mixed_life(std::mt19937(static_cast<unsigned>(seed)), groups, mutex, 2, ended);
                    })
                    .has_value());
    return simulation.trace();
  };
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const std::string first = trace_of(seed);
    EXPECT_FALSE(first.empty());
    EXPECT_EQ(first, trace_of(seed)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace weft::sched
