#include "sched/select.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sched/runtime.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

const auto kIgnoreSent = [](const Status&) {};
const auto kIgnoreReceived = [](const auto&) {};

TEST(Select, DoesTheCaseThatIsReadyAndNoOther) {
  Channel<int> numbers(1);
  Channel<std::string> words(1);
  ASSERT_TRUE(words.send("here").has_value());
  std::string got;
  auto which = select(on_receive(numbers, [](const Result<int>&) { FAIL(); }),
                      on_receive(words, [&](Result<std::string> word) { got = std::move(word).value(); }));
  EXPECT_EQ(which.value(), 1U);
  EXPECT_EQ(got, "here");
  bool sent = false;
  which = select(on_send(numbers, 5, [&](Status status) { sent = status.has_value(); }),
                 on_receive(words, kIgnoreReceived));
  EXPECT_EQ(which.value(), 0U);
  EXPECT_TRUE(sent);
  EXPECT_EQ(numbers.receive().value(), 5);
}

TEST(Select, WithNothingReadyTriesWaitsAndIsStopped) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Channel<std::unique_ptr<int>> channel(0);
    auto value = std::make_unique<int>(3);
    EXPECT_EQ(try_select(on_receive(channel, kIgnoreReceived)).error(), Errc::kAgain);
    EXPECT_EQ(try_select(on_send(channel, std::move(value), kIgnoreSent)).error(), Errc::kAgain);
    EXPECT_EQ(select(Deadline::after(1ms), on_send(channel, std::move(value), kIgnoreSent)).error(), Errc::kTimedOut);
    EXPECT_EQ(*value, 3) << "a value not sent stays the caller's";  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(select(Deadline::after(1ms)).error(), Errc::kTimedOut) << "no cases: a sleep";
    Fiber stopped =
        spawn("stopped", [&] { EXPECT_EQ(select(on_receive(channel, kIgnoreReceived)).error(), Errc::kCancelled); });
    (void)sleep_for(1ms);
    stopped.request_stop();
    stopped.join();
  });
}

TEST(Select, AClosedChannelIsReady) {
  Channel<int> closed(2);
  Channel<int> silent(0);
  ASSERT_TRUE(closed.send(1).has_value());
  closed.close();
  std::vector<Result<int>> got;
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(select(on_receive(silent, kIgnoreReceived),
                       on_receive(closed, [&](Result<int> value) { got.push_back(std::move(value)); }))
                    .has_value());
  EXPECT_EQ(got[0].value(), 1);
  EXPECT_EQ(got[1].error(), Errc::kClosed);
  Errc refused{};
  ASSERT_TRUE(select(on_send(closed, 2, [&](const Status& sent) { refused = sent.error().code(); })).has_value());
  EXPECT_EQ(refused, Errc::kClosed);
}

TEST(Select, ClosingWakesItWhileItWaits) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Channel<int> first(0);
  Channel<int> second(0);
  Errc end{};
  Fiber waiter = runtime->spawn("waiter", [&] {
    EXPECT_EQ(select(on_receive(first, kIgnoreReceived),
                     on_receive(second, [&](const Result<int>& value) { end = value.error().code(); }))
                  .value(),
              1U);
  });
  std::this_thread::sleep_for(2ms);
  second.close();
  waiter.join();
  EXPECT_EQ(end, Errc::kClosed);
}

TEST(Select, TheSameChannelInBothDirectionsDoesNotMeetItself) {
  Channel<int> channel(0);
  EXPECT_EQ(
      select(Deadline::after(2ms), on_send(channel, 1, kIgnoreSent), on_receive(channel, kIgnoreReceived)).error(),
      Errc::kTimedOut);
}

TEST(Select, EachOfSeveralReadyCasesIsAsLikely) {
  const auto count = [](int rounds) {
    std::vector<int> chosen(4, 0);
    Channel<int> never(0);
    Channel<int> a(1);
    Channel<int> b(1);
    Channel<int> c(1);
    for (Channel<int>* channel : {&a, &b, &c}) (void)channel->send(0);
    for (int i = 0; i < rounds; ++i) {
      auto which = select(on_receive(a, kIgnoreReceived), on_receive(never, kIgnoreReceived),
                          on_receive(b, kIgnoreReceived), on_receive(c, kIgnoreReceived));
      ++chosen[which.value()];
      for (Channel<int>* channel : {&a, &b, &c}) (void)channel->try_send(0);
    }
    return chosen;
  };
  const auto check = [](const std::vector<int>& chosen) {
    EXPECT_EQ(chosen[1], 0);
    for (const int i : {0, 2, 3}) EXPECT_NEAR(chosen[static_cast<std::size_t>(i)], 1000, 200);
  };
  check(count(3000));
  Simulation simulation(11);
  ASSERT_TRUE(simulation.run([&] { check(count(3000)); }).has_value());
}

TEST(Select, TakesMoreCasesThanFitInOneHand) {
  std::vector<std::unique_ptr<Channel<int>>> channels;
  for (int i = 0; i < 100; ++i) channels.push_back(std::make_unique<Channel<int>>(1));
  ASSERT_TRUE(channels[77]->send(1).has_value());
  int got = 0;
  const auto handler = [&](Result<int> value) { got = value.value(); };
  std::vector<std::unique_ptr<SelectCase>> cases;
  std::vector<SelectCase*> list;
  for (auto& channel : channels) {
    cases.push_back(std::make_unique<ReceiveCase<int, decltype(handler)>>(*channel, handler));
    list.push_back(cases.back().get());
  }
  EXPECT_EQ(select_among(list).value(), 77U);
  EXPECT_EQ(got, 1);
  EXPECT_EQ(select_among(list, Deadline::after(1ms)).error(), Errc::kTimedOut);
}

// Selects against selects, fibers and plain threads, on channels of different sizes; some give up in between.
TEST(Select, StressWhatIsSentIsReceivedOnce) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Channel<int> a(0);
  Channel<int> b(0);
  Channel<int> c(2);
  constexpr int kEach = 3000;
  std::atomic<long> sent{0};
  std::atomic<long> received{0};
  std::atomic<int> senders{4};
  const auto send = [&](int salt) {
    for (int i = 1; i <= kEach;) {
      const auto count = [&](const Status& status) {
        ASSERT_TRUE(status.has_value());
        sent += i;
        ++i;
      };
      const Deadline deadline = (i + salt) % 7 == 0 ? Deadline::after(20us) : Deadline::after(10s);
      // Both ways on one channel, in another order each time.
      const auto take = [&](Result<int> value) { received += value.value(); };
      auto which = salt % 2 == 0 ? select(deadline, on_send(a, int{i}, count), on_send(c, int{i}, count),
                                          on_send(b, int{i}, count), on_receive(b, take))
                                 : select(deadline, on_receive(a, take), on_send(b, int{i}, count),
                                          on_send(a, int{i}, count), on_send(c, int{i}, count));
      ASSERT_TRUE(which.has_value() || which.error() == Errc::kTimedOut);
    }
    if (--senders == 0) {
      for (Channel<int>* channel : {&a, &b, &c}) channel->close();
    }
  };
  const auto receive = [&] {
    int open = 3;
    std::vector<bool> closed(3, false);
    const auto take = [&](std::size_t which) {
      return [&, which](const Result<int>& value) {
        if (value) {
          received += *value;
        } else if (!closed[which]) {
          closed[which] = true;
          --open;
        }
      };
    };
    while (open > 0) (void)select(on_receive(c, take(2)), on_receive(b, take(1)), on_receive(a, take(0)));
  };
  std::vector<Fiber> fibers;
  for (int f = 0; f < 3; ++f) fibers.push_back(runtime->spawn("sender", [&, f] { send(f); }));
  for (int f = 0; f < 3; ++f) fibers.push_back(runtime->spawn("receiver", receive));
  std::thread sender([&] { send(3); });
  std::thread receiver(receive);
  for (auto& fiber : fibers) fiber.join();
  sender.join();
  receiver.join();
  EXPECT_EQ(sent, 4L * kEach * (kEach + 1) / 2);
  EXPECT_EQ(received, sent);
}

}  // namespace
}  // namespace weft::sched
