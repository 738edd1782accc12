// Channels and selects against what they promise, in random programs under a Simulation: each seed another program and another
// order. WEFT_SEED replays one, WEFT_SEEDS sets how many are tried.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "sched/select.h"
#include "sched/simulation.h"
#include "sched/spawn.h"

namespace weft::sched {
namespace {

struct Value {
  int sender = -1;
  int number = -1;
};

// Somebody who may be parked: since when, and for what.
struct Wish {
  std::chrono::nanoseconds since{};
  std::set<std::size_t> sends;
  std::set<std::size_t> receives;
};

class RandomProgram {
 public:
  explicit RandomProgram(std::uint64_t seed) : random_(seed) {
    const std::size_t channels = 1 + pick(3);
    for (std::size_t i = 0; i < channels; ++i) channels_.push_back(std::make_unique<Channel<Value>>(pick(3)));
    sent_.resize(channels);
    received_.resize(channels);
  }

  void run() {
    std::vector<Fiber> fibers;
    const int count = static_cast<int>(2 + pick(4));
    for (int f = 0; f < count; ++f) fibers.push_back(spawn("actor", [this, f] { act(f); }));
    if (pick(3) == 0) {
      (void)sleep_for(std::chrono::nanoseconds(pick(60)));
      channels_[pick(channels_.size())]->close();
    }
    for (Fiber& fiber : fibers) fiber.join();
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      while (auto left = channels_[i]->try_receive()) note_received(i, -1, *left);
      EXPECT_EQ(received_[i], sent_[i]) << "channel " << i;
    }
  }

 private:
  std::size_t pick(std::size_t below) { return random_() % below; }

  void act(int self) {
    for (int step = 0; step < 25; ++step) {
      std::vector<std::unique_ptr<SelectCase>> cases;
      std::vector<Value> values;
      values.reserve(4);
      Wish wish;
      const std::size_t count = 1 + pick(3);
      for (std::size_t c = 0; c < count; ++c) {
        const std::size_t channel = pick(channels_.size());
        if (pick(2) == 0) {
          values.push_back({self, next_number_++});
          cases.push_back(make_send(channel, values.back()));
          wish.sends.insert(channel);
        } else {
          cases.push_back(make_receive(channel, self));
          wish.receives.insert(channel);
        }
      }
      std::vector<SelectCase*> list;
      for (auto& one : cases) list.push_back(one.get());
      const int finished_before = finished_;
      wish.since = now();
      Wish& mine = wishes_[self] = wish;
      Result<std::size_t> which = fail(Errc::kInternal);
      switch (pick(4)) {
        case 0: which = try_select_among(list); break;
        case 1:
          if (count == 1) {  // the plain calls mix with selects
            plain(self, mine, values);
            wishes_.erase(self);
            continue;
          }
          [[fallthrough]];
        default: which = select_among(list, Deadline::after(std::chrono::nanoseconds(pick(20))));
      }
      if (!which) {
        if (which.error() == Errc::kTimedOut) check_nobody_was_missed(self, mine);
        EXPECT_TRUE(which.error() == Errc::kTimedOut || which.error() == Errc::kAgain);
      } else {
        EXPECT_LT(*which, cases.size());
        EXPECT_GT(finished_, finished_before) << "a handler has run";
      }
      wishes_.erase(self);
      if (pick(4) == 0) (void)sleep_for(std::chrono::nanoseconds(pick(10)));
    }
  }

  void plain(int self, const Wish& wish, const std::vector<Value>& values) {
    const Deadline deadline = Deadline::after(std::chrono::nanoseconds(pick(20)));
    Errc error{};
    if (values.empty()) {
      const std::size_t channel = *wish.receives.begin();
      auto got = channels_[channel]->receive(deadline);
      if (got) note_received(channel, self, *got);
      if (!got) error = got.error().code();
    } else {
      const std::size_t channel = *wish.sends.begin();
      offered_[values[0].number] = channel;
      Status sent = channels_[channel]->send(values[0], deadline);
      if (sent) sent_[channel].insert(values[0].number);
      if (!sent) error = sent.error().code();
    }
    if (error == Errc::kTimedOut) check_nobody_was_missed(self, wish);
  }

  std::unique_ptr<SelectCase> make_send(std::size_t channel, Value& value) {
    offered_[value.number] = channel;
    const auto handler = [this, channel, number = value.number](const Status& sent) {
      ++finished_;
      if (sent) {
        sent_[channel].insert(number);
      } else {
        EXPECT_EQ(sent.error(), Errc::kClosed);
        EXPECT_TRUE(channels_[channel]->closed());
      }
    };
    return std::make_unique<SendCase<Value, decltype(handler)>>(*channels_[channel], value, handler);
  }

  std::unique_ptr<SelectCase> make_receive(std::size_t channel, int self) {
    const auto handler = [this, channel, self](const Result<Value>& value) {
      ++finished_;
      if (value) {
        note_received(channel, self, *value);
      } else {
        EXPECT_EQ(value.error(), Errc::kClosed);
        EXPECT_TRUE(channels_[channel]->closed());
      }
    };
    return std::make_unique<ReceiveCase<Value, decltype(handler)>>(*channels_[channel], handler);
  }

  void note_received(std::size_t channel, int receiver, const Value& value) {
    EXPECT_TRUE(received_[channel].insert(value.number).second) << "received twice: " << value.number;
    EXPECT_EQ(offered_.at(value.number), channel);
    // Numbers of one sender ascend, so whoever receives sees them ascend.
    int& last = last_seen_[{channel, value.sender, receiver}];
    EXPECT_LT(last, value.number + 1);
    last = value.number + 1;
  }

  // Time passes only when nobody can go on. So whoever was there before this moment, and still is, was parked beside us: had
  // one of us been able to serve the other, it would have.
  void check_nobody_was_missed(int self, const Wish& mine) {
    if (mine.since == now()) return;
    for (const auto& [other, wish] : wishes_) {
      if (other == self || wish.since == now()) continue;
      for (const std::size_t channel : mine.sends)
        EXPECT_FALSE(wish.receives.contains(channel)) << self << " " << other;
      for (const std::size_t channel : mine.receives)
        EXPECT_FALSE(wish.sends.contains(channel)) << self << " " << other;
    }
  }

  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Channel<Value>>> channels_;
  int next_number_ = 0;
  int finished_ = 0;
  std::map<int, Wish> wishes_;
  std::map<int, std::size_t> offered_;  // number -> channel
  std::vector<std::set<int>> sent_;
  std::vector<std::set<int>> received_;
  std::map<std::tuple<std::size_t, int, int>, int> last_seen_;
};

std::string run_program(std::uint64_t seed) {
  Simulation simulation(seed);
  RandomProgram program(seed * 31 + 7);
  const Status ended = simulation.run([&] { program.run(); });
  EXPECT_TRUE(ended.has_value()) << ended.error().message();
  return simulation.trace();
}

TEST(ChannelModel, RandomProgramsLoseNothingDoubleNothingAndMissNobody) {
  const char* one = std::getenv("WEFT_SEED");    // NOLINT(concurrency-mt-unsafe)
  const char* many = std::getenv("WEFT_SEEDS");  // NOLINT(concurrency-mt-unsafe)
  const std::uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const std::uint64_t count = one != nullptr ? 1 : many != nullptr ? std::strtoull(many, nullptr, 10) : 300;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    (void)run_program(seed);
    ASSERT_FALSE(HasFailure()) << "replay with WEFT_SEED=" << seed;
  }
}

TEST(ChannelModel, TheSameSeedGivesTheSameTrace) {
  for (std::uint64_t seed = 1; seed < 20; ++seed) EXPECT_EQ(run_program(seed), run_program(seed)) << "seed " << seed;
}

}  // namespace
}  // namespace weft::sched
