#include "sched/descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <utility>

namespace weft::sched::io {
namespace {

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(Descriptor, IsClosedOnceByItsLastOwner) {
  int number = -1;
  {
    PipeEnds pipe = std::move(*make_pipe());
    number = pipe.read.get();
    EXPECT_NE(fcntl(number, F_GETFD) & FD_CLOEXEC, 0);
    Descriptor moved = std::move(pipe.read);
    EXPECT_FALSE(pipe.read);  // NOLINT(bugprone-use-after-move)
    Descriptor& same = moved;
    moved = std::move(same);
    EXPECT_TRUE(is_open(number));
    moved = std::move(pipe.write);
    EXPECT_FALSE(is_open(number));
    number = moved.get();
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Descriptor, IsGivenAwayAndDuplicated) {
  PipeEnds pipe = std::move(*make_pipe());
  auto copy = pipe.read.duplicate();
  ASSERT_TRUE(copy.has_value());
  EXPECT_NE(copy->get(), pipe.read.get());
  EXPECT_NE(fcntl(copy->get(), F_GETFD) & FD_CLOEXEC, 0);
  const Descriptor back(copy->release());
  EXPECT_TRUE(is_open(back.get()));
  EXPECT_FALSE(*copy);
  EXPECT_FALSE(Descriptor().duplicate().has_value());
}

}  // namespace
}  // namespace weft::sched::io
