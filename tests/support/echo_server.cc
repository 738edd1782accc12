#include "tests/support/echo_server.h"

#include <cerrno>
#include <vector>

#include "sched/task_group.h"

namespace weft::test {
namespace {

using namespace std::chrono_literals;
using sched::io::Stream;

// Until the client has said its last, or is gone.
Status serve(Stream& stream, std::size_t buffer_bytes) {
  std::vector<std::byte> buffer(buffer_bytes);
  for (;;) {
    const std::size_t size = TRY(stream.read_some(buffer));
    if (size == 0) return {};
    TRY(stream.write_all(std::span(buffer).first(size)));
  }
}

bool out_of_descriptors(const Error& error) { return error == Errc::kTooManyFiles; }

}  // namespace

EchoServer::EchoServer(sched::io::Listener listener, std::size_t buffer_bytes)
    : listener_(std::move(listener)),
      buffer_bytes_(buffer_bytes),
      acceptor_(sched::spawn("echo", [this] { ended_ = accept_all(); })) {}

EchoServer::~EchoServer() {
  if (acceptor_.joinable()) (void)stop();
}

Status EchoServer::accept_all() {
  sched::TaskGroup serving;  // its end stops and joins them
  for (;;) {
    auto stream = listener_.accept();
    if (!stream && out_of_descriptors(stream.error())) {
      TRY(sched::sleep_for(10ms));
      continue;
    }
    if (!stream) return fail(std::move(stream).error());
    connections_.fetch_add(1, std::memory_order_relaxed);
    // One client's error is no reason to stop serving the others.
    serving.spawn("echo client", [this, client = std::move(*stream)]() mutable -> Status {
      (void)serve(client, buffer_bytes_);
      return {};
    });
  }
}

sched::io::Address EchoServer::address() const { return listener_.local_address().value_or(sched::io::Address()); }

Status EchoServer::stop() {
  acceptor_.request_stop();
  listener_.shutdown();
  acceptor_.join();
  if (!ended_ && (ended_.error() == Errc::kClosed || ended_.error() == Errc::kCancelled)) return {};
  return ended_;
}

}  // namespace weft::test
