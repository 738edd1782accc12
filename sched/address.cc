#include "sched/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace weft::sched::io {
namespace {

constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;
static_assert(sizeof(sockaddr_un) <= Address::kCapacity && sizeof(sockaddr_in6) <= Address::kCapacity);

template <typename Raw>
Address from(const Raw& raw) noexcept {
  return Address::from_raw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
}

template <typename Raw>
Raw as(const Address& address) noexcept {
  Raw raw{};
  std::memcpy(&raw, address.raw(), std::min<std::size_t>(sizeof raw, address.raw_length()));
  return raw;
}

Address ipv4(in_addr host, std::uint16_t port) noexcept {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_port = htons(port);
  raw.sin_addr = host;
  return from(raw);
}

Address ipv6(const in6_addr& host, std::uint16_t port, std::uint32_t scope = 0) noexcept {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_port = htons(port);
  raw.sin6_addr = host;
  raw.sin6_scope_id = scope;
  return from(raw);
}

template <typename Number>
bool parse_number(std::string_view text, Number& into) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

Result<std::uint32_t> parse_scope(std::string_view scope) {
  std::uint32_t index = 0;
  if (parse_number(scope, index) && index != 0) return index;
  index = if_nametoindex(std::string(scope).c_str());
  if (index == 0) return fail(Errc::kInvalid, quoted(scope) + " is no network interface here");
  return index;
}

Address unix_raw(std::string_view path, bool abstract) noexcept {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  std::memcpy(raw.sun_path + (abstract ? 1 : 0), path.data(), path.size());
  // An abstract name begins with a zero and ends with the length; a path has a zero at its end.
  return Address::from_raw(reinterpret_cast<const sockaddr*>(&raw), kPathOffset + path.size() + 1);
}

std::string printable_name(std::string_view name) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : name) {
    if (byte >= 0x20 && byte < 0x7F && byte != '\\') {
      text += byte;
    } else {
      const auto value = static_cast<unsigned char>(byte);
      text += {'\\', 'x', kDigits[value >> 4], kDigits[value & 15]};
    }
  }
  return text;
}

}  // namespace

Address Address::from_raw(const sockaddr* raw, std::size_t length_bytes) noexcept {
  Address made;
  made.length_ = static_cast<std::uint32_t>(std::min(length_bytes, kCapacity));
  std::memcpy(made.bytes_, raw, made.length_);
  return made;
}

Address Address::ipv4_loopback(std::uint16_t port) noexcept { return ipv4({htonl(INADDR_LOOPBACK)}, port); }
Address Address::ipv4_any(std::uint16_t port) noexcept { return ipv4({htonl(INADDR_ANY)}, port); }
Address Address::ipv6_loopback(std::uint16_t port) noexcept { return ipv6(IN6ADDR_LOOPBACK_INIT, port); }
Address Address::ipv6_any(std::uint16_t port) noexcept { return ipv6(IN6ADDR_ANY_INIT, port); }

Result<Address> Address::ip(std::string_view host, std::uint16_t port) {
  const std::size_t percent = host.find('%');
  const std::string plain(host.substr(0, percent));
  in_addr four{};
  if (percent == std::string_view::npos && inet_pton(AF_INET, plain.c_str(), &four) == 1) return ipv4(four, port);
  in6_addr six{};
  if (inet_pton(AF_INET6, plain.c_str(), &six) != 1)
    return fail(Errc::kInvalid, quoted(host) + " is neither an IPv4 nor an IPv6 address");
  std::uint32_t scope = 0;
  if (percent != std::string_view::npos) scope = TRY(parse_scope(host.substr(percent + 1)));
  return ipv6(six, port, scope);
}

Result<Address> Address::unix_path(std::string_view path) {
  if (path.empty() || path.find('\0') != std::string_view::npos)
    return fail(Errc::kInvalid, "the path of a Unix socket is empty or has a zero byte in it");
  if (path.size() > kLongestPath)
    return fail(Errc::kNameTooLong, "the path of a Unix socket has at most 107 bytes: " + quoted(path));
  return unix_raw(path, false);
}

Result<Address> Address::unix_abstract(std::string_view name) {
  if (name.size() > kLongestPath)
    return fail(Errc::kNameTooLong, "the abstract name of a Unix socket has at most 107 bytes: " + quoted(name));
  return unix_raw(name, true);
}

Result<Address> Address::parse(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    const std::string_view path = text.substr(kUnix.size());
    return path.starts_with('@') ? unix_abstract(path.substr(1)) : unix_path(path);
  }
  const std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon == std::string_view::npos || !parse_number(text.substr(colon + 1), port))
    return fail(Errc::kInvalid, quoted(text) + " does not end in a colon and a port of 0 to 65535");
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed != (host.find(':') != std::string_view::npos))
    return fail(Errc::kInvalid, quoted(text) + ": an IPv6 address, and no other, stands in brackets");
  return ip(host, port);
}

AddressFamily Address::family() const noexcept {
  if (length_ < sizeof(sa_family_t)) return AddressFamily::kNone;
  switch (as<sockaddr>(*this).sa_family) {
    case AF_INET: return AddressFamily::kIpv4;
    case AF_INET6: return AddressFamily::kIpv6;
    case AF_UNIX: return AddressFamily::kUnix;
    default: return AddressFamily::kNone;
  }
}

std::uint16_t Address::port() const noexcept {
  switch (family()) {
    case AddressFamily::kIpv4: return ntohs(as<sockaddr_in>(*this).sin_port);
    case AddressFamily::kIpv6: return ntohs(as<sockaddr_in6>(*this).sin6_port);
    default: return 0;
  }
}

Address Address::with_port(std::uint16_t port) const noexcept {
  if (family() == AddressFamily::kIpv4) return ipv4(as<sockaddr_in>(*this).sin_addr, port);
  if (family() != AddressFamily::kIpv6) return *this;
  const auto raw = as<sockaddr_in6>(*this);
  return ipv6(raw.sin6_addr, port, raw.sin6_scope_id);
}

std::string Address::to_text() const {
  char host[INET6_ADDRSTRLEN] = {};
  switch (family()) {
    case AddressFamily::kNone: return "(none)";
    case AddressFamily::kIpv4: {
      const auto raw = as<sockaddr_in>(*this);
      inet_ntop(AF_INET, &raw.sin_addr, host, sizeof host);
      return std::string(host) + ":" + std::to_string(port());
    }
    case AddressFamily::kIpv6: {
      const auto raw = as<sockaddr_in6>(*this);
      inet_ntop(AF_INET6, &raw.sin6_addr, host, sizeof host);
      std::string text = "[" + std::string(host);
      if (raw.sin6_scope_id != 0) {
        char name[IF_NAMESIZE] = {};
        text += "%";
        text += if_indextoname(raw.sin6_scope_id, name) != nullptr ? name : std::to_string(raw.sin6_scope_id);
      }
      return text + "]:" + std::to_string(port());
    }
    case AddressFamily::kUnix: break;
  }
  if (length_ <= kPathOffset) return "(unnamed)";
  const auto* path = reinterpret_cast<const char*>(bytes_) + kPathOffset;
  const std::size_t size = length_ - kPathOffset;
  if (path[0] == '\0') return "unix:@" + printable_name({path + 1, size - 1});
  return "unix:" + std::string(path, strnlen(path, size));
}

bool Address::operator==(const Address& other) const noexcept {
  const AddressFamily kind = family();
  if (kind != other.family()) return false;
  switch (kind) {
    case AddressFamily::kIpv4: {
      const auto a = as<sockaddr_in>(*this);
      const auto b = as<sockaddr_in>(other);
      return a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr;
    }
    case AddressFamily::kIpv6: {
      const auto a = as<sockaddr_in6>(*this);
      const auto b = as<sockaddr_in6>(other);
      return a.sin6_port == b.sin6_port && a.sin6_scope_id == b.sin6_scope_id &&
             std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0;
    }
    default: return length_ == other.length_ && std::memcmp(bytes_, other.bytes_, length_) == 0;
  }
}

}  // namespace weft::sched::io
