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

}  // namespace
}  // namespace weft::sched
