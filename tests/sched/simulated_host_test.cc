#include "sched/simulated_host.h"

#include <cerrno>
#include <memory>
#include <vector>

#include "sched/file.h"
#include "sched/io.h"
#include "sched/listener.h"
#include "sched/mutex.h"
#include "sched/semaphore.h"
#include "sched/stream.h"
#include "tests/sched/simulated_cluster.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Address;
using io::Listener;
using io::Stream;

TEST(SimulatedHost, WhatAFiberSpawnsIsOnItsHost) {
  SimulatedCluster cluster(1);
  cluster.run([&] {
    EXPECT_EQ(SimulatedHost::current(), nullptr);
    SimulatedCluster::on(cluster.a, [&] {
      EXPECT_EQ(SimulatedHost::current(), &cluster.a);
      spawn("child", [&] { EXPECT_EQ(SimulatedHost::current(), &cluster.a); }).join();
      // And a host may start another's program.
      EXPECT_TRUE(cluster.b.start("other", [&] { EXPECT_EQ(SimulatedHost::current(), &cluster.b); }).has_value());
      EXPECT_TRUE(cluster.b.join().has_value());
    });
    EXPECT_TRUE(cluster.a.join(Deadline::after(0s)).has_value());
  });
}

TEST(SimulatedHost, ACrashStopsAllItsFibersAndNobodyElses) {
  for (const Crash crash : {Crash::kProcess, Crash::kPower}) {
    SimulatedCluster cluster(2);
    int stopped = 0;
    cluster.run([&] {
      (void)cluster.a.start("parent", [&] {
        Fiber child = spawn("child", [&] {
          EXPECT_EQ(sleep_for(1h).error(), Errc::kCancelled);
          ++stopped;
        });
        EXPECT_EQ(Listener::listen(Address::ipv4_any(80))->accept().error(), Errc::kCancelled);
        EXPECT_EQ(Listener::listen(Address::ipv4_any(81)).error(), Errc::kCancelled);
        ++stopped;
        child.join();
      });
      (void)cluster.b.start("neighbour", [&] { EXPECT_TRUE(sleep_for(2s).has_value()); });
      EXPECT_TRUE(sleep_for(1s).has_value());
      cluster.a.kill(crash);
      EXPECT_FALSE(cluster.a.up());
      EXPECT_EQ(cluster.a.start("too early", [] {}).error(), Errc::kClosed);
      EXPECT_TRUE(cluster.a.restart().has_value());
      EXPECT_EQ(stopped, 2);
      EXPECT_LT(now(), 1500ms);
      SimulatedCluster::on(cluster.a, [] { EXPECT_TRUE(Listener::listen(Address::ipv4_any(80)).has_value()); });
    });
  }
}

TEST(SimulatedHost, MayStopItself) {
  SimulatedCluster cluster(3);
  cluster.run([&] {
    SimulatedCluster::on(cluster.a, [&] {
      cluster.a.kill(Crash::kProcess);
      EXPECT_TRUE(stop_requested());
      EXPECT_EQ(Stream::connect(cluster.b.address(80)).error(), Errc::kCancelled);
    });
  });
}

// What the other end of a connection sees.
TEST(SimulatedHost, AProcessThatDiesResetsItsConnectionsAndIsRefusedAfterwards) {
  SimulatedCluster cluster(4, {.link = quick_link()});
  cluster.run([&] {
    (void)cluster.b.start("server", [] {
      auto listener = Listener::listen(Address::ipv4_any(80));
      auto stream = listener->accept();
      std::byte into{};
      EXPECT_EQ(stream->read_some({&into, 1}).error(), Errc::kCancelled);
    });
    (void)cluster.a.start("client", [&] {
      auto stream = Stream::connect(cluster.b.address(80));
      ASSERT_TRUE(stream.has_value());
      std::byte into{};
      EXPECT_EQ(stream->read_some({&into, 1}).error(), Errc::kReset);
      EXPECT_LT(now(), 1100ms);
      EXPECT_EQ(Stream::connect(cluster.b.address(80)).error(), Errc::kRefused);
    });
    EXPECT_TRUE(sleep_for(1s).has_value());
    cluster.b.kill(Crash::kProcess);
  });
}

TEST(SimulatedHost, OneWithoutPowerIsSilentUntilItIsBackAndThenResets) {
  SimulatedCluster cluster(5, {.link = quick_link()});
  cluster.run([&] {
    (void)cluster.b.start("server", [] {
      auto listener = Listener::listen(Address::ipv4_any(80));
      auto one = listener->accept();
      auto other = listener->accept();
      EXPECT_EQ(sleep_for(1h).error(), Errc::kCancelled);
    });
    (void)cluster.a.start("client", [&] {
      auto talks = Stream::connect(cluster.b.address(80));
      auto listens = Stream::connect(cluster.b.address(80));
      ASSERT_TRUE(talks.has_value() && listens.has_value());
      EXPECT_TRUE(sleep_for(2s).has_value());
      EXPECT_FALSE(cluster.b.up());
      std::byte into{};
      EXPECT_TRUE(talks->write_all(bytes_of("x")).has_value());
      EXPECT_EQ(talks->read_some({&into, 1}, Deadline::after(5s)).error(), Errc::kTimedOut);
      EXPECT_EQ(Stream::connect(cluster.b.address(80), {}, Deadline::after(1s)).error(), Errc::kTimedOut);
      EXPECT_EQ(talks->read_some({&into, 1}).error(), Errc::kReset);
      EXPECT_GE(now(), 1min);
      // One that has nothing to say hears of it when it does.
      EXPECT_EQ(listens->read_some({&into, 1}, Deadline::after(1min)).error(), Errc::kTimedOut);
      EXPECT_TRUE(listens->write_all(bytes_of("x")).has_value());
      EXPECT_EQ(listens->read_some({&into, 1}).error(), Errc::kReset);
    });
    EXPECT_TRUE(sleep_for(1s).has_value());
    cluster.b.kill(Crash::kPower);
    EXPECT_TRUE(sleep_for(1min).has_value());
    EXPECT_TRUE(cluster.b.restart().has_value());
  });
}

TEST(SimulatedHost, APausedOneStandsStillAndItsMachineDoesNot) {
  SimulatedCluster cluster(6, {.link = quick_link()});
  cluster.run([&] {
    std::chrono::nanoseconds wrote{};
    (void)cluster.b.start("server", [&] {
      auto listener = Listener::listen(Address::ipv4_any(80));
      auto stream = listener->accept();
      ASSERT_TRUE(stream.has_value());
      std::byte into{};
      EXPECT_EQ(stream->read_some({&into, 1}).value(), 1U);
      EXPECT_GE(now(), 10s) << "it was there long before";
      EXPECT_TRUE(io::open("/x", O_RDWR | O_CREAT, 0600).has_value());
      wrote = now();
    });
    EXPECT_TRUE(sleep_for(1s).has_value());
    cluster.b.pause();
    SimulatedCluster::on(cluster.a, [&] {
      auto stream = Stream::connect(cluster.b.address(80), {}, Deadline::after(1s));
      ASSERT_TRUE(stream.has_value()) << "the machine takes the connection";
      EXPECT_TRUE(stream->write_all(bytes_of("x")).has_value());
    });
    EXPECT_TRUE(sleep_until(Deadline(10s)).has_value());
    cluster.b.resume();
    EXPECT_TRUE(cluster.b.join().has_value());
    EXPECT_GE(wrote, 10s);
    // A crash ends a pause.
    (void)cluster.b.start("server", [&] { EXPECT_EQ(sleep_for(1h).error(), Errc::kCancelled); });
    cluster.b.pause();
    cluster.b.kill(Crash::kPower);
    EXPECT_TRUE(cluster.b.restart().has_value());
    SimulatedCluster::on(cluster.b, [] { EXPECT_TRUE(Listener::listen(Address::ipv4_any(1)).has_value()); });
  });
}

TEST(SimulatedHost, KeepsItsFilesThroughACrashAndThoseOfOthersApart) {
  SimulatedCluster cluster(7);
  cluster.run([&] {
    SimulatedCluster::on(cluster.a, [] {
      auto file = io::open("/x", O_RDWR | O_CREAT, 0600);
      ASSERT_TRUE(file.has_value());
      EXPECT_EQ(io::write(file->get(), bytes_of("x"), 0).value(), 1U);
    });
    cluster.a.kill(Crash::kProcess);
    EXPECT_TRUE(cluster.a.restart().has_value());
    SimulatedCluster::on(cluster.a, [] { EXPECT_EQ(io::stat("/x")->stx_size, 1U); });
    SimulatedCluster::on(cluster.b, [] { EXPECT_EQ(io::stat("/x").error(), Errc::kNotFound); });
    EXPECT_EQ(io::stat("/x").error(), Errc::kUnsupported) << "on no host";
  });
}

}  // namespace
}  // namespace weft::sched
