// The small change of the kernel: bytes.h, units.h, strong_id.h, function_ref.h, spinlock.h, clock.h, check.h.
#include "kernel/bytes.h"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "kernel/check.h"
#include "kernel/clock.h"
#include "kernel/function_ref.h"
#include "kernel/spinlock.h"
#include "kernel/strong_id.h"
#include "kernel/units.h"

namespace weft {
namespace {

TEST(Bytes, IntegersLieWithTheirLowByteFirstAndAnywhere) {
  struct Packed {
    std::uint8_t lead;
    le16 two;
    le32 four;
    le64 eight;
  };
  static_assert(sizeof(Packed) == 15);
  Packed packed{1, 0x0302, 0x07060504, 0x0f0e0d0c0b0a0908};
  const auto bytes = as_bytes_of(packed);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(std::to_integer<unsigned>(bytes[i]), i + 1);
  as_writable_bytes_of(packed)[14] = std::byte{0};
  EXPECT_EQ(packed.eight, 0x000e0d0c0b0a0908u);
  EXPECT_EQ(le32(), 0u);
}

TEST(Units, RoundingStaysWhereItIsRound) {
  EXPECT_EQ(round_down(8191, 4096), 4096u);
  EXPECT_EQ(round_up(8191, 4096), 8192u);
  EXPECT_EQ(round_up(8192, 4096), 8192u);
  EXPECT_EQ(round_up(0, 4096), 0u);
  EXPECT_EQ(divide_up(8193, 4096), 3u);
  EXPECT_EQ(divide_up(~std::uint64_t{0}, 2), std::uint64_t{1} << 63) << "the sum would wrap";
}

TEST(StrongId, CountsAndComparesAndIsNoOtherKind) {
  using Apple = StrongId<struct AppleTag>;
  using Pear = StrongId<struct PearTag>;
  static_assert(!std::is_convertible_v<Apple, Pear> && !std::is_convertible_v<std::uint64_t, Apple>);
  Apple apple(5);
  EXPECT_EQ(++apple, Apple(6));
  EXPECT_EQ(apple + 4, Apple(10));
  EXPECT_EQ(Apple(10) - apple, 4u);
  EXPECT_LT(Apple(2), apple);
  EXPECT_EQ((std::unordered_set<Apple>{Apple(1), Apple(1), Apple(2)}.size()), 2u);
}

int call(FunctionRef<int(int, std::unique_ptr<int>)> function) { return function(2, std::make_unique<int>(3)); }

TEST(FunctionRef, CallsWhatItBorrowsAndSeesItsChanges) {
  int calls = 0;
  const auto counting = [&calls](int a, std::unique_ptr<int> b) {
    ++calls;
    return a * *b;
  };
  EXPECT_EQ(call(counting), 6);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(call([state = 10](int a, std::unique_ptr<int>) mutable { return state += a; }), 12);
  static_assert(!std::is_constructible_v<FunctionRef<int(int)>, int (*)(std::string)>);
}

TEST(Spinlock, LetsOneInAtATime) {
  Spinlock lock;
  int count = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        const std::lock_guard guard(lock);
        ++count;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, 80'000);
  ASSERT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
}

TEST(Clock, SystemsMonotonicTimeDoesNotGoBackAndItsWallTimeIsOfThisCentury) {
  const auto first = system_clock().monotonic();
  EXPECT_GE(system_clock().monotonic(), first);
  const Timespec wall = system_clock().wall();
  EXPECT_GT(wall.seconds, 1'600'000'000);
  EXPECT_LT(wall.nanoseconds, 1'000'000'000u);
  EXPECT_LT((Timespec{5, 10}), (Timespec{5, 11}));
  EXPECT_LT((Timespec{-1, 999}), (Timespec{0, 0}));
}

TEST(CheckDeathTest, SaysWhatDoesNotHoldAndWhere) {
  WEFT_CHECK(1 + 1 == 2);
  EXPECT_DEATH(WEFT_CHECK(1 + 1 == 3), "1 \\+ 1 == 3 does not hold .*bytes_test.cc:");
}

}  // namespace
}  // namespace weft
