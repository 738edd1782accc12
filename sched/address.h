// sched/address.h - where a socket is: IPv4, IPv6 or Unix, as a value that is read from text and written to it.
//
//   127.0.0.1:80    [::1]:80    [fe80::1%eth0]:80    unix:/run/weft.sock    unix:@abstract    (unnamed)
//
// parse() takes numbers only and never waits; names are resolve.h's. Does not park. Tests: tests/sched/address_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel/result.h"

struct sockaddr;

namespace weft::sched::io {

enum class AddressFamily : std::uint8_t { kNone, kIpv4, kIpv6, kUnix };

class Address {
 public:
  // Of no family; what an unbound Unix socket has for a peer is kUnix and empty.
  Address() noexcept = default;
  // As written above. kInvalid, with what is wrong about the text.
  static Result<Address> parse(std::string_view text);
  // A numeric IPv4 or IPv6 address, without brackets. kInvalid.
  static Result<Address> ip(std::string_view host, std::uint16_t port);
  static Address ipv4_loopback(std::uint16_t port) noexcept;
  static Address ipv6_loopback(std::uint16_t port) noexcept;
  // All addresses of the machine: to listen on.
  static Address ipv4_any(std::uint16_t port) noexcept;
  static Address ipv6_any(std::uint16_t port) noexcept;
  // kNameTooLong above 107 bytes; kInvalid if empty or with a zero byte in it.
  static Result<Address> unix_path(std::string_view path);
  // A name in the kernel's own space, no file; gone with its last socket. Any bytes; kNameTooLong above 107.
  static Result<Address> unix_abstract(std::string_view name);

  [[nodiscard]] AddressFamily family() const noexcept;
  // 0 for a Unix address.
  [[nodiscard]] std::uint16_t port() const noexcept;
  [[nodiscard]] Address with_port(std::uint16_t port) const noexcept;
  // What parse() takes, except that other bytes than printable ones of an abstract name show as \xNN.
  [[nodiscard]] std::string to_text() const;
  // The same socket address: family, host, scope and port, or path.
  bool operator==(const Address& other) const noexcept;

  // --- For system calls ---

  static constexpr std::size_t kCapacity = 112;  // bytes; a sockaddr_un takes 110
  // `raw` of whatever family; cut at kCapacity.
  static Address from_raw(const sockaddr* raw, std::size_t length_bytes) noexcept;
  [[nodiscard]] const sockaddr* raw() const noexcept { return reinterpret_cast<const sockaddr*>(bytes_); }
  [[nodiscard]] std::uint32_t raw_length() const noexcept { return length_; }
  // To be written by a system call, which gives the length that it wrote.
  sockaddr* raw_room() noexcept { return reinterpret_cast<sockaddr*>(bytes_); }
  void set_raw_length(std::uint32_t length_bytes) noexcept {
    length_ = static_cast<std::uint32_t>(length_bytes < kCapacity ? length_bytes : kCapacity);
  }

 private:
  alignas(8) std::byte bytes_[kCapacity] = {};
  std::uint32_t length_ = 0;
};

}  // namespace weft::sched::io
