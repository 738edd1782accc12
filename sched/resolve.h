// sched/resolve.h - the addresses of a host, by name: getaddrinfo() on an offload thread.
//
//   auto addresses = TRY(io::resolve("example.org", 443, Deadline::after(2s)));
//
// So names mean what they mean to every other program: /etc/hosts, DNS, and what else nsswitch.conf says. A numeric address
// costs no thread. Parks; kTimedOut and kCancelled come at once, though getaddrinfo() cannot be interrupted: its thread goes on,
// its answer is dropped, and the end of the runtime waits for it (some seconds, see resolv.conf: timeout, attempts). On a
// plain thread the call is made where it stands, and the deadline is not kept. Any fiber or thread.
// Tests: tests/sched/resolve_test.cc.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernel/result.h"
#include "sched/address.h"
#include "sched/deadline.h"

namespace weft::sched::io {

// At least one, the likeliest first (RFC 6724), of `family` or of any (kNone). kNotFound: no such host, or no address of that
// family. kAgain: the name server did not answer. kInvalid: not a name. kUnsupported in a Simulation, but for numbers.
Result<std::vector<Address>> resolve(std::string_view host, std::uint16_t port, Deadline deadline = Deadline::never(),
                                     AddressFamily family = AddressFamily::kNone);

}  // namespace weft::sched::io
