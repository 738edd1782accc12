#include "sched/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "sched/io.h"

namespace weft::sched::io {
namespace {

// Of a connection that ended while it waited, or of its network: the next one may be well (accept(2), "Error handling").
bool of_one_connection(int os_errno) noexcept {
  switch (os_errno) {
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EPERM: return true;
    default: return false;
  }
}

}  // namespace

Result<Listener> Listener::listen(const Address& at, const SocketOptions& options) {
  Listener made;
  if (Network* network = TRY(current_network())) {
    made.end_ = TRY(network->listen(at, options));
    return made;
  }
  made.descriptor_ = TRY(open_bound(at, SOCK_STREAM, options));
  const auto backlog = static_cast<int>(std::min<std::uint32_t>(options.backlog, 0x7FFFFFFF));
  if (::listen(made.fd(), backlog) != 0) return fail(Error::from_errno(errno, "listen at " + at.to_text()));
  return adopt(std::move(made.descriptor_));
}

Result<Listener> Listener::adopt(Descriptor descriptor) {
  // accept() has no flag for one call that does not wait, as send() has.
  const int flags = fcntl(descriptor.get(), F_GETFL);
  if (flags < 0 || fcntl(descriptor.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return fail(Error::from_errno(errno, "a listener"));
  return Listener(std::move(descriptor));
}

Result<Stream> Listener::accept(Deadline deadline) {
  if (end_ != nullptr) return Stream(TRY(end_->accept(deadline)));
  // A Unix listener that is shut down says EAGAIN still, but hangs up at once.
  bool hung_up = false;
  for (;;) {
    TRY(cancellation_point());
    const std::int32_t accepted = perform_blocking(uring::accept(fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (accepted >= 0) return Stream::adopt(Descriptor(accepted));
    const int os_errno = -accepted;
    if (os_errno == EAGAIN && !hung_up) {
      hung_up = (TRY(poll(fd(), POLLIN, deadline)) & POLLHUP) != 0;
    } else if (os_errno == EINVAL || hung_up) {
      return fail(Errc::kClosed);  // shut down
    } else if (os_errno != EINTR && !of_one_connection(os_errno)) {
      return fail(Error::from_errno(os_errno, "accept"));
    }
  }
}

void Listener::shutdown() noexcept {
  if (end_ != nullptr) {
    end_->shutdown();
  } else {
    ::shutdown(fd(), SHUT_RDWR);
  }
}

Result<Address> Listener::local_address() const {
  if (end_ != nullptr) return end_->local_address();
  return own_address();
}

}  // namespace weft::sched::io
