#include "tools/control_channel.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace weft::tools {

namespace {

constexpr std::size_t kLongest = 32 << 10;  // paths and a sentence

struct Header {
  ControlKind kind;
  std::uint64_t number;
};

union DescriptorSpace {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

bool server_may_say(const ControlMessage& message, bool mounted) noexcept {
  if (message.words.size() != 1) return false;
  switch (message.kind) {
    case ControlKind::kMount: return !mounted && message.descriptor >= 0;
    case ControlKind::kServing:
    case ControlKind::kError: return message.descriptor < 0;
    default: return false;
  }
}

Status send_control(int socket, const ControlMessage& message) {
  Header header{};
  header.kind = message.kind;
  header.number = message.number;
  std::string text;
  for (const std::string& word : message.words) text.append(word).push_back('\0');
  iovec parts[2] = {{&header, sizeof header}, {text.data(), text.size()}};
  msghdr out{};
  out.msg_iov = parts;
  out.msg_iovlen = 2;
  DescriptorSpace space{};
  if (message.descriptor >= 0) {
    out.msg_control = space.bytes;
    out.msg_controllen = sizeof space.bytes;
    cmsghdr* rights = CMSG_FIRSTHDR(&out);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &message.descriptor, sizeof(int));
  }
  while (::sendmsg(socket, &out, MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET) return fail(Errc::kClosed, "the other process is gone");
    return fail(Error::from_errno(errno, "sendmsg"));
  }
  return {};
}

Result<ControlMessage> receive_control(int socket) {
  Header header{};
  std::string text(kLongest, '\0');
  iovec parts[2] = {{&header, sizeof header}, {text.data(), text.size()}};
  DescriptorSpace space{};
  msghdr in{};
  in.msg_iov = parts;
  in.msg_iovlen = 2;
  in.msg_control = space.bytes;
  in.msg_controllen = sizeof space.bytes;
  ssize_t count = 0;
  while ((count = ::recvmsg(socket, &in, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {}
  if (count < 0 && errno != ECONNRESET) return fail(Error::from_errno(errno, "recvmsg"));
  if (count < static_cast<ssize_t>(sizeof header)) return fail(Errc::kClosed, "the other process is gone");
  ControlMessage message;
  message.kind = header.kind;
  message.number = header.number;
  text.resize(static_cast<std::size_t>(count) - sizeof header);
  for (std::size_t at = 0, end = 0; (end = text.find('\0', at)) != std::string::npos; at = end + 1) {
    message.words.push_back(text.substr(at, end - at));
  }
  for (cmsghdr* each = CMSG_FIRSTHDR(&in); each != nullptr; each = CMSG_NXTHDR(&in, each)) {
    if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS)
      std::memcpy(&message.descriptor, CMSG_DATA(each), sizeof(int));
  }
  return message;
}

}  // namespace weft::tools
