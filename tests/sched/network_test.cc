#include "sched/network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <vector>

#include "sched/channel.h"
#include "sched/datagrams.h"
#include "sched/io.h"
#include "sched/listener.h"
#include "sched/runtime.h"
#include "sched/simulation.h"
#include "sched/stream.h"
#include "tests/sched/io_modes.h"
#include "tests/support/echo_server.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Address;
using io::Listener;
using io::Network;
using io::Stream;

// Connections are channels, each message a write's.
struct Pipe {
  Channel<std::vector<std::byte>> messages{4};
  std::vector<std::byte> rest;
};

class ChannelEnd final : public Network::StreamEnd {
 public:
  ChannelEnd(std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out) : in_(std::move(in)), out_(std::move(out)) {}
  ~ChannelEnd() override {
    in_->messages.close();
    out_->messages.close();
  }
  Result<std::size_t> read_some(std::span<const iovec> into, Deadline deadline) override {
    if (in_->rest.empty()) {
      auto message = in_->messages.receive(deadline);
      if (!message && message.error() == Errc::kClosed) return 0;
      in_->rest = TRY(std::move(message));
    }
    const std::size_t size = std::min(in_->rest.size(), into[0].iov_len);
    std::copy_n(in_->rest.begin(), size, static_cast<std::byte*>(into[0].iov_base));
    in_->rest.erase(in_->rest.begin(), in_->rest.begin() + static_cast<std::ptrdiff_t>(size));
    return size;
  }
  Result<std::size_t> write_some(std::span<const iovec> from, Deadline deadline) override {
    const auto* first = static_cast<const std::byte*>(from[0].iov_base);
    TRY(out_->messages.send(std::vector<std::byte>(first, first + from[0].iov_len), deadline));
    return from[0].iov_len;
  }
  Status shutdown(io::Shutdown) override {
    out_->messages.close();
    return {};
  }
  [[nodiscard]] Address local_address() const override { return Address::ipv4_loopback(1); }
  [[nodiscard]] Address peer_address() const override { return Address::ipv4_loopback(2); }

 private:
  std::shared_ptr<Pipe> in_;
  std::shared_ptr<Pipe> out_;
};

using Pending = Channel<std::unique_ptr<Network::StreamEnd>>;

class ChannelListener final : public Network::ListenerEnd {
 public:
  ChannelListener(std::shared_ptr<Pending> pending, Address at) : pending_(std::move(pending)), at_(at) {}
  Result<std::unique_ptr<Network::StreamEnd>> accept(Deadline deadline) override { return pending_->receive(deadline); }
  void shutdown() noexcept override { pending_->close(); }
  [[nodiscard]] Address local_address() const override { return at_; }

 private:
  std::shared_ptr<Pending> pending_;
  Address at_;
};

class ChannelNetwork final : public Network {
 public:
  Result<std::unique_ptr<StreamEnd>> connect(const Address& to, const io::SocketOptions&, Deadline deadline) override {
    const auto found = listeners_.find(to.port());
    if (found == listeners_.end()) return fail(Errc::kNotFound);
    auto there = std::make_shared<Pipe>();
    auto back = std::make_shared<Pipe>();
    TRY(found->second->send(std::make_unique<ChannelEnd>(there, back), deadline));
    return std::make_unique<ChannelEnd>(back, there);
  }
  Result<std::unique_ptr<ListenerEnd>> listen(const Address& at, const io::SocketOptions&) override {
    auto& pending = listeners_[at.port()];
    pending = std::make_shared<Pending>(4);
    return std::make_unique<ChannelListener>(pending, at);
  }
  Result<std::unique_ptr<DatagramEnd>> bind(const Address&, const io::SocketOptions&) override {
    return fail(Errc::kUnsupported);
  }

 private:
  std::map<std::uint16_t, std::shared_ptr<Pending>> listeners_;
};

void talk() {
  auto listener = Listener::listen(Address::ipv4_loopback(80));
  ASSERT_TRUE(listener.has_value());
  test::EchoServer server(std::move(*listener));
  EXPECT_EQ(Stream::connect(Address::ipv4_loopback(81)).error(), Errc::kNotFound);
  auto stream = Stream::connect(server.address());
  ASSERT_TRUE(stream.has_value());
  EXPECT_EQ(stream->fd(), -1);
  std::array<std::byte, 5> back{};
  EXPECT_EQ(stream->read_some(back, Deadline::after(1h)).error(), Errc::kTimedOut);
  EXPECT_TRUE(stream->write_all(bytes_of("hello")).has_value());
  EXPECT_EQ(stream->read_all(back).value(), 5U);
  EXPECT_EQ(text_of(back), "hello");
  EXPECT_EQ(stream->peer_address()->port(), 2);
  EXPECT_EQ(stream->set_reset_on_close(true).error(), Errc::kUnsupported);
  EXPECT_TRUE(stream->shutdown(io::Shutdown::kWrite).has_value());
  EXPECT_TRUE(server.stop().has_value());
}

TEST(ANetwork, CarriesTheSameServerInASimulation) {
  std::string traces[2];
  for (std::string& trace : traces) {
    ChannelNetwork network;
    Simulation simulation(7);
    simulation.use_network(network);
    const auto ended = simulation.run(talk);
    EXPECT_TRUE(ended.has_value()) << ended.error().message();
    trace = simulation.trace();
  }
  EXPECT_EQ(traces[0], traces[1]);
}

TEST(ANetwork, StandsInForTheKernelsInARuntimeToo) {
  ChannelNetwork network;
  auto runtime = Runtime::create({.workers = 2, .network = &network});
  runtime->block_on([] {
    auto listener = Listener::listen(Address::ipv4_loopback(80));
    ASSERT_TRUE(listener.has_value());
    auto stream = Stream::connect(Address::ipv4_loopback(80));
    ASSERT_TRUE(stream.has_value());
    EXPECT_TRUE(listener->accept().has_value());
    EXPECT_EQ(stream->fd(), -1);
  });
}

TEST(ASimulationWithoutANetwork, RefusesSocketsAndWaitsForNothingOutside) {
  Simulation simulation(1);
  const auto ended = simulation.run([] {
    EXPECT_EQ(Listener::listen(Address::ipv4_loopback(0)).error(), Errc::kUnsupported);
    EXPECT_EQ(Stream::connect(Address::ipv4_loopback(1)).error(), Errc::kUnsupported);
    EXPECT_EQ(Stream::pair().error(), Errc::kUnsupported);
    EXPECT_EQ(io::Datagrams::bind(Address::ipv4_loopback(0)).error(), Errc::kUnsupported);
    auto pipe = std::move(*io::make_pipe());
    std::byte into{};
    EXPECT_EQ(io::read_some(pipe.read.get(), {&into, 1}).error(), Errc::kUnsupported);
    EXPECT_EQ(io::wait_readable(pipe.read.get(), Deadline::after(1ms)).error(), Errc::kUnsupported);
    EXPECT_EQ(io::write_some(pipe.write.get(), bytes_of("x")).value(), 1U);
    EXPECT_TRUE(io::wait_readable(pipe.read.get()).has_value());
    EXPECT_EQ(io::read_some(pipe.read.get(), {&into, 1}).value(), 1U);
  });
  EXPECT_TRUE(ended.has_value()) << ended.error().message();
}

}  // namespace
}  // namespace weft::sched
