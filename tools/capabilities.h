// tools/capabilities.h - the privileges of the calling thread, by capget(2) and capset(2) themselves: libcap would be a library for two
// calls, and not for use in a signal handler.
#pragma once

#include <linux/capability.h>

#include <cstdint>

namespace weft::tools {

using CapabilitySet = std::uint64_t;  // a bit for each CAP_

constexpr CapabilitySet capability_bit(unsigned capability) noexcept { return CapabilitySet{1} << capability; }

struct Capabilities {
  CapabilitySet effective = 0;
  CapabilitySet permitted = 0;
};

// The effective ones; none where the kernel does not say.
CapabilitySet capabilities() noexcept;
// The inheritable ones go in any case, and with them the ambient ones. 0, or an errno. Safe in a signal handler.
int set_capabilities(const Capabilities& wanted) noexcept;

}  // namespace weft::tools
