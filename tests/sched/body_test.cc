#include "sched/body.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>

namespace weft::sched {
namespace {

template <std::size_t kBytes>
void moves_and_destroys_once() {
  auto alive = std::make_shared<int>(0);
  int calls = 0;
  {
    std::array<std::byte, kBytes> ballast{};
    Body body([alive, &calls, ballast] { calls += 1 + static_cast<int>(ballast[0]); });
    EXPECT_EQ(alive.use_count(), 2);
    Body second(std::move(body));
    EXPECT_FALSE(static_cast<bool>(body));  // NOLINT(bugprone-use-after-move): that is the question
    EXPECT_EQ(alive.use_count(), 2);
    body = std::move(second);
    body();
    body();
    EXPECT_EQ(alive.use_count(), 2);
    body.reset();
    EXPECT_EQ(alive.use_count(), 1);
    EXPECT_FALSE(static_cast<bool>(body));
  }
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(Body, MovesAndDestroysItsCapturesOnceBeTheySmallOrLarge) {
  moves_and_destroys_once<8>();
  moves_and_destroys_once<400>();
}

TEST(Body, TakesWhatOnlyMovesAndOtherWrappers) {
  int seen = 0;
  Body unique([owned = std::make_unique<int>(7), &seen] { seen = *owned; });
  Body moved = std::move(unique);
  moved();
  EXPECT_EQ(seen, 7);
  std::move_only_function<void()> wrapped = [&seen] { seen = 8; };
  Body outer(std::move(wrapped));
  outer();
  EXPECT_EQ(seen, 8);
}

TEST(Body, AnEmptyOneIsDestroyedAndMovedWithoutHarm) {
  Body empty;
  Body other(std::move(empty));
  EXPECT_FALSE(static_cast<bool>(other));
  other = Body([] {});
  EXPECT_TRUE(static_cast<bool>(other));
  other = Body();
  EXPECT_FALSE(static_cast<bool>(other));
}

}  // namespace
}  // namespace weft::sched
