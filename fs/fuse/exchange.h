// fs/fuse/exchange.h - one request of the kernel and the answer to it.
//
//   transport (bytes in) -> [exchange] -> dispatch -> handlers -> [exchange] -> transport (bytes out)
//
// Arguments are taken in the order of the message; each take_* checks the length. The request's bytes belong to the
// transport and stay until the handler returns.
//
// Invariants  X1  exactly one of reply(), fail_with(), drop() is called
// Nothing but flush_pages() parks. One fiber at a time. Tests: tests/fs/fuse/exchange_test.cc.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "fs/file_system.h"
#include "fs/fuse/protocol.h"
#include "kernel/bytes.h"
#include "kernel/check.h"
#include "kernel/result.h"

namespace weft::fs::fuse {

class ReplySink {
 public:
  // All parts as one message. False: the kernel no longer wants it (the request was aborted, or the mount is gone).
  virtual bool send(std::span<const iovec> parts) noexcept = 0;

 protected:
  ~ReplySink() = default;
};

// Tells the kernel to ask for the inode's attributes anew.
void forget_attributes(ReplySink& kernel, InodeNo inode);
// Has the kernel send again all that was read and not answered. False: it does not know how.
bool ask_for_unanswered(ReplySink& kernel);
// Asks the kernel to let go of those of the inodes that nobody uses there. It writes out their pages first, so other readers must
// be at work, and this on a thread beside the workers. False: it does not understand, or is gone.
bool prune(ReplySink& kernel, std::span<const InodeNo> inodes);

class Exchange {
 public:
  // Fails with kInvalid where the header and the message's length do not agree.
  static Result<Exchange> open(std::span<const std::byte> message, ReplySink& sink);

  [[nodiscard]] const fuse_in_header& header() const noexcept { return header_; }
  [[nodiscard]] InodeNo inode() const noexcept { return InodeNo(header_.nodeid); }
  // A server that has died since may have executed it, in whole or in part (fs/fuse/resent.h).
  [[nodiscard]] bool resent() const noexcept { return (header_.unique & kUniqueResend) != 0; }

  template <typename T>
    requires std::is_trivially_copyable_v<T>
  Result<T> take() {
    if (rest_.size() < sizeof(T)) return fail_short();
    T value;
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  // A file name: 1..255 bytes, no '/', with its terminating zero consumed. kNameTooLong, kInvalid.
  Result<std::string_view> take_name();
  // The same without the rules for names: a symlink's target, an attribute's name.
  Result<std::string_view> take_string();
  Result<std::span<const std::byte>> take_bytes(std::size_t count);

  // False: the kernel did not take it, so references that the answer carried come back to us.
  bool reply() { return send({}); }
  bool reply(std::span<const std::byte> body) { return send(body); }
  template <typename T>
    requires std::is_trivially_copyable_v<T> && (!std::is_convertible_v<T, std::span<const std::byte>>)
  bool reply(const T& body) {
    return send(as_bytes_of(body));
  }
  bool fail_with(int positive_errno);
  // Before or after the answer.
  void forget_attributes(InodeNo inode) { fuse::forget_attributes(*sink_, inode); }
  // Has the kernel write out and drop the pages it holds of the inode. It waits for the WRITE requests that follow, so other
  // readers must be at work; parks meanwhile.
  void flush_pages(InodeNo inode);
  // For requests that have no answer.
  void drop() { answered_ = true; }
  [[nodiscard]] bool answered() const noexcept { return answered_; }

 private:
  Exchange(const fuse_in_header& header, std::span<const std::byte> rest, ReplySink& sink)
      : header_(header), rest_(rest), sink_(&sink) {}
  static std::unexpected<Error> fail_short();
  bool send(std::span<const std::byte> body);

  fuse_in_header header_;
  std::span<const std::byte> rest_;
  ReplySink* sink_;
  bool answered_ = false;
};

// A Caller that can tell its groups: from the request's own extension, else from /proc.
struct RequestCaller : Caller {
  explicit RequestCaller(const fuse_in_header& header, std::uint32_t creation_umask = 0);
};

// What /proc tells of a process. False where it cannot be seen.
bool process_has_group(std::uint32_t pid, std::uint32_t gid);
bool process_has_capability(std::uint32_t pid, unsigned capability);

}  // namespace weft::fs::fuse
