#include "sched/pass_descriptors.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "sched/io.h"
#include "sched/spawn.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Stream;

using PassedDescriptors = InEachMode;
INSTANTIATE_TEST_SUITE_P(Io, PassedDescriptors,
                         testing::Values(IoMode::kRing, IoMode::kRestrictedRing, IoMode::kEpoll, IoMode::kThread),
                         name_of);

TEST_P(PassedDescriptors, AnOpenPipeIsUsableAtTheOtherEnd) {
  const std::size_t before = open_descriptors();
  run([&] {
    for (const auto kind : {io::SocketKind::kStream, io::SocketKind::kPacket}) {
      auto [one, other] = *Stream::pair(kind);
      auto pipe = std::move(*io::make_pipe());
      Fiber receiver = spawn("receiver", [&, stream = &other] {
        std::array<std::byte, 16> into{};
        auto received = io::receive_descriptors(*stream, into, Deadline::after(20s));
        ASSERT_TRUE(received.has_value()) << received.error().message();
        EXPECT_EQ(received->size_bytes, 2U);
        ASSERT_EQ(received->descriptors.size(), 2U);
        EXPECT_EQ(io::write_some(received->descriptors[1].get(), bytes_of("x")).value(), 1U);
      });
      (void)sleep_for(1ms);
      const std::array<int, 2> ends{pipe.read.get(), pipe.write.get()};
      EXPECT_EQ(io::send_descriptors(one, ends, bytes_of("it")).value(), 2U);
      receiver.join();
      std::byte into{};
      EXPECT_EQ(io::read_some(pipe.read.get(), {&into, 1}).value(), 1U);
    }
  });
  EXPECT_EQ(open_descriptors(), before);
}

TEST_P(PassedDescriptors, LimitsAndDeadlinesAreKept) {
  const std::size_t before = open_descriptors();
  run([&] {
    auto [one, other] = *Stream::pair();
    std::array<std::byte, 4> into{};
    EXPECT_EQ(io::receive_descriptors(other, into, Deadline::after(1ms)).error(), Errc::kTimedOut);
    const std::vector<int> many(io::kMostDescriptors, one.fd());
    const std::vector<int> too_many(io::kMostDescriptors + 1, one.fd());
    EXPECT_EQ(io::send_descriptors(one, too_many, bytes_of("x")).error(), Errc::kInvalid);
    EXPECT_EQ(io::send_descriptors(one, many, {}).error(), Errc::kInvalid);
    EXPECT_EQ(io::send_descriptors(one, many, bytes_of("x")).value(), 1U);
    EXPECT_EQ(io::receive_descriptors(other, into)->descriptors.size(), many.size());
    EXPECT_TRUE(one.write_all(bytes_of("y")).has_value());
    EXPECT_EQ(io::receive_descriptors(other, into)->descriptors.size(), 0U);
    one = Stream();
    EXPECT_EQ(io::receive_descriptors(other, into)->size_bytes, 0U);
  });
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace weft::sched
