#include "kernel/lock_order.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

constexpr LockRank kFirst{10, "first"}, kSecond{20, "second"};
int a, b, c;  // the locks

TEST(LockOrder, AscendingRanksAreFineAndAnOrderWithinARankToo) {
  HeldLocks held;
  held.may_wait_for(kFirst, 5);
  held.add(&a, kFirst, 5);
  held.may_wait_for(kFirst, 6);
  held.add(&b, kFirst, 6);
  held.may_wait_for(kSecond, 0);
  held.add(&c, kSecond, 0);
  held.may_wait_for(kSecond, 0);  // no order of their own
  EXPECT_EQ(held.count(), 3u);
  held.remove(&a);  // in any order
  held.remove(&c);
  held.may_wait_for(kSecond, 0);
  held.remove(&b);
  EXPECT_EQ(held.count(), 0u);
  held.may_wait_for(kFirst, 1);
}

TEST(LockOrder, LocksWithoutARankAreNobodysBusiness) {
  HeldLocks held;
  held.add(&a, kSecond, 0);
  held.may_wait_for(LockRank{}, 0);
  held.add(&b, LockRank{}, 0);
  EXPECT_EQ(held.count(), 1u);
}

TEST(LockOrderDeathTest, WrongOrderEndsTheProcessWithBothNames) {
  HeldLocks held;
  held.add(&a, kSecond, 0);
  EXPECT_DEATH(held.may_wait_for(kFirst, 7), "\"first\" 7 is asked for while \"second\" 0 is held");
  held.add(&b, kFirst, 7);  // as a try may
  EXPECT_DEATH(held.may_wait_for(kFirst, 7), "\"first\" 7 is asked for while");
}

TEST(LockOrderDeathTest, LockOfSomebodyElseCannotBeLetGo) {
  HeldLocks held;
  EXPECT_DEATH(held.remove(&a), "internal error");
}

}  // namespace
}  // namespace weft
