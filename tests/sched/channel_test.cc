#include "sched/channel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(Channel, EachValueArrivesOnceFromFibersAndThreads) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Channel<int> channel(4);
  std::atomic<long> sum{0};
  std::vector<Fiber> fibers;
  for (int r = 0; r < 3; ++r)
    fibers.push_back(runtime->spawn("receiver", [&] {
      while (auto value = channel.receive()) sum += *value;
    }));
  const auto send = [&] {
    for (int i = 1; i <= 500; ++i) ASSERT_TRUE(channel.send(i).has_value());
  };
  std::vector<Fiber> senders;
  for (int s = 0; s < 3; ++s) senders.push_back(runtime->spawn("sender", send));
  std::thread thread(send);
  for (auto& sender : senders) sender.join();
  thread.join();
  channel.close();
  for (auto& fiber : fibers) fiber.join();
  EXPECT_EQ(sum, 4 * 500 * 501 / 2);
}

TEST(Channel, ClosingDeliversWhatIsThereAndRefusesMore) {
  Channel<std::unique_ptr<int>> channel(2);
  ASSERT_TRUE(channel.send(std::make_unique<int>(1)).has_value());
  channel.close();
  EXPECT_EQ(channel.send(std::make_unique<int>(2)).error(), Errc::kClosed);
  EXPECT_EQ(**channel.receive(), 1);
  EXPECT_EQ(channel.receive().error(), Errc::kClosed);
}

TEST(Channel, DeadlinesAndStopRequestsEndWaits) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Channel<int> channel(1);
    EXPECT_EQ(channel.receive(Deadline::after(1ms)).error(), Errc::kTimedOut);
    ASSERT_TRUE(channel.send(1).has_value());
    EXPECT_EQ(channel.send(2, Deadline::after(1ms)).error(), Errc::kTimedOut);
    Fiber sender = spawn("sender", [&] { EXPECT_EQ(channel.send(3).error(), Errc::kCancelled); });
    (void)sleep_for(1ms);
    sender.request_stop();
    sender.join();
  });
}

TEST(Channel, ARendezvousHoldsTheSenderUntilItsValueIsTaken) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Channel<int> channel(0);
    EXPECT_EQ(channel.try_send(1).error(), Errc::kAgain);
    EXPECT_EQ(channel.try_receive().error(), Errc::kAgain);
    EXPECT_EQ(channel.send(1, Deadline::after(1ms)).error(), Errc::kTimedOut);
    std::atomic<int> sent{0};
    Fiber sender = spawn("sender", [&] {
      for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(channel.send(i).has_value());
        ++sent;
      }
    });
    for (int i = 0; i < 100; ++i) {
      EXPECT_LE(sent, i);
      EXPECT_EQ(channel.receive().value(), i);
    }
    sender.join();
    EXPECT_EQ(channel.size(), 0U);
  });
}

TEST(Channel, AValueNotSentStaysTheCallers) {
  Channel<std::unique_ptr<int>> channel(1);
  auto first = std::make_unique<int>(1);
  auto second = std::make_unique<int>(2);
  ASSERT_TRUE(channel.try_send(std::move(first)).has_value());
  EXPECT_EQ(channel.try_send(std::move(second)).error(), Errc::kAgain);
  ASSERT_NE(second, nullptr);  // NOLINT(bugprone-use-after-move): not moved from
  EXPECT_EQ(channel.send(std::move(second), Deadline::after(1ms)).error(), Errc::kTimedOut);
  ASSERT_NE(second, nullptr);  // NOLINT(bugprone-use-after-move)
  channel.close();
  EXPECT_EQ(channel.try_send(std::move(second)).error(), Errc::kClosed);
  EXPECT_EQ(*second, 2);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(**channel.try_receive(), 1);
  EXPECT_EQ(channel.try_receive().error(), Errc::kClosed);
}

TEST(Channel, ClosingEndsAllThatWait) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  for (const std::size_t capacity : {0U, 1U}) {
    Channel<int> empty(capacity);
    Channel<int> full(capacity);
    ASSERT_EQ(full.try_send(0).has_value(), capacity != 0);
    std::vector<Fiber> fibers;
    std::atomic<int> closed{0};
    for (int i = 0; i < 5; ++i) {
      fibers.push_back(runtime->spawn("receiver", [&] { closed += empty.receive().error() == Errc::kClosed ? 1 : 0; }));
      fibers.push_back(runtime->spawn("sender", [&] { closed += full.send(1).error() == Errc::kClosed ? 1 : 0; }));
    }
    std::this_thread::sleep_for(2ms);
    empty.close();
    full.close();
    full.close();
    EXPECT_TRUE(full.closed());
    for (auto& fiber : fibers) fiber.join();
    EXPECT_EQ(closed, 10);
  }
}

TEST(Channel, ServesInTurnAndANewcomerDoesNotOvertake) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Channel<int> channel(1);
    ASSERT_TRUE(channel.send(0).has_value());
    std::vector<Fiber> senders;
    for (int i = 1; i <= 4; ++i) {
      senders.push_back(spawn("sender", [&channel, i] { ASSERT_TRUE(channel.send(i).has_value()); }));
      yield();
    }
    for (int i = 0; i <= 4; ++i) {
      EXPECT_EQ(channel.receive().value(), i);
      EXPECT_EQ(channel.size(), i < 4 ? 1U : 0U) << "the place went to the next in turn";
    }
    for (auto& sender : senders) sender.join();
    std::vector<Fiber> receivers;
    for (int i = 0; i < 4; ++i) {
      receivers.push_back(spawn("receiver", [&, i] { EXPECT_EQ(channel.receive().value(), i); }));
      yield();
    }
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(channel.send(i).has_value());
    for (auto& receiver : receivers) receiver.join();
  });
}

TEST(Channel, IsARangeThatEndsWhenClosed) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Channel<std::unique_ptr<int>> channel(3);
    Fiber sender = spawn("sender", [&] {
      for (int i = 1; i <= 100; ++i) ASSERT_TRUE(channel.send(std::make_unique<int>(i)).has_value());
      channel.close();
    });
    int sum = 0;
    for (const std::unique_ptr<int>& value : channel) sum += *value;
    EXPECT_EQ(sum, 5050);
    sender.join();
  });
}

TEST(Channel, DestroysTheValuesThatNobodyReceived) {
  auto counted = std::make_shared<int>(0);
  {
    Channel<std::shared_ptr<int>> channel(4);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(channel.send(counted).has_value());
    EXPECT_EQ(channel.receive().value(), counted);
    ASSERT_TRUE(channel.send(counted).has_value());
    ASSERT_TRUE(channel.send(counted).has_value());
    EXPECT_EQ(counted.use_count(), 5);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(Channel, MayBeDestroyedByTheOneWhoReceivedTheLastValue) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  for (int round = 0; round < 2000; ++round) {
    auto* channel = new Channel<int>(static_cast<std::size_t>(round % 2));
    Fiber receiver = runtime->spawn("receiver", [channel] {
      EXPECT_EQ(channel->receive().value(), 7);
      delete channel;
    });
    if (round % 3 == 0) {
      runtime->spawn("sender", [channel] { (void)channel->send(7); }).join();
    } else {
      (void)channel->send(7);
    }
    receiver.join();
  }
}

}  // namespace
}  // namespace weft::sched
