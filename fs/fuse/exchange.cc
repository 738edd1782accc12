#include "fs/fuse/exchange.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <vector>

#include "sched/offload.h"

namespace weft::fs::fuse {

Result<Exchange> Exchange::open(std::span<const std::byte> message, ReplySink& sink) {
  fuse_in_header header;
  if (message.size() < sizeof header) return fail(Errc::kInvalid, "request shorter than its header");
  std::memcpy(&header, message.data(), sizeof header);
  const std::size_t extension_bytes = std::size_t{header.total_extlen} * 8;
  if (header.len != message.size() || sizeof header + extension_bytes > message.size()) {
    return fail(Errc::kInvalid, "request's length does not fit its header");
  }
  return Exchange(header, message.subspan(sizeof header, message.size() - sizeof header - extension_bytes), sink);
}

std::unexpected<Error> Exchange::fail_short() { return fail(Errc::kInvalid, "request shorter than its arguments"); }

Result<std::string_view> Exchange::take_string() {
  const void* zero = rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
  if (zero == nullptr) return fail_short();
  const auto length = static_cast<std::size_t>(static_cast<const std::byte*>(zero) - rest_.data());
  const std::string_view text(reinterpret_cast<const char*>(rest_.data()), length);
  rest_ = rest_.subspan(length + 1);
  return text;
}

Result<std::string_view> Exchange::take_name() {
  const std::string_view name = TRY(take_string());
  if (name.size() > 255) return fail(Errc::kNameTooLong);
  if (name.empty() || name.find('/') != std::string_view::npos) return fail(Errc::kInvalid);
  return name;
}

Result<std::span<const std::byte>> Exchange::take_bytes(std::size_t count) {
  if (rest_.size() < count) return fail_short();
  const auto bytes = rest_.first(count);
  rest_ = rest_.subspan(count);
  return bytes;
}

bool Exchange::send(std::span<const std::byte> body) {
  WEFT_CHECK(!answered_);
  answered_ = true;
  fuse_out_header out{static_cast<std::uint32_t>(sizeof(fuse_out_header) + body.size()), 0, header_.unique};
  const iovec parts[2] = {{&out, sizeof out}, {const_cast<std::byte*>(body.data()), body.size()}};
  return sink_->send(std::span(parts, body.empty() ? 1 : 2));
}

namespace {

void invalidate(ReplySink& kernel, InodeNo inode, std::int64_t offset) {
  // Length 0: to the end. A negative offset: no pages.
  fuse_notify_inval_inode_out what{inode.value(), offset, 0};
  fuse_out_header out{sizeof out + sizeof what, FUSE_NOTIFY_INVAL_INODE, 0};
  const iovec parts[2] = {{&out, sizeof out}, {&what, sizeof what}};
  kernel.send(parts);
}

}  // namespace

void forget_attributes(ReplySink& kernel, InodeNo inode) { invalidate(kernel, inode, -1); }

bool ask_for_unanswered(ReplySink& kernel) {
  fuse_out_header out{sizeof out, kNotifyResend, 0};
  const iovec part{&out, sizeof out};
  return kernel.send(std::span(&part, 1));
}

bool prune(ReplySink& kernel, std::span<const InodeNo> inodes) {
  std::vector<std::uint64_t> numbers;
  numbers.reserve(inodes.size());
  for (const InodeNo inode : inodes) numbers.push_back(inode.value());
  const std::size_t bytes = numbers.size() * sizeof(std::uint64_t);
  NotifyPruneOut what{static_cast<std::uint32_t>(numbers.size()), 0, 0};
  fuse_out_header out{static_cast<std::uint32_t>(sizeof out + sizeof what + bytes), kNotifyPrune, 0};
  const iovec parts[3] = {{&out, sizeof out}, {&what, sizeof what}, {numbers.data(), bytes}};
  return kernel.send(parts);
}

void Exchange::flush_pages(InodeNo inode) {
  sched::blocking([&] { invalidate(*sink_, inode, 0); });
}

bool Exchange::fail_with(int positive_errno) {
  WEFT_CHECK(!answered_ && positive_errno > 0);
  answered_ = true;
  fuse_out_header out{sizeof(fuse_out_header), -positive_errno, header_.unique};
  const iovec part{&out, sizeof out};
  return sink_->send(std::span(&part, 1));
}

namespace {

// The text after `field` in /proc/PID/status, up to the end of its line; empty where there is none.
std::string process_status(std::uint32_t pid, std::string_view field) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%u/status", pid);
  const int fd = pid == 0 ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string text(64 << 10, '\0');  // a thousand groups and more
  const ssize_t length = ::read(fd, text.data(), text.size());
  ::close(fd);
  text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  const std::size_t at = text.find(std::string("\n") + std::string(field));
  if (at == std::string::npos) return {};
  const std::size_t start = at + 1 + field.size();
  return text.substr(start, text.find('\n', start) - start);
}

}  // namespace

bool process_has_group(std::uint32_t pid, std::uint32_t gid) {
  const std::string groups = process_status(pid, "Groups:");
  const char* at = groups.data();
  const char* end = at + groups.size();
  while (at < end) {
    if (*at == ' ' || *at == '\t') {
      ++at;
      continue;
    }
    std::uint32_t group = 0;
    const auto [next, error] = std::from_chars(at, end, group);
    if (error != std::errc()) return false;
    if (group == gid) return true;
    at = next;
  }
  return false;
}

bool process_has_capability(std::uint32_t pid, unsigned capability) {
  const std::string set = process_status(pid, "CapEff:");
  const std::size_t digits = set.find_first_not_of(" \t");
  if (digits == std::string::npos) return false;
  std::uint64_t bits = 0;
  const auto [next, error] = std::from_chars(set.data() + digits, set.data() + set.size(), bits, 16);
  return error == std::errc() && (bits >> capability & 1) != 0;
}

RequestCaller::RequestCaller(const fuse_in_header& header, std::uint32_t creation_umask) {
  uid = header.uid;
  gid = header.gid;
  pid = header.pid;
  umask = creation_umask;
  in_group = [](const Caller& caller, std::uint32_t group) {
    return caller.gid == group || process_has_group(caller.pid, group);
  };
}

}  // namespace weft::fs::fuse
