#include "sched/datagrams.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "sched/spawn.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Address;
using io::Datagrams;

using DatagramSockets = InEachMode;
INSTANTIATE_TEST_SUITE_P(Io, DatagramSockets,
                         testing::Values(IoMode::kRing, IoMode::kRestrictedRing, IoMode::kEpoll, IoMode::kThread),
                         name_of);

TEST_P(DatagramSockets, AMessageArrivesWholeWithItsSender) {
  const std::string name = "weft-datagrams-" + std::to_string(getpid()) + "-";
  const std::pair<Address, Address> families[] = {
      {Address::ipv4_loopback(0), Address::ipv4_loopback(0)},
      {Address::ipv6_loopback(0), Address::ipv6_loopback(0)},
      {Address::unix_abstract(name + "a").value(), Address::unix_abstract(name + "b").value()}};
  for (const auto& [at, other_at] : families) {
    run([&] {
      auto one = Datagrams::bind(at);
      auto other = Datagrams::bind(other_at);
      ASSERT_TRUE(one.has_value() && other.has_value());
      std::array<std::byte, 100> into{};
      EXPECT_EQ(other->receive_from(into, Deadline::after(1ms)).error(), Errc::kTimedOut);
      Fiber receiver = spawn("receiver", [&] {
        auto received = other->receive_from(into, Deadline::after(20s));
        ASSERT_TRUE(received.has_value());
        EXPECT_EQ(text_of(std::span(into).first(received->size_bytes)), "question");
        EXPECT_EQ(received->from, one->local_address().value());
        EXPECT_FALSE(received->cut);
        EXPECT_TRUE(other->send_to(bytes_of("a long answer"), received->from).has_value());
      });
      EXPECT_TRUE(one->send_to(bytes_of("question"), *other->local_address()).has_value());
      std::array<std::byte, 6> small{};
      auto answer = one->receive_from(small, Deadline::after(20s));
      ASSERT_TRUE(answer.has_value());
      EXPECT_EQ(answer->size_bytes, 6U);
      EXPECT_TRUE(answer->cut);
      receiver.join();
    });
  }
}

TEST_P(DatagramSockets, AConnectedOneIsToldThatNobodyIsThere) {
  run([&] {
    Datagrams socket = std::move(*Datagrams::bind(Address::ipv4_loopback(0)));
    Address gone;
    {
      auto closed = Datagrams::bind(Address::ipv4_loopback(0));
      gone = *closed->local_address();
    }
    ASSERT_TRUE(socket.connect(gone).has_value());
    EXPECT_TRUE(socket.send(bytes_of("anyone?")).has_value());
    std::byte into{};
    EXPECT_EQ(socket.receive_from({&into, 1}, Deadline::after(20s)).error(), Errc::kRefused);
  });
}

TEST_P(DatagramSockets, ASenderWaitsForRoomUntilItsDeadline) {
  run([&] {
    auto [one, other] = *Datagrams::pair();
    const std::vector<std::byte> message(1000);
    Status sent;
    int count = 0;
    while ((sent = one.send(message, Deadline::after(2ms)))) ++count;
    EXPECT_EQ(sent.error(), Errc::kTimedOut);
    ASSERT_GT(count, 0);
    std::vector<std::byte> into(1000);
    Fiber receiver = spawn("receiver", [&, socket = &other] {
      for (int i = 0; i <= count; ++i) EXPECT_TRUE(socket->receive_from(into, Deadline::after(20s)).has_value());
    });
    EXPECT_TRUE(one.send(message, Deadline::after(20s)).has_value());
    receiver.join();
  });
}

TEST_P(DatagramSockets, AStopRequestEndsAReceive) {
  if (!on_fibers()) GTEST_SKIP() << "a plain thread cannot be asked to stop";
  run([&] {
    Datagrams socket = std::move(*Datagrams::bind(Address::ipv4_loopback(0)));
    for (const auto delay : {0us, 2000us}) {
      Errc code{};
      Fiber receiver = spawn("receiver", [&] {
        std::byte into{};
        code = socket.receive_from({&into, 1}).error().code();
      });
      (void)sleep_for(delay);
      receiver.request_stop();
      receiver.join();
      EXPECT_EQ(code, Errc::kCancelled);
    }
  });
}

}  // namespace
}  // namespace weft::sched
