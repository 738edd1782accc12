#include "sched/pass_descriptors.h"

#include <sys/socket.h>

#include <cstring>

#include "sched/io.h"

namespace weft::sched::io {
namespace {

// For the control message of one call; the fiber's stack may be small for it.
struct Control {
  std::vector<std::byte> bytes = std::vector<std::byte>(CMSG_SPACE(kMostDescriptors * sizeof(int)));
};

}  // namespace

Result<std::size_t> send_descriptors(Stream& stream, std::span<const int> descriptors, std::span<const std::byte> from,
                                     Deadline deadline) {
  if (stream.fd() < 0) return fail(Errc::kUnsupported, "descriptors pass through the kernel's sockets only");
  if (from.empty() || descriptors.size() > kMostDescriptors)
    return fail(Errc::kInvalid, "descriptors go with at least one byte, and at most 253 at once");
  iovec vector{const_cast<std::byte*>(from.data()), from.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  Control control;
  if (!descriptors.empty()) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  return static_cast<std::size_t>(
      TRY(call_until(uring::sendmsg(stream.fd(), &header, MSG_NOSIGNAL), deadline, "sendmsg", First::kSystemCall)));
}

Result<ReceivedDescriptors> receive_descriptors(Stream& stream, std::span<std::byte> into, Deadline deadline) {
  if (stream.fd() < 0) return fail(Errc::kUnsupported, "descriptors pass through the kernel's sockets only");
  iovec vector{into.data(), into.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  Control control;
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  ReceivedDescriptors received;
  received.size_bytes = static_cast<std::size_t>(
      TRY(call_until(uring::recvmsg(stream.fd(), &header, MSG_CMSG_CLOEXEC), deadline, "recvmsg")));
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      received.descriptors.emplace_back(fd);
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0)
    return fail(Errc::kOutOfRange, "not all descriptors came through: raise the limit of open files (ulimit -n)");
  return received;
}

}  // namespace weft::sched::io
