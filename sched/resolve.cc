#include "sched/resolve.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>

#include "sched/current.h"
#include "sched/offload.h"
#include "sched/worker.h"

namespace weft::sched::io {
namespace {

Error resolve_error(int code, int os_errno, const std::string& host) {
  const std::string what = "\"" + host + "\": ";
  switch (code) {
    case EAI_SYSTEM: return Error::from_errno(os_errno, "resolve \"" + host + "\"");
    case EAI_AGAIN: return {Errc::kAgain, what + "no name server has answered"};
    case EAI_MEMORY: return Errc::kNoMemory;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY: return {Errc::kNotFound, what + "no such host, or it has no such address"};
    default: return {Errc::kIo, what + gai_strerror(code)};
  }
}

Result<std::vector<Address>> ask(const std::string& host, std::uint16_t port, AddressFamily family) {
  addrinfo hints{};
  hints.ai_family = family == AddressFamily::kIpv4 ? AF_INET : family == AddressFamily::kIpv6 ? AF_INET6 : AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // each address once
  addrinfo* list = nullptr;
  const int code = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (code != 0) return fail(resolve_error(code, errno, host));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    const Address address = Address::from_raw(each->ai_addr, each->ai_addrlen).with_port(port);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  if (addresses.empty()) return fail(resolve_error(EAI_NONAME, 0, host));
  return addresses;
}

}  // namespace

Result<std::vector<Address>> resolve(std::string_view host, std::uint16_t port, Deadline deadline,
                                     AddressFamily family) {
  if (host.empty() || host.find('\0') != std::string_view::npos || family == AddressFamily::kUnix)
    return fail(Errc::kInvalid, "that is not the name of a host");
  if (auto number = Address::ip(host, port)) {
    if (family != AddressFamily::kNone && number->family() != family)
      return fail(resolve_error(EAI_ADDRFAMILY, 0, std::string(host)));
    return std::vector{*number};
  }
  if (Worker* worker = current_worker(); worker != nullptr && worker->simulated())
    return fail(Errc::kUnsupported, "a Simulation asks no name server: use numeric addresses");
  return TRY(blocking_until(deadline, [name = std::string(host), port, family] { return ask(name, port, family); }));
}

}  // namespace weft::sched::io
