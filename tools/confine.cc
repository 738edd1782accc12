#include "tools/confine.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <optional>
#include <string_view>
#include <vector>

#include "tools/capabilities.h"
#include "tools/every_thread.h"
#include "tools/landlock.h"
#include "tools/system_call_filter.h"

namespace weft::tools {

namespace {

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

// Whether this process can put a file there by a capability alone.
bool needs_override(const std::string& folder) {
  const CapabilitySet had = capabilities();
  if ((had & capability_bit(CAP_DAC_OVERRIDE)) == 0) return false;
  if (set_capabilities({.effective = 0, .permitted = had}) != 0) return true;
  const bool denied = ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0 && errno == EACCES;
  set_capabilities({.effective = had, .permitted = had});
  return denied;
}

void add(std::string& list, std::string_view what, std::string_view between) {
  if (!list.empty()) list += between;
  list += what;
}

}  // namespace

Result<Confinement> confine(Confine how, const std::string& written_file) {
  Confinement result;
  if (how == Confine::kOff) return result;
  ::tzset();  // the log's local time comes from a file

  std::vector<std::string> writable;
  CapabilitySet kept = 0;
  if (!written_file.empty()) {
    writable.push_back(folder_of(written_file));
    if (needs_override(writable.front())) kept = capability_bit(CAP_DAC_OVERRIDE);
  }

  auto landlock = Landlock::create({"/proc"}, writable);
  if (!landlock) add(result.missing, landlock.error().message(), "; ");
  const Status given_up = on_every_thread([&] {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    if (landlock) {
      if (const int error = landlock->restrict_this_thread(); error != 0) return error;
    }
    return set_capabilities({.effective = kept, .permitted = kept});
  });
  if (given_up) {
    result.held_by = kept == 0 ? "no capabilities" : "no capabilities but CAP_DAC_OVERRIDE";
    if (landlock) add(result.held_by, "Landlock", ", ");
  } else {
    add(result.missing, "capabilities: " + given_up.error().message(), "; ");
  }

  if (const Status filtered = install_system_call_filter(!written_file.empty())) {
    add(result.held_by, "seccomp", ", ");
  } else {
    add(result.missing, filtered.error().message(), "; ");
  }
  if (how == Confine::kOn && !result.missing.empty()) {
    return fail(Errc::kUnsupported, "the server cannot be confined as confine=on asks: " + result.missing);
  }
  return result;
}

}  // namespace weft::tools
