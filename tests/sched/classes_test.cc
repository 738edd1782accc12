#include "sched/classes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "sched/scheduling.h"

namespace weft::sched {
namespace {

constexpr std::int64_t kUs = 1'000, kMs = 1'000'000;

// Workers and fibers that only take up time: each runs for its burst, then yields or sleeps. The clock is the test's.
class Model {
 public:
  struct Player {
    std::unique_ptr<FiberState> fiber;
    std::int64_t burst_ns = 0;
    std::int64_t sleep_ns = 0;  // after a burst; 0: yields
    bool ends = false;          // after a burst; its memory is that of the next one, which is ready at once
    int lane = LanedQueue::kAnyWorker;
    std::int64_t had_ns = 0;
    std::int64_t ready_at_ns = 0;
    std::int64_t longest_wait_ns = 0;
    std::int64_t wakes_at_ns = -1;
  };

  explicit Model(unsigned workers) : workers_(workers) {}

  Player& add(const char* name, GroupState* group, SchedulingClass which, std::int64_t burst_ns,
              std::int64_t sleep_ns = 0, int lane = LanedQueue::kAnyWorker) {
    Player& player = players_.emplace_back();
    player.fiber = std::make_unique<FiberState>();
    player.fiber->begin(name, [] {});
    player.fiber->group = group;
    player.fiber->scheduling_class = which;
    player.fiber->classed = group != nullptr || which != SchedulingClass::kNormal;
    player.burst_ns = burst_ns;
    player.sleep_ns = sleep_ns;
    player.lane = lane;
    owners_[player.fiber.get()] = &player;
    ready(player, true);
    return player;
  }

  void run(std::int64_t duration_ns) {
    const std::int64_t end = now_ns_ + duration_ns;
    while (now_ns_ < end) {
      for (Player& player : players_)
        if (player.wakes_at_ns >= 0 && player.wakes_at_ns <= now_ns_) {
          player.wakes_at_ns = -1;
          ready(player, true);
        }
      for (unsigned w = 0; w < workers_.size(); ++w)
        if (workers_[w].free_at_ns <= now_ns_) step(w);
      std::int64_t next = end;
      for (const Worker& worker : workers_)
        if (worker.running != nullptr) next = std::min(next, worker.free_at_ns);
      for (const Player& player : players_)
        if (player.wakes_at_ns >= 0) next = std::min(next, player.wakes_at_ns);
      now_ns_ = std::max(next, now_ns_ + 1);
    }
  }

  std::int64_t now_ns_ = 0;
  Classes classes;

 private:
  struct Worker {
    Classes::Turn turn;
    Player* running = nullptr;
    std::int64_t free_at_ns = 0;
  };

  void ready(Player& player, bool came) {
    player.ready_at_ns = now_ns_;
    if (player.fiber->classed) {
      classes.push(player.fiber.get(), player.lane, came);
    } else {
      ordinary_.push_back(player.fiber.get());
    }
  }

  void step(unsigned w) {
    Worker& worker = workers_[w];
    Player* before = std::exchange(worker.running, nullptr);
    bool stays = false;
    if (before != nullptr) {
      before->had_ns += before->burst_ns;
      stays = before->sleep_ns == 0;
    }
    if (before != nullptr && before->ends) {
      if (before->fiber->classed) classes.ends(worker.turn, *before->fiber, now_ns_);
      ready(*before, true);
      before = nullptr;
      stays = false;
    }
    const auto ordinary = [&]() -> FiberState* {
      if (ordinary_.empty()) return nullptr;
      FiberState* fiber = ordinary_.front();
      ordinary_.pop_front();
      return fiber;
    };
    FiberState* next = nullptr;
    if (classes.attention() != 0 || worker.turn.look || classes.idle_waits()) {
      next =
          classes.pick(worker.turn, w, now_ns_, {before != nullptr ? before->fiber.get() : nullptr, stays}, ordinary);
    } else {
      next = ordinary();
    }
    if (before != nullptr && !stays) before->wakes_at_ns = now_ns_ + before->sleep_ns;
    if (next == nullptr && stays) {
      worker.running = before;
      worker.free_at_ns = now_ns_ + before->burst_ns;
      return;
    }
    if (next == nullptr) next = classes.pick_idle(worker.turn, w, now_ns_);
    if (before != nullptr && stays) ready(*before, false);
    if (next == nullptr) return;
    Player* player = owners_.at(next);
    player->longest_wait_ns = std::max(player->longest_wait_ns, now_ns_ - player->ready_at_ns);
    EXPECT_TRUE(player->lane == LanedQueue::kAnyWorker || player->lane == static_cast<int>(w));
    worker.running = player;
    worker.free_at_ns = now_ns_ + player->burst_ns;
  }

  std::vector<Worker> workers_;
  std::deque<Player> players_;
  std::map<FiberState*, Player*> owners_;
  std::deque<FiberState*> ordinary_;
};

double share_of(const Model::Player& player, std::int64_t whole_ns) {
  return static_cast<double>(player.had_ns) / static_cast<double>(whole_ns);
}

TEST(Classes, GroupsGetTheirSharesWithinTwoPercent) {
  GroupState large("large", 300);
  GroupState small("small", 100);
  Model model(1);
  // One fiber each, of unlike bursts: neither their number nor their length matters.
  auto& a = model.add("a", &large, SchedulingClass::kNormal, 50 * kUs);
  auto& b = model.add("b", &small, SchedulingClass::kNormal, 400 * kUs);
  model.run(1000 * kMs);
  EXPECT_NEAR(share_of(a, 1000 * kMs), 0.75, 0.02);
  EXPECT_NEAR(share_of(b, 1000 * kMs), 0.25, 0.02);
  EXPECT_NEAR(static_cast<double>(large.cpu_ns.load()), 750e6, 15e6);
}

TEST(Classes, OrdinaryFibersTogetherAreAGroupOfAHundredShares) {
  GroupState half("half", 50);
  Model model(1);
  std::vector<Model::Player*> ordinary;
  for (int i = 0; i < 5; ++i) ordinary.push_back(&model.add("o", nullptr, SchedulingClass::kNormal, 20 * kUs));
  for (int i = 0; i < 20; ++i) model.add("g", &half, SchedulingClass::kNormal, 100 * kUs);
  model.run(3000 * kMs);
  double together = 0;
  for (auto* player : ordinary) together += share_of(*player, 3000 * kMs);
  EXPECT_NEAR(together, 2.0 / 3, 0.02);
  for (auto* player : ordinary) EXPECT_NEAR(share_of(*player, 3000 * kMs), together / 5, 0.01);
}

TEST(Classes, SharesHoldOverAllWorkersTogether) {
  GroupState large("large", 300);
  GroupState small("small", 100);
  Model model(4);
  double a = 0;
  double b = 0;
  std::vector<Model::Player*> as;
  std::vector<Model::Player*> bs;
  for (int i = 0; i < 8; ++i) as.push_back(&model.add("a", &large, SchedulingClass::kNormal, 130 * kUs));
  for (int i = 0; i < 8; ++i) bs.push_back(&model.add("b", &small, SchedulingClass::kNormal, 170 * kUs));
  model.run(2000 * kMs);
  for (auto* player : as) a += share_of(*player, 2000 * kMs);
  for (auto* player : bs) b += share_of(*player, 2000 * kMs);
  EXPECT_NEAR(a, 3.0, 0.1);
  EXPECT_NEAR(b, 1.0, 0.1);
}

TEST(Classes, AGroupThatSleptHasSavedNothingUpAndIsNotMadeToWait) {
  GroupState busy("busy", 100);
  GroupState late("late", 100);
  Model model(1);
  auto& b = model.add("b", &busy, SchedulingClass::kNormal, 100 * kUs);
  model.run(1000 * kMs);
  auto& l = model.add("l", &late, SchedulingClass::kNormal, 100 * kUs);
  const std::int64_t before = b.had_ns;
  model.run(100 * kMs);
  EXPECT_NEAR(static_cast<double>(b.had_ns - before), 50e6, 1e6);
  EXPECT_NEAR(static_cast<double>(l.had_ns), 50e6, 1e6);
  EXPECT_LE(l.longest_wait_ns, 200 * kUs);
}

TEST(Classes, AFiberThatMostlySleepsIsServedWithinATurnAmongBusyGroups) {
  GroupState busy("busy", 100);
  GroupState interactive("interactive", 100);
  Model model(1);
  for (int i = 0; i < 10; ++i) model.add("b", &busy, SchedulingClass::kNormal, 500 * kUs);
  for (int i = 0; i < 10; ++i) model.add("o", nullptr, SchedulingClass::kNormal, 100 * kUs);
  auto& i = model.add("i", &interactive, SchedulingClass::kNormal, 20 * kUs, 3 * kMs);
  model.run(2000 * kMs);
  EXPECT_GT(i.had_ns, 2000 * kMs / 4200 * 20 * 8 / 10);
  EXPECT_LE(i.longest_wait_ns, 2 * Classes::kTurnNs + 500 * kUs);
}

TEST(Classes, HighOnesGoFirstAndStillLeaveATurnInTwenty) {
  GroupState group("group", 100);
  Model model(1);
  std::vector<Model::Player*> flood;
  for (int i = 0; i < 3; ++i) flood.push_back(&model.add("h", nullptr, SchedulingClass::kHigh, 50 * kUs));
  auto& ordinary = model.add("o", nullptr, SchedulingClass::kNormal, 20 * kUs);
  auto& grouped = model.add("g", &group, SchedulingClass::kNormal, 20 * kUs);
  model.run(2000 * kMs);
  double high = 0;
  for (auto* player : flood) high += share_of(*player, 2000 * kMs);
  EXPECT_NEAR(high, 20.0 / 21, 0.01);
  EXPECT_GT(ordinary.had_ns, 30 * kMs);
  EXPECT_GT(grouped.had_ns, 30 * kMs);
  EXPECT_LE(ordinary.longest_wait_ns, 2 * (Classes::kHighRunNs + Classes::kTurnNs) + 100 * kUs);
  EXPECT_LE(grouped.longest_wait_ns, 2 * (Classes::kHighRunNs + Classes::kTurnNs) + 100 * kUs);
}

TEST(Classes, OneHighFiberThatOnlyYieldsLeavesATurnToo) {
  Model model(1);
  auto& high = model.add("h", nullptr, SchedulingClass::kHigh, 10 * kUs);
  auto& ordinary = model.add("o", nullptr, SchedulingClass::kNormal, 10 * kUs);
  model.run(1000 * kMs);
  EXPECT_NEAR(share_of(ordinary, 1000 * kMs), 1.0 / 21, 0.01);
  EXPECT_NEAR(share_of(high, 1000 * kMs), 20.0 / 21, 0.01);
}

TEST(Classes, AFloodOfHighFibersThatEndLeavesATurnToo) {
  GroupState group("group", 100);
  Model model(1);
  for (int i = 0; i < 3; ++i) model.add("h", nullptr, SchedulingClass::kHigh, 10 * kUs).ends = true;
  auto& ordinary = model.add("o", nullptr, SchedulingClass::kNormal, 10 * kUs);
  auto& grouped = model.add("g", &group, SchedulingClass::kNormal, 10 * kUs);
  grouped.ends = true;
  model.run(1000 * kMs);
  EXPECT_NEAR(share_of(ordinary, 1000 * kMs) + share_of(grouped, 1000 * kMs), 1.0 / 21, 0.01);
  EXPECT_GT(grouped.had_ns, 15 * kMs);
  EXPECT_GT(ordinary.had_ns, 15 * kMs);
}

TEST(Classes, AHighFiberThatWakesWaitsForOneBurstOnly) {
  GroupState group("group", 10'000);
  Model model(1);
  for (int i = 0; i < 10; ++i) model.add("o", nullptr, SchedulingClass::kNormal, 100 * kUs);
  model.add("g", &group, SchedulingClass::kNormal, 100 * kUs);
  auto& high = model.add("h", nullptr, SchedulingClass::kHigh, 10 * kUs, 700 * kUs);
  model.run(1000 * kMs);
  EXPECT_LE(high.longest_wait_ns, 100 * kUs);
  EXPECT_GT(high.had_ns, 11 * kMs);
}

TEST(Classes, IdleOnesRunInTheGapsAndAfterASecondInAnyCase) {
  Model model(1);
  auto& idle = model.add("i", nullptr, SchedulingClass::kIdle, 100 * kUs);
  auto& idle2 = model.add("j", nullptr, SchedulingClass::kIdle, 100 * kUs);
  auto& ordinary = model.add("o", nullptr, SchedulingClass::kNormal, 100 * kUs);
  model.run(10'000 * kMs);
  EXPECT_GE(idle.had_ns + idle2.had_ns, 8 * 100 * kUs);
  EXPECT_LE(idle.had_ns + idle2.had_ns, 11 * 100 * kUs);
  EXPECT_GT(idle2.had_ns, 0);
  ordinary.sleep_ns = 900 * kUs;  // from now on the worker is free for nine tenths
  const std::int64_t before = idle.had_ns;
  model.run(1000 * kMs);
  EXPECT_NEAR(static_cast<double>(idle.had_ns - before), 450e6, 20e6);
  EXPECT_NEAR(static_cast<double>(idle2.had_ns), static_cast<double>(idle.had_ns), 1e6);
}

TEST(Classes, AFiberBoundToAWorkerRunsThereInItsGroupsTurn) {
  GroupState group("group", 100);
  Model model(2);
  auto& bound = model.add("bound", &group, SchedulingClass::kNormal, 100 * kUs, 0, 1);
  for (int i = 0; i < 4; ++i) model.add("free", &group, SchedulingClass::kNormal, 100 * kUs);
  model.add("high", nullptr, SchedulingClass::kHigh, 10 * kUs, 300 * kUs, 0);
  model.run(100 * kMs);
  EXPECT_GT(bound.had_ns, 15 * kMs);  // a fifth of two workers, less the high one's
}

// One fiber cannot use more than one worker, whatever its group's shares.
TEST(Classes, WhoCouldNotUseItsShareDoesNotTakeAllWhenItCan) {
  GroupState large("large", 1000);
  GroupState small("small", 100);
  Model model(4);
  model.add("l", &large, SchedulingClass::kNormal, 100 * kUs);
  std::vector<Model::Player*> smalls;
  for (int i = 0; i < 8; ++i) smalls.push_back(&model.add("s", &small, SchedulingClass::kNormal, 100 * kUs));
  model.run(10'000 * kMs);
  for (int i = 0; i < 20; ++i) model.add("l", &large, SchedulingClass::kNormal, 100 * kUs);
  std::int64_t before = 0;
  std::int64_t after = 0;
  for (auto* player : smalls) before += player->had_ns;
  EXPECT_NEAR(static_cast<double>(before), 30'000e6, 300e6);
  model.run(300 * kMs);
  for (auto* player : smalls) after += player->had_ns;
  EXPECT_GT(after - before, 4 * 300 * kMs / 11 / 2);
}

// Whatever the mix: nobody who is ready waits beyond the bound that SCHEDULING.md states, and nothing is lost.
TEST(Classes, NobodyStarvesInRandomMixes) {
  const std::uint64_t first = std::random_device{}();
  for (std::uint64_t round = 0; round < 30; ++round) {
    const std::uint64_t seed = first + round;
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
    };
    std::deque<GroupState> groups;
    const auto group_count = 1 + below(4);
    for (std::int64_t g = 0; g < group_count; ++g) groups.emplace_back("g", static_cast<unsigned>(50 + below(200)));
    const auto workers = static_cast<unsigned>(1 + below(3));
    Model model(workers);
    std::vector<Model::Player*> players;
    const auto count = 5 + below(15);
    for (std::int64_t i = 0; i < count; ++i) {
      GroupState* group = below(3) == 0 ? nullptr : &groups[static_cast<std::size_t>(below(group_count))];
      const auto which = below(8) == 0 ? SchedulingClass::kHigh : SchedulingClass::kNormal;
      const int lane = below(4) == 0 && (group != nullptr || which != SchedulingClass::kNormal)
                           ? static_cast<int>(below(workers))
                           : LanedQueue::kAnyWorker;
      players.push_back(&model.add("p", group, which, (1 + below(500)) * kUs, below(2) * below(1000) * kUs, lane));
    }
    model.run(5000 * kMs);

    for (auto* player : players) {
      EXPECT_GT(player->had_ns, 0);
      EXPECT_LT(player->longest_wait_ns, 1000 * kMs);
    }
  }
}

}  // namespace
}  // namespace weft::sched
