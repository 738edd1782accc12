#include "tools/capabilities.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace weft::tools {

namespace {

std::uint32_t low(CapabilitySet set) { return static_cast<std::uint32_t>(set); }
std::uint32_t high(CapabilitySet set) { return static_cast<std::uint32_t>(set >> 32); }

}  // namespace

CapabilitySet capabilities() noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return 0;
  return data[0].effective | CapabilitySet{data[1].effective} << 32;
}

int set_capabilities(const Capabilities& wanted) noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct data[2] = {{low(wanted.effective), low(wanted.permitted), 0},
                                          {high(wanted.effective), high(wanted.permitted), 0}};
  return ::syscall(SYS_capset, &header, data) == 0 ? 0 : errno;
}

}  // namespace weft::tools
