#include "fs/fuse/device_transport.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>

#include "sched/io.h"

namespace weft::fs::fuse {

namespace {

constexpr std::size_t kPage = 4096;
// Where in its memory a message begins, so that what follows the arguments of a WRITE begins a page.
constexpr std::size_t kMessageOffset = kPage - kWritePrefixBytes;
constexpr std::size_t kLongestMessage = kWritePrefixBytes + kMaxTransferBytes;
constexpr std::size_t kTinyMessage = 1024;                        // fits on the stack
constexpr std::size_t kShortMessage = kWritePrefixBytes + kPage;  // fits two pages

constexpr std::uint32_t kPollExclusive = EPOLLEXCLUSIVE;

// A further descriptor of the same connection; -1 where the kernel (or a test's socket) has none.
int clone_of(int fd) {
  const int clone = ::open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (clone < 0) return -1;
  std::uint32_t source = static_cast<std::uint32_t>(fd);
  if (::ioctl(clone, FUSE_DEV_IOC_CLONE, &source) != 0) {
    ::close(clone);
    return -1;
  }
  return clone;
}

// Exclusive: a request wakes one of the readers, not all of them.
void wait_readable(int fd) {
  if (!sched::io::poll(fd, POLLIN | kPollExclusive)) sched::yield();
}

}  // namespace

DeviceTransport::Channel::~Channel() { ::close(fd_); }

bool DeviceTransport::Channel::send(std::span<const iovec> parts) noexcept {
  for (;;) {
    const ssize_t written = ::writev(fd_, parts.data(), static_cast<int>(parts.size()));
    if (written >= 0) return true;
    const int error = errno;
    if (error == EINTR) continue;
    // ENOENT: the request was aborted meanwhile. ENODEV: so was the connection. Anything else is a message that the
    // kernel does not understand, and the request would wait for ever.
    if (error != ENOENT && error != ENODEV && error != ECONNABORTED && error != EPIPE) {
      session_.log("answer refused by the kernel: " + Error::from_errno(error, "writev").message());
      fuse_out_header refused;
      std::memcpy(&refused, parts[0].iov_base, sizeof refused);
      if (refused.error == 0) {
        refused.error = -EIO;
        refused.len = sizeof refused;
        static_cast<void>(::write(fd_, &refused, sizeof refused) < 0);
      }
    }
    return false;
  }
}

Result<std::vector<int>> clone_connection(int fd, unsigned count) {
  std::vector<int> descriptors{fd};
  int error = ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0 ? 0 : errno;
  while (error == 0 && descriptors.size() < count) {
    int clone = clone_of(fd);
    if (clone < 0) clone = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (clone < 0) {
      error = errno;
    } else {
      descriptors.push_back(clone);
    }
  }
  if (error == 0) return descriptors;
  for (const int each : descriptors) ::close(each);
  return fail(Error::from_errno(error, "clone the FUSE descriptor"));
}

DeviceTransport::DeviceTransport(Session& session, std::size_t readers, std::size_t buffer_bytes)
    : session_(session),
      most_long_messages_(std::max<std::size_t>(buffer_bytes / BufferPool::kLargestBytes, 1)),
      messages_((most_long_messages_ + readers) * BufferPool::kLargestBytes) {}

Result<std::unique_ptr<DeviceTransport>> DeviceTransport::start(const std::vector<int>& descriptors, Session& session,
                                                                std::size_t buffer_bytes) {
  std::unique_ptr<DeviceTransport> transport(new DeviceTransport(session, descriptors.size(), buffer_bytes));
  for (const int fd : descriptors) transport->channels_.push_back(std::make_unique<Channel>(fd, session));
  // What is read from here on is under way here, and must not be sent again.
  if (session.continues() && !ask_for_unanswered(transport->kernel())) {
    return fail(Errc::kUnsupported, "the kernel does not send again what the server before this has not answered");
  }
  std::vector<Buffer> first_buffers;
  for (unsigned i = 0; i < transport->channels_.size(); ++i) {
    first_buffers.push_back(transport->take_long());
    if (!first_buffers.back()) return fail(Errc::kNoMemory);
  }
  for (unsigned i = 0; i < first_buffers.size(); ++i) transport->start_reader(i, std::move(first_buffers[i]));
  return transport;
}

DeviceTransport::~DeviceTransport() { wait(); }

void DeviceTransport::wait() {
  std::unique_lock lock(lock_);
  ended_.wait(lock, [this] { return fibers_.load() == 0; });
}

void DeviceTransport::start_reader(unsigned index, Buffer buffer) {
  fibers_.fetch_add(1, std::memory_order_relaxed);
  sched::spawn_pinned(index, "fuse", [this, index, buffer = std::move(buffer)]() mutable {
    read_on(index, std::move(buffer));
    end_of_fiber();
  }).detach();
}

void DeviceTransport::end_of_fiber() {
  // The last one counts itself off under the lock, so that who waits does not destroy us before we have let go.
  unsigned others = fibers_.load();
  while (others > 1) {
    if (fibers_.compare_exchange_weak(others, others - 1)) return;
  }
  const std::lock_guard guard(lock_);
  if (fibers_.fetch_sub(1) == 1) ended_.notify_all();
}

// Where another server goes on after this one, a fresh buffer is touched before the kernel has to: it does not fault pages in for a
// process that is being killed, and answers the request it was about to hand over with EIO.
Buffer DeviceTransport::take_long() {
  Buffer buffer = messages_.take(kMessageOffset + kLongestMessage);
  if (buffer && session_.options().handover != nullptr) {
    for (std::size_t at = 0; at < buffer.bytes().size(); at += kPage) buffer.bytes()[at] = std::byte{};
  }
  return buffer;
}

// Reads one message into `buffer`; its length, or 0 at the end of the connection.
std::size_t DeviceTransport::read_message(Channel& channel, const Buffer& buffer) {
  for (;;) {
    const ssize_t count = ::read(channel.fd(), buffer.bytes().data() + kMessageOffset, kLongestMessage);
    if (count >= 0) return static_cast<std::size_t>(count);
    const int error = errno;
    if (error == EAGAIN) {
      wait_readable(channel.fd());
    } else if (error != EINTR && error != ENOENT) {  // ENOENT: aborted before we came
      return 0;                                      // ENODEV: unmounted
    }
  }
}

void DeviceTransport::read_on(unsigned index, Buffer buffer) {
  Channel& channel = *channels_[index];
  // A plain thread has nobody to hand its duty to but another thread, which would cost more than it brings.
  const bool hand_on = sched::on_fiber();
  for (;;) {
    const std::size_t size = read_message(channel, buffer);
    if (size == 0) return;
    const std::span<const std::byte> message(buffer.bytes().data() + kMessageOffset, size);
    if (!hand_on) {
      session_.handle(message, channel);
    } else if (size <= kTinyMessage) {
      return handle_tiny(index, message, std::move(buffer));
    } else if (Buffer other; size <= kShortMessage && (other = session_.buffers().take(kMessageOffset + size))) {
      std::byte* const copy = other.bytes().data() + kMessageOffset;
      std::memcpy(copy, message.data(), size);
      start_reader(index, std::move(buffer));
      return session_.handle({copy, size}, channel);
    } else if (long_messages_.fetch_add(1) < most_long_messages_ && (other = take_long())) {
      start_reader(index, std::move(other));
      session_.handle(message, channel);
      long_messages_.fetch_sub(1);
      return;
    } else {
      session_.handle(message, channel);
      long_messages_.fetch_sub(1);
    }
  }
}

void DeviceTransport::handle_tiny(unsigned index, std::span<const std::byte> message, Buffer buffer) {
  alignas(8) std::byte copy[kTinyMessage];
  std::memcpy(copy, message.data(), message.size());
  start_reader(index, std::move(buffer));
  session_.handle({copy, message.size()}, *channels_[index]);
}

}  // namespace weft::fs::fuse
