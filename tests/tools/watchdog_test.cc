#include "tools/watchdog.h"

#include <gtest/gtest.h>

#include <future>

namespace weft::tools {
namespace {

using namespace std::chrono_literals;

TEST(Watchdog, APulseIsAliveAsLongAsItBeatsWithinTheLimit) {
  const Pulse::Time start{};
  Pulse pulse(10s, start);
  EXPECT_TRUE(pulse.alive(0, start + 9s)) << "from the beginning on";
  EXPECT_TRUE(pulse.alive(1, start + 11s));
  EXPECT_TRUE(pulse.alive(1, start + 20s));
  EXPECT_FALSE(pulse.alive(1, start + 21s));
  EXPECT_TRUE(pulse.alive(2, start + 22s));
}

TEST(Watchdog, WithoutALimitEverythingIsAlive) {
  const Pulse::Time start{};
  Pulse pulse(0s, start);
  EXPECT_TRUE(pulse.alive(0, start + 10000h));
}

TEST(Watchdog, BarksWhenTheBeatsStandStill) {
  const std::atomic<std::uint64_t> beats{3};
  std::promise<void> barked;
  const Watchdog watchdog(20ms, beats, [&] { barked.set_value(); });
  barked.get_future().wait();
}

TEST(Watchdog, EndsAtOnceAndWithoutABarkWhenItIsNoLongerWanted) {
  const std::atomic<std::uint64_t> beats{0};
  bool barked = false;
  {
    const Watchdog watchdog(1h, beats, [&] { barked = true; });
  }
  {
    const Watchdog watchdog(0s, beats, [&] { barked = true; });
  }
  EXPECT_FALSE(barked);
}

}  // namespace
}  // namespace weft::tools
