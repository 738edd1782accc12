#include "tools/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace weft::tools {

namespace {

// Younger than the kernel headers of Debian 12.
constexpr std::uint64_t kRefer = 1ULL << 13;     // second version
constexpr std::uint64_t kTruncate = 1ULL << 14;  // third
constexpr std::uint64_t kNetTcp = 3;             // fourth: bind and connect
constexpr std::uint64_t kIoctlDev = 1ULL << 15;  // fifth
constexpr std::uint64_t kScopeAbstract = 1;      // sixth

struct Ruleset {
  std::uint64_t files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // all of the first version
  std::uint64_t net = 0;
  std::uint64_t scoped = 0;
};

Status allow_below(int ruleset, const std::string& folder, std::uint64_t access) {
  landlock_path_beneath_attr rule{};
  rule.parent_fd = ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (rule.parent_fd < 0) return {};
  rule.allowed_access = access;
  const bool added = ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
  const int error = errno;
  ::close(rule.parent_fd);
  if (!added) return fail(Error::from_errno(error, "Landlock: a rule for " + folder));
  return {};
}

}  // namespace

Result<Landlock> Landlock::create(const std::vector<std::string>& read, const std::vector<std::string>& write) {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return fail(Errc::kUnsupported, "no Landlock (" + Error::from_errno(errno, "ask").message() + ")");
  Ruleset rules;
  std::size_t size = offsetof(Ruleset, net);
  if (version >= 2) rules.files |= kRefer;
  if (version >= 3) rules.files |= kTruncate;
  if (version >= 4) rules.net = kNetTcp, size = offsetof(Ruleset, scoped);
  if (version >= 5) rules.files |= kIoctlDev;
  if (version >= 6) rules.scoped = kScopeAbstract, size = sizeof(Ruleset);
  Landlock made(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, size, 0)));
  if (made.fd_ < 0) return fail(Error::from_errno(errno, "Landlock"));
  constexpr std::uint64_t kReading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  for (const std::string& folder : read) TRY(allow_below(made.fd_, folder, kReading));
  std::uint64_t writing = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
  if (version >= 3) writing |= kTruncate;
  for (const std::string& folder : write) TRY(allow_below(made.fd_, folder, writing));
  return made;
}

Landlock::~Landlock() {
  if (fd_ >= 0) ::close(fd_);
}

int Landlock::restrict_this_thread() const noexcept {
  return ::syscall(SYS_landlock_restrict_self, fd_, 0) == 0 ? 0 : errno;
}

}  // namespace weft::tools
