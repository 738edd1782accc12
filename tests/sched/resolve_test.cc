#include "sched/resolve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "sched/offload.h"
#include "sched/runtime.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Address;
using io::AddressFamily;

TEST(Resolve, NumbersNeedNoServerAndNamesComeFromTheSystem) {
  auto runtime = Runtime::create({.workers = 1});
  runtime->block_on([] {
    EXPECT_EQ(io::resolve("127.0.0.1", 80).value().at(0), Address::ipv4_loopback(80));
    EXPECT_EQ(io::resolve("::1", 80).value().at(0), Address::ipv6_loopback(80));
    EXPECT_EQ(io::resolve("127.0.0.1", 80, {}, AddressFamily::kIpv6).error(), Errc::kNotFound);
    EXPECT_EQ(io::resolve("", 80).error(), Errc::kInvalid);
    auto local = io::resolve("localhost", 81, Deadline::after(30s));
    ASSERT_TRUE(local.has_value()) << local.error().message();
    EXPECT_TRUE(std::any_of(local->begin(), local->end(), [](const Address& each) {
      return each == Address::ipv4_loopback(81) || each == Address::ipv6_loopback(81);
    }));
    // RFC 6761: no such name anywhere; without a network nobody may be there to say so.
    auto nobody = io::resolve("nonesuch.invalid", 80, Deadline::after(30s));
    ASSERT_FALSE(nobody.has_value());
    EXPECT_NE(nobody.error().message().find("nonesuch.invalid"), std::string::npos);
  });
}

TEST(Resolve, ASimulationTakesNumbersOnly) {
  Simulation simulation(1);
  EXPECT_TRUE(simulation
                  .run([] {
                    EXPECT_TRUE(io::resolve("::1", 80).has_value());
                    EXPECT_EQ(io::resolve("localhost", 80).error(), Errc::kUnsupported);
                  })
                  .has_value());
}

TEST(BlockingUntil, ADeadlineDoesNotWaitForTheCallAndItsResultIsDropped) {
  const auto release = std::make_shared<std::atomic<bool>>(false);
  auto alive = std::make_shared<int>(0);
  {
    auto runtime = Runtime::create({.workers = 1});
    runtime->block_on([&] {
      const auto slow = [release, alive = alive] {
        while (!*release) std::this_thread::sleep_for(100us);
        return alive;
      };
      EXPECT_EQ(blocking_until(Deadline::after(1ms), slow).error(), Errc::kTimedOut);
      Fiber caller = spawn("caller", [&] { EXPECT_EQ(blocking_until({}, slow).error(), Errc::kCancelled); });
      (void)sleep_for(1ms);
      caller.request_stop();
      caller.join();
      EXPECT_EQ(blocking_until(Deadline::after(30s), [] { return 7; }).value(), 7);
      EXPECT_TRUE(blocking_until(Deadline::after(30s), [] {}).has_value());
      *release = true;
    });
  }
  EXPECT_EQ(alive.use_count(), 1);  // and the end of the runtime has waited for both
}

TEST(BlockingUntil, ResultsRaceWithDeadlinesAndAreDeliveredOrDropped) {
  auto alive = std::make_shared<int>(0);
  {
    auto runtime = Runtime::create({.workers = 2});
    runtime->block_on([&] {
      for (int i = 0; i < 300; ++i) {
        auto result = blocking_until(Deadline::after(std::chrono::microseconds(i)), [alive] { return alive; });
        EXPECT_TRUE(result || result.error() == Errc::kTimedOut);
      }
    });
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(BlockingUntil, OnAPlainThreadTheCallIsMadeInPlace) {
  const auto here = std::this_thread::get_id();
  EXPECT_EQ(blocking_until(Deadline::after(0s), [] { return std::this_thread::get_id(); }).value(), here);
}

}  // namespace
}  // namespace weft::sched
