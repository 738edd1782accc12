// echo.cc - sends back what it is sent, to any number of clients; and the clients.
//
//   echo --serve ADDRESS                               until SIGINT or SIGTERM; 127.0.0.1:0 takes a free port, and says which
//   echo [--clients N] [--messages N] ADDRESS          N connections at once; checks what comes back
//
// An address is 127.0.0.1:7, [::1]:7, unix:/run/echo or unix:@echo. A fiber for each connection, written as if it had a thread
// of its own; one that is silent for a minute is closed. At a signal the server takes no more connections, stops those that
// there are, and ends when the last of them has.
#define WEFT_SHORT_TRY
#include <weft/sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sched = weft::sched;
namespace io = weft::sched::io;
using namespace std::chrono_literals;

namespace {

weft::Status answer(io::Stream& stream) {
  std::array<std::byte, 4096> bytes;
  for (;;) {
    const std::size_t got = TRY(stream.read_some(bytes, sched::Deadline::after(1min)));
    if (got == 0) return {};
    TRY(stream.write_all(std::span(bytes).first(got), sched::Deadline::after(1min)));
  }
}

weft::Status serve(const io::Address& address, sched::SignalSet& signals) {
  io::Listener listener = TRY(io::Listener::listen(address));
  std::printf("listening on %s\n", TRY(listener.local_address()).to_text().c_str());
  std::fflush(stdout);
  sched::Fiber ender = sched::spawn("ender", [&] {
    (void)signals.wait();
    listener.shutdown();
  });
  sched::TaskGroup connections;
  int served = 0;
  weft::Status ended;
  for (;;) {
    weft::Result<io::Stream> stream = listener.accept();
    if (!stream) {
      if (stream.error() != weft::Errc::kClosed) ended = weft::fail(std::move(stream).error());
      break;
    }
    ++served;
    // What becomes of one connection is no matter of the others: its error ends with it.
    connections.spawn("connection", [stream = *std::move(stream)]() mutable -> weft::Status {
      (void)answer(stream);
      return {};
    });
  }
  connections.cancel();
  TRY(connections.join());
  ender.request_stop();
  ender.join();
  std::printf("served %d connections\n", served);
  return ended;
}

weft::Status talk(const io::Address& address, int messages, std::atomic<int>& echoes) {
  const auto deadline = sched::Deadline::after(30s);
  io::Stream stream = TRY(io::Stream::connect(address, {}, deadline));
  for (int i = 0; i < messages; ++i) {
    const std::string sent = "message " + std::to_string(i);
    std::string received(sent.size(), '\0');
    TRY(stream.write_all(std::as_bytes(std::span(sent)), deadline));
    TRY(stream.read_all(std::as_writable_bytes(std::span(received)), deadline));
    if (received != sent) return weft::fail(weft::Error(weft::Errc::kIo, "came back as: " + received));
    ++echoes;
  }
  return {};
}

weft::Status talk_all(const io::Address& address, int clients, int messages) {
  std::atomic<int> echoes{0};
  sched::TaskGroup group;
  for (int i = 0; i < clients; ++i) group.spawn("client", [&] { return talk(address, messages, echoes); });
  TRY(group.join());
  std::printf("%d clients, %d echoes\n", clients, echoes.load());
  return {};
}

int usage(int status) {
  std::puts("usage: echo --serve ADDRESS\n       echo [--clients N] [--messages N] ADDRESS");
  return status;
}

}  // namespace

int main(int count, char** words) {
  bool serving = false;
  int clients = 1;
  int messages = 1;
  std::string_view where;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--help") return usage(0);
    if (word == "--serve") {
      serving = true;
    } else if (word == "--clients" && i + 1 < count) {
      clients = std::atoi(words[++i]);
    } else if (word == "--messages" && i + 1 < count) {
      messages = std::atoi(words[++i]);
    } else {
      where = word;
    }
  }
  if (where.empty()) return usage(2);
  std::optional<sched::SignalSet> signals;
  if (serving) signals.emplace({SIGINT, SIGTERM});  // before the runtime's threads, which are to leave them alone
  const weft::Result<io::Address> address = io::Address::parse(where);
  auto runtime = sched::Runtime::create({.name = "echo"});
  weft::Status ended;
  if (!address) {
    ended = weft::fail(address.error());
  } else if (!runtime) {
    ended = weft::fail(runtime.error());
  } else {
    ended =
        runtime->block_on([&] { return serving ? serve(*address, *signals) : talk_all(*address, clients, messages); });
  }
  if (!ended) std::fprintf(stderr, "echo: %s\n", ended.error().message().c_str());
  return ended ? 0 : 1;
}
