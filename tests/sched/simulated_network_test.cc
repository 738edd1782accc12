#include "sched/simulated_network.h"

#include <cerrno>
#include <numeric>
#include <vector>

#include "sched/datagrams.h"
#include "sched/listener.h"
#include "sched/stream.h"
#include "tests/sched/simulated_cluster.h"
#include "tests/support/echo_server.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Address;
using io::Datagrams;
using io::Listener;
using io::Stream;

std::vector<std::byte> numbered(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 31 >> 3);
  return bytes;
}

// Takes one connection at port 80 and reads it to its end, or to an error.
struct Sink {
  std::vector<std::byte> bytes;
  Status ended = fail(Errc::kInternal);

  void serve(Deadline deadline = Deadline::never()) {
    auto listener = Listener::listen(Address::ipv4_any(80));
    ASSERT_TRUE(listener.has_value());
    auto stream = listener->accept(deadline);
    if (!stream) {
      ended = fail(stream.error());
      return;
    }
    std::array<std::byte, 777> buffer{};
    for (;;) {
      const auto got = stream->read_some(buffer, deadline);
      if (!got) {
        ended = fail(got.error());
        return;
      }
      if (*got == 0) {
        ended = {};
        return;
      }
      bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*got));
    }
  }
};

TEST(SimulatedNetwork, AStreamKeepsItsBytesWhateverTheLinkDoes) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    SimulatedCluster cluster(seed, {.link = LinkOptions::draw(random), .stream_bytes = 1000});
    Sink sink;
    const auto sent = numbered(20'000);
    cluster.run([&] {
      (void)cluster.b.start("sink", [&] { sink.serve(); });
      (void)cluster.a.start("source", [&] {
        auto stream = Stream::connect(cluster.b.address(80));
        ASSERT_TRUE(stream.has_value()) << stream.error().message();
        EXPECT_EQ(stream->peer_address().value(), cluster.b.address(80));
        EXPECT_EQ(stream->local_address()->with_port(0), cluster.a.address());
        EXPECT_TRUE(stream->write_all(sent).has_value());
        EXPECT_TRUE(stream->shutdown(io::Shutdown::kWrite).has_value());
        std::byte into{};
        EXPECT_EQ(stream->read_some({&into, 1}).value(), 0U);
      });
    });
    EXPECT_TRUE(sink.ended.has_value()) << seed;
    EXPECT_TRUE(sink.bytes == sent) << seed;
  }
}

TEST(SimulatedNetwork, AStreamIsWrittenAndReadInOtherPiecesThanOneThinks) {
  SimulatedCluster cluster(2, {.link = quick_link()});
  cluster.run([&] {
    (void)cluster.b.start("sink", [] {
      auto listener = Listener::listen(Address::ipv4_any(80));
      auto stream = listener->accept();
      std::array<std::byte, 10> into{};
      int part = 0;
      for (std::size_t size = 1; size != 0;) {
        size = stream->read_some(into).value();
        part += size != 0 && size != 10;
      }
      EXPECT_GT(part, 20);
    });
    (void)cluster.a.start("source", [&] {
      auto stream = Stream::connect(cluster.b.address(80));
      ASSERT_TRUE(stream.has_value());
      int part = 0;
      for (int i = 0; i < 300; ++i) {
        part += stream->write_some(numbered(10)).value() != 10;
        EXPECT_TRUE(sleep_for(5ms).has_value());
      }
      EXPECT_GT(part, 3);
      EXPECT_LT(part, 30);
    });
  });
}

TEST(SimulatedNetwork, TheSameServerRunsOnAHostAsOnTheKernel) {
  SimulatedCluster cluster(3);
  cluster.run([&] {
    SimulatedCluster::on(cluster.a, [] {
      auto listener = Listener::listen(Address::ipv4_loopback(0));
      ASSERT_TRUE(listener.has_value());
      test::EchoServer server(std::move(*listener));
      auto stream = Stream::connect(server.address());
      ASSERT_TRUE(stream.has_value());
      std::array<std::byte, 5> back{};
      EXPECT_EQ(stream->read_some(back, Deadline::after(1h)).error(), Errc::kTimedOut);
      EXPECT_TRUE(stream->write_all(bytes_of("hello")).has_value());
      EXPECT_EQ(stream->read_all(back).value(), 5U);
      EXPECT_EQ(text_of(back), "hello");
      EXPECT_TRUE(server.stop().has_value());
      // A name within the host.
      auto named = Listener::listen(*Address::unix_path("/run/x"));
      ASSERT_TRUE(named.has_value());
      EXPECT_TRUE(Stream::connect(*Address::unix_path("/run/x")).has_value());
    });
    SimulatedCluster::on(cluster.b,
                         [] { EXPECT_EQ(Stream::connect(*Address::unix_path("/run/x")).error(), Errc::kRefused); });
    EXPECT_EQ(Listener::listen(Address::ipv4_any(80)).error(), Errc::kUnsupported) << "on no host";
  });
}

TEST(SimulatedNetwork, ConnectingFailsAsItDoesOutside) {
  SimulatedCluster cluster(4, {.link = quick_link(), .connect_timeout = 10s});
  cluster.run([&] {
    SimulatedCluster::on(cluster.a, [&] {
      const auto refused = Stream::connect(cluster.b.address(80));
      EXPECT_EQ(refused.error(), Errc::kRefused);
      EXPECT_EQ(refused.error().os_errno(), ECONNREFUSED);
      EXPECT_LT(now(), 1s);
      EXPECT_EQ(Stream::connect(*Address::parse("10.9.9.9:80")).error(), Errc::kUnreachable);
      EXPECT_EQ(Listener::listen(cluster.b.address(80)).error(), Errc::kNoSuchAddress);
      auto listener = Listener::listen(Address::ipv4_any(80));
      ASSERT_TRUE(listener.has_value());
      EXPECT_EQ(Listener::listen(cluster.a.address(80)).error(), Errc::kAddressInUse);
      auto other = Listener::listen(Address::ipv4_any(0));
      EXPECT_NE(other->local_address()->port(), 0);
      *listener = Listener();
      EXPECT_TRUE(Listener::listen(Address::ipv4_any(80)).has_value());

      cluster.network.cut(cluster.a, cluster.b);
      const auto before = now();
      EXPECT_EQ(Stream::connect(cluster.b.address(80), {}, Deadline::after(1s)).error().os_errno(), 0);
      EXPECT_EQ(now() - before, 1s);
      const auto silent = Stream::connect(cluster.b.address(80));
      EXPECT_EQ(silent.error(), Errc::kTimedOut);
      EXPECT_EQ(silent.error().os_errno(), ETIMEDOUT);
      EXPECT_EQ(now() - before, 11s);
    });
    // The attempt is repeated, and a stop ends it.
    (void)cluster.b.start("listener", [] {
      auto listener = Listener::listen(Address::ipv4_any(80));
      EXPECT_TRUE(listener->accept().has_value());
      EXPECT_EQ(listener->accept(Deadline::after(1min)).error(), Errc::kTimedOut);
    });
    (void)cluster.a.start("client", [&] {
      EXPECT_TRUE(Stream::connect(cluster.b.address(80)).has_value());
      cluster.network.cut(cluster.b, cluster.a);
      Fiber client =
          spawn("client", [&] { EXPECT_EQ(Stream::connect(cluster.b.address(80)).error(), Errc::kCancelled); });
      EXPECT_TRUE(sleep_for(1s).has_value());
      client.request_stop();
      client.join();
    });
    EXPECT_TRUE(sleep_for(2s).has_value());
    cluster.network.heal_all();
  });
}

TEST(SimulatedNetwork, AListenerTakesAsManyAsItsBacklogHasRoomFor) {
  SimulatedCluster cluster(5, {.link = quick_link()});
  cluster.run([&] {
    (void)cluster.b.start("listener", [] {
      auto listener = Listener::listen(Address::ipv4_any(80), {.backlog = 2});
      EXPECT_TRUE(sleep_for(500ms).has_value());
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(listener->accept().has_value());
      Fiber ender = spawn("ender", [&] { listener->shutdown(); });
      EXPECT_EQ(listener->accept().error(), Errc::kClosed);
      ender.join();
    });
    for (int i = 0; i < 3; ++i)
      (void)cluster.a.start("client", [&] { EXPECT_TRUE(Stream::connect(cluster.b.address(80)).has_value()); });
    EXPECT_TRUE(cluster.a.join().has_value());
    EXPECT_GT(now(), 1s) << "the third asked again";
  });
}

struct Arrived {
  std::vector<int> numbers;
};

// `count` datagrams from a to b, of one byte.
Arrived datagrams(std::uint64_t seed, const LinkOptions& link, int count, std::size_t mailbox_bytes = 212'992) {
  SimulatedCluster cluster(seed, {.link = link, .mailbox_bytes = mailbox_bytes});
  Arrived arrived;
  cluster.run([&] {
    (void)cluster.b.start("receiver", [&] {
      Datagrams socket = std::move(*Datagrams::bind(Address::ipv4_any(9)));
      EXPECT_EQ(*socket.local_address(), cluster.b.address(9));
      for (;;) {
        std::array<std::byte, 4> into{};
        const auto got = socket.receive_from(into, Deadline::after(10s));
        if (!got) {
          EXPECT_EQ(got.error(), Errc::kTimedOut);
          return;
        }
        EXPECT_EQ(got->size_bytes, 1U);
        EXPECT_LT(now(), 10ms) << "as soon as it is there";
        EXPECT_EQ(got->from, cluster.a.address(8));
        arrived.numbers.push_back(std::to_integer<int>(into[0]));
      }
    });
    (void)cluster.a.start("sender", [&] {
      Datagrams socket = std::move(*Datagrams::bind(Address::ipv4_any(8)));
      EXPECT_TRUE(sleep_for(1ms).has_value());
      for (int i = 0; i < count; ++i) {
        const auto number = static_cast<std::byte>(i);
        EXPECT_TRUE(socket.send_to({&number, 1}, cluster.b.address(9)).has_value());
      }
      EXPECT_EQ(socket.send_to(bytes_of("x"), *Address::parse("10.9.9.9:9")).error(), Errc::kUnreachable);
      EXPECT_TRUE(socket.send_to(bytes_of("x"), cluster.b.address(10)).has_value()) << "to nobody: as if lost";
    });
  });
  return arrived;
}

TEST(SimulatedNetwork, DatagramsAreLostDoubledAndOvertaken) {
  std::vector<int> all(200);
  std::iota(all.begin(), all.end(), 0);

  LinkOptions link{.latency_min = 1ms, .latency_max = 1ms, .slow_permille = 0};
  EXPECT_EQ(datagrams(1, link, 200).numbers, all) << "each takes as long";

  link.latency_max = 3ms;
  auto shuffled = datagrams(2, link, 200).numbers;
  EXPECT_FALSE(std::is_sorted(shuffled.begin(), shuffled.end()));
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, all);

  link.lost_permille = 300;
  const auto fewer = datagrams(3, link, 200).numbers.size();
  EXPECT_GT(fewer, 100U);
  EXPECT_LT(fewer, 180U);

  link.lost_permille = 0;
  link.doubled_permille = 300;
  const auto more = datagrams(4, link, 200).numbers.size();
  EXPECT_GT(more, 220U);
  EXPECT_LT(more, 300U);

  link.doubled_permille = 0;
  EXPECT_EQ(datagrams(5, link, 200, 50).numbers.size(), 50U) << "the mailbox is full";
}

TEST(SimulatedNetwork, WhatIsSlowIsSlow) {
  SimulatedCluster cluster(
      6, {.link = {.latency_min = 1ms, .latency_max = 1ms, .slow_permille = 0, .bytes_per_second = 1'000'000}});
  Sink sink;
  cluster.run([&] {
    (void)cluster.b.start("sink", [&] { sink.serve(); });
    (void)cluster.a.start("source", [&] {
      auto stream = Stream::connect(cluster.b.address(80));
      ASSERT_TRUE(stream.has_value());
      EXPECT_TRUE(stream->write_all(numbered(2'000'000)).has_value());
    });
    EXPECT_TRUE(cluster.b.join().has_value());
    EXPECT_GT(now(), 2s);
    EXPECT_LT(now(), 2100ms);
  });
  EXPECT_EQ(sink.bytes.size(), 2'000'000U);
}

TEST(SimulatedNetwork, AStreamOverACutLinkGoesOnWhenItIsHealed) {
  for (const bool only_answers : {false, true}) {
    SimulatedCluster cluster(7, {.link = quick_link()});
    Sink sink;
    cluster.run([&] {
      (void)cluster.b.start("sink", [&] { sink.serve(); });
      (void)cluster.a.start("source", [&] {
        auto stream = Stream::connect(cluster.b.address(80));
        ASSERT_TRUE(stream.has_value());
        EXPECT_TRUE(stream->write_all(bytes_of("before ")).has_value());
        EXPECT_TRUE(sleep_for(1s).has_value());
        if (only_answers) {
          cluster.network.cut(cluster.b, cluster.a);
        } else {
          SimulatedHost* const island[] = {&cluster.b};
          cluster.network.partition(island);
        }
        EXPECT_TRUE(stream->write_all(bytes_of("after")).has_value());
      });
      EXPECT_TRUE(sleep_for(1min).has_value());
      EXPECT_EQ(text_of(sink.bytes), only_answers ? "before after" : "before ");
      cluster.network.heal_all();
    });
    EXPECT_EQ(text_of(sink.bytes), "before after");
    EXPECT_TRUE(sink.ended.has_value());
  }
}

TEST(SimulatedNetwork, WhatIsUnderWayAtACutHasNotArrived) {
  SimulatedCluster cluster(8, {.link = {.latency_min = 1s, .latency_max = 1s, .slow_permille = 0}});
  cluster.run([&] {
    (void)cluster.b.start("receiver", [&] {
      Datagrams socket = std::move(*Datagrams::bind(Address::ipv4_any(9)));
      std::array<std::byte, 8> into{};
      EXPECT_EQ(socket.receive_from(into, Deadline::after(1min)).error(), Errc::kTimedOut);
    });
    (void)cluster.a.start("sender", [&] {
      Datagrams socket = std::move(*Datagrams::bind(Address::ipv4_any(8)));
      EXPECT_TRUE(sleep_for(1s).has_value());
      EXPECT_TRUE(socket.send_to(bytes_of("x"), cluster.b.address(9)).has_value());
      EXPECT_TRUE(sleep_for(500ms).has_value());
      cluster.network.cut(cluster.a, cluster.b);
      EXPECT_TRUE(socket.send_to(bytes_of("y"), cluster.b.address(9)).has_value());
      cluster.network.heal(cluster.a, cluster.b);
    });
  });
}

TEST(SimulatedNetwork, AStreamThatIsNeverHealedTimesOut) {
  SimulatedCluster cluster(9, {.link = quick_link(), .stream_timeout = 100s});
  Sink sink;
  cluster.run([&] {
    (void)cluster.b.start("sink", [&] { sink.serve(Deadline::after(1000s)); });
    (void)cluster.a.start("source", [&] {
      auto stream = Stream::connect(cluster.b.address(80));
      ASSERT_TRUE(stream.has_value());
      EXPECT_TRUE(sleep_for(1s).has_value());
      cluster.network.cut(cluster.a, cluster.b);
      std::byte into{};
      EXPECT_EQ(stream->read_some({&into, 1}, Deadline::after(200s)).error().os_errno(), 0)
          << "nobody waits for an answer";
      EXPECT_TRUE(stream->write_all(bytes_of("x")).has_value());
      const auto before = now();
      const auto ended = stream->read_some({&into, 1});
      EXPECT_EQ(ended.error(), Errc::kTimedOut);
      EXPECT_EQ(ended.error().os_errno(), ETIMEDOUT);
      EXPECT_EQ(now() - before, 100s);
      EXPECT_EQ(stream->write_some({&into, 1}).error(), Errc::kClosed);
      EXPECT_EQ(stream->read_some({&into, 1}).value(), 0U);
    });
  });
  EXPECT_EQ(sink.ended.error(), Errc::kTimedOut);
  EXPECT_EQ(sink.ended.error().os_errno(), 0) << "its own deadline: it had sent nothing";
}

TEST(SimulatedNetwork, AnEndThatIsClosedWithSomethingUnreadResetsTheOther) {
  SimulatedCluster cluster(10, {.link = quick_link()});
  cluster.run([&] {
    (void)cluster.b.start("rude", [&] {
      auto listener = Listener::listen(Address::ipv4_any(80));
      {
        auto unread = listener->accept();
        EXPECT_TRUE(sleep_for(1s).has_value());
      }
      auto read = listener->accept();
      std::byte into{};
      EXPECT_EQ(read->read_some({&into, 1}).value(), 1U);
    });
    SimulatedCluster::on(cluster.a, [&] {
      std::byte into{};
      auto unread = Stream::connect(cluster.b.address(80));
      EXPECT_TRUE(unread->write_all(bytes_of("x")).has_value());
      EXPECT_EQ(unread->read_some({&into, 1}).error(), Errc::kReset);
      EXPECT_EQ(unread->write_some({&into, 1}).error(), Errc::kClosed);
      // An end in order, and then a write to nobody: found out by the one after it.
      auto read = Stream::connect(cluster.b.address(80));
      EXPECT_TRUE(read->write_all(bytes_of("x")).has_value());
      EXPECT_EQ(read->read_some({&into, 1}).value(), 0U);
      EXPECT_TRUE(read->write_all(bytes_of("y")).has_value());
      EXPECT_TRUE(sleep_for(1s).has_value());
      EXPECT_EQ(read->write_all(bytes_of("z")).error(), Errc::kClosed);
    });
  });
}

std::string chatter(std::uint64_t seed) {
  Random random(seed);
  SimulatedCluster cluster(seed, {.link = LinkOptions::draw(random)});
  cluster.run([&] {
    for (SimulatedHost* host : {&cluster.a, &cluster.b, &cluster.c})
      (void)host->start("gossip", [&, host] {
        Datagrams socket = std::move(*Datagrams::bind(Address::ipv4_any(9)));
        for (int i = 0; i < 20; ++i) {
          for (SimulatedHost* to : {&cluster.a, &cluster.b, &cluster.c})
            EXPECT_TRUE(to == host || socket.send_to(bytes_of("gossip"), to->address(9)).has_value());
          std::array<std::byte, 8> into{};
          (void)socket.receive_from(into, Deadline::after(5ms));
        }
      });
    EXPECT_TRUE(sleep_for(20ms).has_value());
    cluster.network.cut(cluster.a, cluster.c);
  });
  return cluster.simulation.trace();
}

TEST(SimulatedNetwork, TheSameSeedGivesTheSameTraceWithEachEventInIt) {
  std::string other;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const std::string trace = chatter(seed);
    EXPECT_EQ(trace, chatter(seed)) << seed;
    EXPECT_NE(trace, other) << seed;
    EXPECT_NE(trace.find(" - cut a>c\n"), std::string::npos);
    EXPECT_NE(trace.find(" - datagram of 6 bytes at "), std::string::npos);
    other = trace;
  }
}

}  // namespace
}  // namespace weft::sched
