// kernel/uring_request.h - what can be asked of an io_uring, as 64-byte values.
//
//   ring.prepare(uring::read(fd, buffer, length, offset).tagged(user_data));
//
// A UringRequest has the very layout of the kernel's submission entry (uring.cc asserts it), so preparing one is a copy
// of one cache line. It is plain data: keep it, queue it, send it to the thread that owns the ring. What it points at must
// live until its completion has been reaped, except where a function says otherwise.
//
// A completion's result is what the system call would have returned, or -errno. The opcodes are our own constants,
// because the liburing at hand may be older than the kernel: ask Uring::supports() about the younger ones.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

struct iovec;
struct msghdr;
struct sockaddr;
struct statx;

namespace weft {

enum class UringOp : std::uint8_t {
  kNop = 0,
  kReadv = 1,
  kWritev = 2,
  kFsync = 3,
  kReadFixed = 4,
  kWriteFixed = 5,
  kPollAdd = 6,
  kPollRemove = 7,
  kSendmsg = 9,
  kRecvmsg = 10,
  kAccept = 13,
  kAsyncCancel = 14,
  kConnect = 16,
  kFallocate = 17,
  kOpenat = 18,
  kClose = 19,
  kStatx = 21,
  kRead = 22,
  kWrite = 23,
  kSend = 26,
  kRecv = 27,
  kSplice = 30,
  kShutdown = 34,
  kRenameat = 35,      // Linux 5.11
  kUnlinkat = 36,      // 5.11
  kMsgRing = 40,       // Linux 5.18
  kSocket = 45,        // 5.19
  kUringCmd = 46,      // 5.19
  kSendZeroCopy = 47,  // 6.0
  kWaitid = 50,        // 6.7
  kFutexWait = 51,     // 6.7
  kFutexWake = 52,     // 6.7
  kReadvFixed = 60,    // 6.15
  kWritevFixed = 61,   // 6.15
};

struct UringRequest {
  UringOp opcode = UringOp::kNop;
  std::uint8_t flags = 0;      // of kFixedFile.. below
  std::uint16_t priority = 0;  // I/O priority, or flags of accept, send and receive
  std::int32_t fd = -1;
  std::uint64_t offset = 0;
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  std::uint32_t op_flags = 0;
  std::uint64_t user_data = 0;
  std::uint16_t buffer_index = 0;
  std::uint16_t personality = 0;
  std::uint32_t file_index = 0;
  std::uint64_t address3 = 0;
  std::uint64_t reserved = 0;

  static constexpr std::uint8_t kFixedFile = 1U << 0;      // fd is an index into the registered files
  static constexpr std::uint8_t kDrain = 1U << 1;          // starts when all before it have ended
  static constexpr std::uint8_t kLink = 1U << 2;           // the next one starts when this one has succeeded
  static constexpr std::uint8_t kAsync = 1U << 4;          // straight to a kernel worker thread
  static constexpr std::uint8_t kBufferSelect = 1U << 5;   //
  static constexpr std::uint8_t kSilentSuccess = 1U << 6;  // a completion only if it fails

  [[nodiscard]] UringRequest tagged(std::uint64_t tag) const noexcept {
    UringRequest request = *this;
    request.user_data = tag;
    return request;
  }
  [[nodiscard]] UringRequest with_flags(std::uint8_t more) const noexcept {
    UringRequest request = *this;
    request.flags = static_cast<std::uint8_t>(request.flags | more);
    return request;
  }
};
static_assert(sizeof(UringRequest) == 64);

struct UringCompletion {
  std::uint64_t user_data = 0;
  std::int32_t result = 0;  // >= 0, or -errno
  std::uint32_t flags = 0;

  static constexpr std::uint32_t kBuffer = 1U << 0;        // upper 16 bits of flags: the selected buffer
  static constexpr std::uint32_t kMore = 1U << 1;          // a multishot request: more completions will come
  static constexpr std::uint32_t kNotification = 1U << 3;  // second completion of a zero-copy send: buffer is free
  [[nodiscard]] bool more() const noexcept { return (flags & kMore) != 0; }
};

namespace uring {

namespace detail {
inline std::uint64_t bits(const volatile void* pointer) noexcept { return reinterpret_cast<std::uintptr_t>(pointer); }
inline UringRequest request(UringOp opcode, int fd, const volatile void* address, std::uint32_t length,
                            std::uint64_t offset) noexcept {
  UringRequest made;
  made.opcode = opcode;
  made.fd = fd;
  made.address = bits(address);
  made.length = length;
  made.offset = offset;
  return made;
}
}  // namespace detail

// An offset of kCurrentPosition uses and moves the file's own position; what pipes and sockets need.
inline constexpr std::uint64_t kCurrentPosition = ~0ULL;

inline UringRequest nop() noexcept { return {}; }

inline UringRequest read(int fd, void* into, std::uint32_t length_bytes, std::uint64_t offset_bytes) noexcept {
  return detail::request(UringOp::kRead, fd, into, length_bytes, offset_bytes);
}
inline UringRequest write(int fd, const void* from, std::uint32_t length_bytes, std::uint64_t offset_bytes) noexcept {
  return detail::request(UringOp::kWrite, fd, from, length_bytes, offset_bytes);
}
// The vector array may go away once submitted.
inline UringRequest readv(int fd, const iovec* vectors, std::uint32_t count, std::uint64_t offset_bytes) noexcept {
  return detail::request(UringOp::kReadv, fd, vectors, count, offset_bytes);
}
inline UringRequest writev(int fd, const iovec* vectors, std::uint32_t count, std::uint64_t offset_bytes) noexcept {
  return detail::request(UringOp::kWritev, fd, vectors, count, offset_bytes);
}
// `into` and `from` lie inside the registered buffer of that index.
inline UringRequest read_fixed(int fd, void* into, std::uint32_t length_bytes, std::uint64_t offset_bytes,
                               std::uint16_t buffer_index) noexcept {
  auto made = detail::request(UringOp::kReadFixed, fd, into, length_bytes, offset_bytes);
  made.buffer_index = buffer_index;
  return made;
}
inline UringRequest write_fixed(int fd, const void* from, std::uint32_t length_bytes, std::uint64_t offset_bytes,
                                std::uint16_t buffer_index) noexcept {
  auto made = detail::request(UringOp::kWriteFixed, fd, from, length_bytes, offset_bytes);
  made.buffer_index = buffer_index;
  return made;
}

inline UringRequest fsync(int fd) noexcept { return detail::request(UringOp::kFsync, fd, nullptr, 0, 0); }
inline UringRequest fdatasync(int fd) noexcept {
  auto made = fsync(fd);
  made.op_flags = 1;  // IORING_FSYNC_DATASYNC
  return made;
}
// `mode` is of FALLOC_FL_*.
inline UringRequest fallocate(int fd, int mode, std::uint64_t offset_bytes, std::uint64_t length_bytes) noexcept {
  auto made = detail::request(UringOp::kFallocate, fd, nullptr, static_cast<std::uint32_t>(mode), offset_bytes);
  made.address = length_bytes;
  return made;
}

// `events` of POLLIN, POLLOUT.. A multishot one completes at each readiness, until cancelled or a completion lacks kMore.
inline UringRequest poll_add(int fd, std::uint32_t events, bool multishot = false) noexcept {
  auto made = detail::request(UringOp::kPollAdd, fd, nullptr, multishot ? 1U : 0U, 0);
  made.op_flags = events;
  return made;
}
// Its own completion's result: 0, -ENOENT (no such request, or ended), -EALREADY (too late to stop, will end by itself).
// A cancelled request completes with -ECANCELED or -EINTR.
inline UringRequest cancel(std::uint64_t target_user_data) noexcept {
  auto made = detail::request(UringOp::kAsyncCancel, -1, nullptr, 0, 0);
  made.address = target_user_data;
  return made;
}
// Cancels all on `fd`; the result is their number.
inline UringRequest cancel_fd(int fd) noexcept {
  auto made = detail::request(UringOp::kAsyncCancel, fd, nullptr, 0, 0);
  made.op_flags = (1U << 0) | (1U << 1);  // IORING_ASYNC_CANCEL_ALL | _FD
  return made;
}

// Posts a completion {tag, result} to another ring; result >= 0. -EOVERFLOW: the other's completion queue is full.
inline UringRequest message(int target_ring_fd, std::uint64_t tag, std::uint32_t result) noexcept {
  return detail::request(UringOp::kMsgRing, target_ring_fd, nullptr, result, tag);
}

// A command to the file behind `fd`. The payload goes along through Uring::prepare_command() on a ring of 128-byte entries.
inline UringRequest command(int fd, std::uint32_t command_op) noexcept {
  return detail::request(UringOp::kUringCmd, fd, nullptr, 0, command_op);
}

// `flags` of SOCK_CLOEXEC, SOCK_NONBLOCK; a multishot accept completes with one descriptor at a time.
inline UringRequest accept(int fd, sockaddr* address, std::uint32_t* address_length, int flags,
                           bool multishot = false) noexcept {
  auto made = detail::request(UringOp::kAccept, fd, address, 0, detail::bits(address_length));
  made.op_flags = static_cast<std::uint32_t>(flags);
  made.priority = multishot ? 1 : 0;
  return made;
}
inline UringRequest connect(int fd, const sockaddr* address, std::uint32_t address_length) noexcept {
  return detail::request(UringOp::kConnect, fd, address, 0, address_length);
}
inline UringRequest socket(int domain, int type, int protocol) noexcept {
  return detail::request(UringOp::kSocket, domain, nullptr, static_cast<std::uint32_t>(protocol),
                         static_cast<std::uint32_t>(type));
}
// `flags` of MSG_*.
inline UringRequest send(int fd, const void* from, std::uint32_t length_bytes, int flags) noexcept {
  auto made = detail::request(UringOp::kSend, fd, from, length_bytes, 0);
  made.op_flags = static_cast<std::uint32_t>(flags);
  return made;
}
inline UringRequest recv(int fd, void* into, std::uint32_t length_bytes, int flags) noexcept {
  auto made = detail::request(UringOp::kRecv, fd, into, length_bytes, 0);
  made.op_flags = static_cast<std::uint32_t>(flags);
  return made;
}
inline UringRequest sendmsg(int fd, const msghdr* message, int flags) noexcept {
  auto made = detail::request(UringOp::kSendmsg, fd, message, 1, 0);
  made.op_flags = static_cast<std::uint32_t>(flags);
  return made;
}
inline UringRequest recvmsg(int fd, msghdr* message, int flags) noexcept {
  auto made = detail::request(UringOp::kRecvmsg, fd, message, 1, 0);
  made.op_flags = static_cast<std::uint32_t>(flags);
  return made;
}
// `how` of SHUT_RD, SHUT_WR, SHUT_RDWR.
inline UringRequest shutdown(int fd, int how) noexcept {
  return detail::request(UringOp::kShutdown, fd, nullptr, static_cast<std::uint32_t>(how), 0);
}

// The path may go away once submitted.
inline UringRequest openat(int directory_fd, const char* path, int flags, mode_t mode) noexcept {
  auto made = detail::request(UringOp::kOpenat, directory_fd, path, mode, 0);
  made.op_flags = static_cast<std::uint32_t>(flags);
  return made;
}
inline UringRequest close(int fd) noexcept { return detail::request(UringOp::kClose, fd, nullptr, 0, 0); }
inline UringRequest statx(int directory_fd, const char* path, int flags, std::uint32_t mask,
                          struct ::statx* into) noexcept {
  auto made = detail::request(UringOp::kStatx, directory_fd, path, mask, detail::bits(into));
  made.op_flags = static_cast<std::uint32_t>(flags);
  return made;
}
// The paths may go away once submitted. `flags` of RENAME_*, and of AT_REMOVEDIR.
inline UringRequest renameat(int from_directory_fd, const char* from, int to_directory_fd, const char* to,
                             std::uint32_t flags) noexcept {
  auto made = detail::request(UringOp::kRenameat, from_directory_fd, from, static_cast<std::uint32_t>(to_directory_fd),
                              detail::bits(to));
  made.op_flags = flags;
  return made;
}
inline UringRequest unlinkat(int directory_fd, const char* path, int flags) noexcept {
  auto made = detail::request(UringOp::kUnlinkat, directory_fd, path, 0, 0);
  made.op_flags = static_cast<std::uint32_t>(flags);
  return made;
}
// An offset of kCurrentPosition for a pipe. `flags` of SPLICE_F_*.
inline UringRequest splice(int in_fd, std::uint64_t in_offset, int out_fd, std::uint64_t out_offset,
                           std::uint32_t length_bytes, std::uint32_t flags) noexcept {
  auto made = detail::request(UringOp::kSplice, out_fd, nullptr, length_bytes, out_offset);
  made.address = in_offset;
  made.file_index = static_cast<std::uint32_t>(in_fd);
  made.op_flags = flags;
  return made;
}

}  // namespace uring
}  // namespace weft
