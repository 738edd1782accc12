#include "sched/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "sched/listener.h"
#include "sched/spawn.h"
#include "tests/sched/io_modes.h"
#include "tests/support/echo_server.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Address;
using io::Listener;
using io::Shutdown;
using io::Stream;

using Streams = InEachMode;
INSTANTIATE_TEST_SUITE_P(Io, Streams,
                         testing::Values(IoMode::kRing, IoMode::kRestrictedRing, IoMode::kEpoll, IoMode::kThread),
                         name_of);

Address unique_abstract() {
  static std::atomic<int> count{0};
  return Address::unix_abstract("weft-test-" + std::to_string(getpid()) + "-" + std::to_string(++count)).value();
}

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 31 + (i >> 9));
  return bytes;
}

std::pair<Stream, Stream> tcp_pair(const io::SocketOptions& options = {}) {
  Listener listener = std::move(*Listener::listen(Address::ipv4_loopback(0), options));
  Stream client = std::move(*Stream::connect(*listener.local_address(), options));
  Stream server = std::move(*listener.accept());
  return {std::move(client), std::move(server)};
}

TEST_P(Streams, AnEchoComesBackOverEveryFamily) {
  const std::string path =
      "/tmp/weft-stream-test-" + std::to_string(getpid()) + "-" + std::to_string(static_cast<int>(GetParam()));
  for (const Address& at :
       {Address::ipv4_loopback(0), Address::ipv6_loopback(0), unique_abstract(), Address::unix_path(path).value()}) {
    run([&] {
      auto listener = Listener::listen(at);
      ASSERT_TRUE(listener.has_value()) << listener.error().message();
      test::EchoServer server(std::move(*listener));
      auto stream = Stream::connect(server.address());
      ASSERT_TRUE(stream.has_value()) << stream.error().message();
      EXPECT_EQ(stream->peer_address().value(), server.address());
      ASSERT_TRUE(stream->write_all(bytes_of("hello")).has_value());
      std::array<std::byte, 5> back{};
      EXPECT_EQ(stream->read_all(back).value(), 5U);
      EXPECT_EQ(text_of(back), "hello");
      EXPECT_TRUE(stream->shutdown(Shutdown::kWrite).has_value());
      EXPECT_EQ(stream->read_some(back).value(), 0U);
      EXPECT_TRUE(server.stop().has_value());
      EXPECT_EQ(server.connections(), 1U);
    });
  }
  unlink(path.c_str());
}

TEST_P(Streams, MoreThanTheBuffersHoldGoesBothWaysAtOnce) {
  const std::vector<std::byte> out = pattern(3 << 20);
  run([&] {
    test::EchoServer server(std::move(*Listener::listen(Address::ipv4_loopback(0))));
    auto stream =
        std::move(*Stream::connect(server.address(), {.send_buffer_bytes = 8192, .receive_buffer_bytes = 8192}));
    Fiber writer = spawn("writer", [&] {
      EXPECT_TRUE(stream.write_all(out).has_value());
      EXPECT_TRUE(stream.shutdown(Shutdown::kWrite).has_value());
    });
    std::vector<std::byte> in(out.size() + 1);
    EXPECT_EQ(stream.read_all(in).value(), out.size());
    in.pop_back();
    EXPECT_EQ(in, out);
    writer.join();
  });
}

TEST_P(Streams, VectorsAreGatheredAndScatteredOverPartialWrites) {
  run([&] {
    auto [one, other] = *Stream::pair();
    EXPECT_TRUE(one.set_option(SOL_SOCKET, SO_SNDBUF, 4096).has_value());
    std::vector<std::vector<std::byte>> parts;
    std::vector<iovec> vectors;
    std::vector<std::byte> all;
    for (std::size_t i = 0; i < 300; ++i) {
      parts.push_back(pattern(i * 7 % 1000));
      all.insert(all.end(), parts.back().begin(), parts.back().end());
    }
    for (auto& part : parts) vectors.push_back({part.data(), part.size()});
    Fiber writer = spawn("writer", [&, stream = &one] {
      EXPECT_TRUE(stream->write_all(vectors).has_value());
      EXPECT_TRUE(stream->shutdown(Shutdown::kBoth).has_value());
    });
    std::vector<std::byte> in;
    for (;;) {
      std::array<std::byte, 100> head{};
      std::array<std::byte, 1000> tail{};
      const std::array<iovec, 2> into{iovec{head.data(), head.size()}, iovec{tail.data(), tail.size()}};
      const std::size_t size = other.read_some(into).value();
      if (size == 0) break;
      in.insert(in.end(), head.begin(),
                head.begin() + std::min<std::ptrdiff_t>(100, static_cast<std::ptrdiff_t>(size)));
      if (size > 100) in.insert(in.end(), tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(size - 100));
    }
    writer.join();
    EXPECT_EQ(in, all);
  });
}

TEST_P(Streams, AResetIsAnErrorAndAWriteToNobodyRaisesNoSignal) {
  run([&] {
    auto [client, server] = tcp_pair();
    EXPECT_TRUE(server.set_reset_on_close(true).has_value());
    server = Stream();
    std::byte into{};
    EXPECT_EQ(client.read_some({&into, 1}).error(), Errc::kReset);
    EXPECT_EQ(client.write_some({&into, 1}).error(), Errc::kClosed);

    auto [one, other] = *Stream::pair();
    other = Stream();
    EXPECT_EQ(one.write_all({&into, 1}).error(), Errc::kClosed);
    EXPECT_EQ(one.read_some({&into, 1}).value(), 0U);
  });
}

TEST_P(Streams, ConnectingToNobodyIsRefused) {
  run([&] {
    Address gone;
    {
      auto listener = Listener::listen(Address::ipv4_loopback(0));
      gone = *listener->local_address();
    }
    auto refused = Stream::connect(gone);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error(), Errc::kRefused);
    EXPECT_EQ(refused.error().os_errno(), ECONNREFUSED);
    EXPECT_NE(refused.error().message().find(gone.to_text()), std::string::npos) << refused.error().message();
    EXPECT_EQ(Stream::connect(unique_abstract()).error(), Errc::kRefused);
    EXPECT_EQ(Stream::connect(Address()).error(), Errc::kInvalid);
  });
}

TEST_P(Streams, AnAddressThatIsTakenOrSomebodyElsesIsToldApart) {
  run([&] {
    auto listener = Listener::listen(Address::ipv4_loopback(0));
    EXPECT_EQ(Listener::listen(*listener->local_address()).error(), Errc::kAddressInUse);
    // Of the range for documentation (RFC 5737): no machine has it.
    EXPECT_EQ(Listener::listen(*Address::parse("192.0.2.1:80")).error(), Errc::kNoSuchAddress);
  });
}

TEST_P(Streams, ADeadlineEndsEachCallAndTheStreamGoesOn) {
  run([&] {
    auto [client, server] = tcp_pair({.send_buffer_bytes = 4096, .receive_buffer_bytes = 4096});
    std::vector<std::byte> much(100'000);
    EXPECT_EQ(client.read_some(much, Deadline::after(2ms)).error(), Errc::kTimedOut);
    // Fills all buffers there are.
    std::size_t sent = 0;
    for (;;) {
      auto size = client.write_some(much, Deadline::after(2ms));
      if (!size) {
        EXPECT_EQ(size.error(), Errc::kTimedOut);
        break;
      }
      sent += *size;
    }
    EXPECT_EQ(client.write_all(much, Deadline::after(1ms)).error(), Errc::kTimedOut);
    Fiber reader = spawn("reader", [&, stream = &server] {
      std::vector<std::byte> in(sent);
      EXPECT_EQ(stream->read_all(in, Deadline::after(20s)).value(), sent);
      EXPECT_TRUE(stream->write_all(bytes_of("x")).has_value());
    });
    EXPECT_EQ(client.read_some(much, Deadline::after(20s)).value(), 1U);
    reader.join();
    Listener listener = std::move(*Listener::listen(Address::ipv4_loopback(0)));
    EXPECT_EQ(listener.accept(Deadline::after(1ms)).error(), Errc::kTimedOut);
    EXPECT_TRUE(Stream::connect(*listener.local_address()).has_value());
    EXPECT_TRUE(listener.accept().has_value());
  });
}

TEST_P(Streams, AConnectThatGetsNoAnswerTimesOut) {
  run([&] {
    // Once the queue is full, what tries to connect is not answered.
    Listener listener = std::move(*Listener::listen(Address::ipv4_loopback(0), {.backlog = 0}));
    std::vector<Stream> streams;
    for (int i = 0; i < 16; ++i) {
      auto stream = Stream::connect(*listener.local_address(), {}, Deadline::after(50ms));
      if (!stream) {
        EXPECT_EQ(stream.error(), Errc::kTimedOut);
        return;
      }
      streams.push_back(std::move(*stream));
    }
    FAIL() << "all were taken";
  });
}

TEST_P(Streams, AUnixListenerWhoseQueueIsFullMakesOthersWait) {
  run([&] {
    Listener listener = std::move(*Listener::listen(unique_abstract(), {.backlog = 0}));
    std::vector<Stream> streams;
    bool timed_out = false;
    for (int i = 0; i < 4 && !timed_out; ++i) {
      auto stream = Stream::connect(*listener.local_address(), {}, Deadline::after(20ms));
      if (stream)
        streams.push_back(std::move(*stream));
      else
        timed_out = stream.error() == Errc::kTimedOut;
    }
    EXPECT_TRUE(timed_out);
    Fiber connecting = spawn("connecting", [&] {
      auto late = Stream::connect(*listener.local_address(), {}, Deadline::after(20s));
      EXPECT_TRUE(late.has_value()) << late.error().message();
    });
    for (std::size_t i = 0; i <= streams.size(); ++i) EXPECT_TRUE(listener.accept(Deadline::after(20s)).has_value());
    connecting.join();
  });
}

TEST_P(Streams, AStopRequestEndsEachCall) {
  if (!on_fibers()) GTEST_SKIP() << "a plain thread cannot be asked";
  run([&] {
    auto [client, server] = tcp_pair({.send_buffer_bytes = 4096, .receive_buffer_bytes = 4096});
    Listener listener = std::move(*Listener::listen(Address::ipv4_loopback(0)));
    Listener full = std::move(*Listener::listen(Address::ipv4_loopback(0), {.backlog = 0}));
    std::vector<std::byte> much(100'000);
    std::vector<std::byte> room(100);
    std::vector<std::function<Errc()>> calls;
    calls.emplace_back([&] { return client.read_some(room).error().code(); });
    calls.emplace_back([&] {
      for (;;)
        if (auto sent = client.write_all(much); !sent) return sent.error().code();
    });
    calls.emplace_back([&] { return listener.accept().error().code(); });
    calls.emplace_back([&] {
      std::vector<Stream> streams;
      for (;;) {
        auto stream = Stream::connect(*full.local_address());
        if (!stream) return stream.error().code();
        streams.push_back(std::move(*stream));
      }
    });
    for (std::size_t i = 0; i < calls.size(); ++i) {
      for (const auto delay : {0us, 200us, 5000us}) {
        Errc code{};
        Fiber caller = spawn("caller", [&] { code = calls[i](); });
        (void)sleep_for(delay);
        caller.request_stop();
        caller.join();
        EXPECT_EQ(code, Errc::kCancelled) << "call " << i;
      }
    }
  });
}

TEST_P(Streams, AShutdownFromOutsideEndsCallsThatWait) {
  run([&] {
    auto [client, server] = tcp_pair();
    Listener listener = std::move(*Listener::listen(Address::ipv4_loopback(0)));
    Listener local = std::move(*Listener::listen(unique_abstract()));
    Fiber reader = spawn("reader", [&, stream = &client] {
      std::byte into{};
      EXPECT_EQ(stream->read_some({&into, 1}).value(), 0U);
    });
    Fiber acceptor = spawn("acceptor", [&] { EXPECT_EQ(listener.accept().error(), Errc::kClosed); });
    Fiber other_acceptor = spawn("acceptor", [&] { EXPECT_EQ(local.accept().error(), Errc::kClosed); });
    (void)sleep_for(5ms);
    EXPECT_TRUE(client.shutdown(Shutdown::kBoth).has_value());
    listener.shutdown();
    local.shutdown();
    reader.join();
    acceptor.join();
    other_acceptor.join();
    EXPECT_EQ(listener.accept().error(), Errc::kClosed);
  });
}

TEST_P(Streams, TimeoutsRaceWithDataAndLoseNothing) {
  run([&] {
    auto [one, other] = *Stream::pair();
    constexpr std::size_t kBytes = 300;
    Fiber writer = spawn("writer", [&, stream = &one] {
      for (std::size_t i = 0; i < kBytes; ++i) {
        const std::byte value{static_cast<unsigned char>(i)};
        (void)sleep_for(std::chrono::microseconds(i % 60));
        ASSERT_TRUE(stream->write_all({&value, 1}).has_value());
      }
    });
    for (std::size_t got = 0; got < kBytes;) {
      std::array<std::byte, 3> into{};
      auto size = other.read_some(into, Deadline::after(30us));
      if (!size) {
        ASSERT_EQ(size.error(), Errc::kTimedOut);
        continue;
      }
      for (std::size_t i = 0; i < *size; ++i) ASSERT_EQ(into[i], std::byte{static_cast<unsigned char>(got + i)});
      got += *size;
    }
    writer.join();
  });
}

TEST_P(Streams, APacketConnectionKeepsMessagesApart) {
  run([&] {
    Listener listener = std::move(*Listener::listen(unique_abstract(), {.kind = io::SocketKind::kPacket}));
    auto client = std::move(*Stream::connect(*listener.local_address(), {.kind = io::SocketKind::kPacket}));
    auto server = std::move(*listener.accept());
    ASSERT_TRUE(client.write_all(bytes_of("first")).has_value());
    ASSERT_TRUE(client.write_all(bytes_of("second, longer")).has_value());
    ASSERT_TRUE(client.write_all(bytes_of("third")).has_value());
    std::array<std::byte, 6> into{};
    EXPECT_EQ(text_of(std::span(into).first(server.read_some(into).value())), "first");
    EXPECT_EQ(text_of(std::span(into).first(server.read_some(into).value())), "second");
    EXPECT_EQ(text_of(std::span(into).first(server.read_some(into).value())), "third");
    EXPECT_EQ(Listener::listen(Address::ipv4_loopback(0), {.kind = io::SocketKind::kPacket}).error(), Errc::kInvalid);
  });
}

TEST_P(Streams, AThousandConnectionsAreServedAndNoDescriptorIsLeft) {
  constexpr std::size_t kCount = 1000;
  const std::size_t connections = on_fibers() ? kCount : 50;
  const std::size_t before = open_descriptors();
  run([&] {
    test::EchoServer server(std::move(*Listener::listen(Address::ipv4_loopback(0))), 64);
    std::vector<Stream> streams;
    for (std::size_t i = 0; i < connections; ++i) {
      auto stream = Stream::connect(server.address(), {}, Deadline::after(60s));
      ASSERT_TRUE(stream.has_value()) << stream.error().message();
      streams.push_back(std::move(*stream));
    }
    std::vector<Fiber> clients;
    std::atomic<std::size_t> right{0};
    for (Stream& stream : streams) {
      clients.push_back(spawn("client", [&] {
        for (int round = 0; round < 3; ++round) {
          const std::string text = std::to_string(stream.fd()) + "/" + std::to_string(round);
          std::array<std::byte, 64> back{};
          if (!stream.write_all(bytes_of(text))) return;
          auto size = stream.read_all(std::span(back).first(text.size()), Deadline::after(60s));
          if (!size || text_of(std::span(back).first(*size)) != text) return;
        }
        ++right;
      }));
    }
    for (Fiber& client : clients) client.join();
    EXPECT_EQ(right, connections);
    EXPECT_EQ(server.connections(), connections);
    streams.clear();
    EXPECT_TRUE(server.stop().has_value());
  });
  EXPECT_EQ(open_descriptors(), before);
}

TEST_P(Streams, AReaderThatAlwaysFindsDataLetsOthersRun) {
  if (!on_fibers()) GTEST_SKIP() << "about fibers that share a worker";
  auto runtime = Runtime::create({.workers = 1, .use_io_uring = GetParam() != IoMode::kEpoll});
  runtime->block_on([&] {
    auto [one, other] = *Stream::pair();
    bool stop = false;
    Fiber both = spawn("busy", [&, a = &one, b = &other] {
      std::byte value{};
      while (!stop) {
        EXPECT_TRUE(a->write_all({&value, 1}).has_value());
        EXPECT_EQ(b->read_some({&value, 1}).value(), 1U);
      }
    });
    yield();
    stop = true;  // reached only if the busy one lets go
    both.join();
  });
}

}  // namespace
}  // namespace weft::sched
