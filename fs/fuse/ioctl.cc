// fs/fuse/ioctl.cc - the ioctls of Linux file systems that reach a server: flags, project, label, trim, shutdown; and one of ours, scrub.
//
// The kernel checks ownership for flags and project; trim, scrub and shutdown ask for CAP_SYS_ADMIN, which only /proc can tell
// (requests that create nothing do not carry the caller's ids).
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "fs/format.h"
#include "fs/fuse/handlers.h"
#include "fs/fuse/scrub_ioctl.h"
#include "fs/scrub.h"

namespace weft::fs::fuse {

namespace {

constexpr std::uint32_t kShutdown =
    _IOR('X', 125, std::uint32_t);  // FS_IOC_SHUTDOWN, absent from the headers of Linux 6.1

struct FlagPair {
  std::uint32_t ours;
  std::uint32_t theirs;
};
constexpr std::array<FlagPair, 5> kExtendedFlags{{{kInodeSync, FS_XFLAG_SYNC},
                                                  {kInodeImmutable, FS_XFLAG_IMMUTABLE},
                                                  {kInodeAppendOnly, FS_XFLAG_APPEND},
                                                  {kInodeNoDump, FS_XFLAG_NODUMP},
                                                  {kInodeNoAtime, FS_XFLAG_NOATIME}}};

// The answer's bytes come after the fixed part, cut or padded with zeros to what the caller has room for.
void reply_ioctl(Exchange& exchange, std::uint32_t room, std::span<const std::byte> bytes) {
  std::array<std::byte, sizeof(fuse_ioctl_out) + 4096> out{};
  const std::size_t size = std::min<std::size_t>(room, out.size() - sizeof(fuse_ioctl_out));
  std::ranges::copy(bytes.first(std::min(bytes.size(), size)), out.begin() + sizeof(fuse_ioctl_out));
  exchange.reply(std::span<const std::byte>(out.data(), sizeof(fuse_ioctl_out) + size));
}

template <typename T>
Result<T> take_argument(Exchange& exchange, const fuse_ioctl_in& in) {
  if (in.in_size < sizeof(T)) return fail(Errc::kInvalid);
  return exchange.take<T>();
}

Status require_admin(const Exchange& exchange) {
  if (process_has_capability(exchange.header().pid, CAP_SYS_ADMIN)) return {};
  return fail(Errc::kNotPermitted);
}

// Who changes flags. A kernel that leaves the caller's ids out has also checked ownership and CAP_LINUX_IMMUTABLE itself
// (Linux 5.13 and later do; ids are left out since 6.12), so nothing more is to be asked.
RequestCaller flag_changer(const Exchange& exchange) {
  RequestCaller caller(exchange.header());
  if (caller.uid == kNoId) caller.uid = 0;
  return caller;
}

// Before the flags of an inode become `flags`.
Status prepare_flags(Session& session, Exchange& exchange, const Attributes& before, std::uint32_t flags) {
  const std::uint32_t guards = flags & ~before.flags & (kInodeImmutable | kInodeAppendOnly);
  if (guards == 0 || (before.mode & S_IFMT) != S_IFREG) return {};
  if (!session.options().check_open) {
    session.log("this mount (open=fast) does not keep immutable and append-only files from being opened: not set");
    return fail(Errc::kUnsupported);
  }
  // What was written before is still to arrive, and would be refused.
  if (session.options().writeback) exchange.flush_pages(exchange.inode());
  return {};
}

Status get_extended(Session& session, Exchange& exchange, const fuse_ioctl_in& in) {
  const Attributes attributes = TRY(session.file_system().attributes(exchange.inode()));
  fsxattr out{};
  for (const FlagPair& each : kExtendedFlags) {
    if ((attributes.flags & each.ours) != 0) out.fsx_xflags |= each.theirs;
  }
  out.fsx_projid = attributes.project;
  reply_ioctl(exchange, in.out_size, as_bytes_of(out));
  return {};
}

Status set_extended(Session& session, Exchange& exchange, const fuse_ioctl_in& in) {
  const auto wanted = TRY(take_argument<fsxattr>(exchange, in));
  FileSystem& file_system = session.file_system();
  const Attributes attributes = TRY(file_system.attributes(exchange.inode()));
  std::uint32_t flags = attributes.flags;
  std::uint32_t unknown = wanted.fsx_xflags;
  for (const FlagPair& each : kExtendedFlags) {
    flags = (wanted.fsx_xflags & each.theirs) != 0 ? flags | each.ours : flags & ~each.ours;
    unknown &= ~each.theirs;
  }
  if (unknown != 0 || wanted.fsx_extsize != 0 || wanted.fsx_cowextsize != 0) return fail(Errc::kUnsupported);
  if (flags != attributes.flags) {
    TRY(prepare_flags(session, exchange, attributes, flags));
    TRY(file_system.set_flags(flag_changer(exchange), exchange.inode(), flags));
  }
  if (wanted.fsx_projid != attributes.project) {
    TRY(file_system.set_project(exchange.inode(), wanted.fsx_projid));
  }
  reply_ioctl(exchange, in.out_size, {});
  return {};
}

Status trim(Session& session, Exchange& exchange, const fuse_ioctl_in& in) {
  auto range = TRY(take_argument<fstrim_range>(exchange, in));
  TRY(require_admin(exchange));
  range.len = TRY(session.file_system().trim(range.start, range.len, range.minlen));
  reply_ioctl(exchange, in.out_size, as_bytes_of(range));
  return {};
}

Status scrub(Session& session, Exchange& exchange, const fuse_ioctl_in& in) {
  auto argument = TRY(take_argument<ScrubArgument>(exchange, in));
  TRY(require_admin(exchange));
  const ScrubStep step =
      TRY(scrub_step(session.file_system().volume(),
                     {.phase = argument.phase, .object = argument.object, .tag = argument.tag}, argument.max_blocks));
  argument = {};
  argument.phase = step.next.phase;
  argument.object = step.next.object;
  argument.tag = step.next.tag;
  argument.done = step.done ? 1 : 0;
  argument.metadata_blocks = step.metadata_blocks;
  argument.data_blocks = step.data_blocks;
  argument.unchecked_blocks = step.unchecked_blocks;
  argument.files = step.files;
  argument.errors = step.errors;
  for (const ScrubFinding& finding : step.findings) {
    if (argument.findings == argument.list.size()) break;
    argument.list[argument.findings++] = {.problem = static_cast<std::uint32_t>(finding.problem),
                                          .count = static_cast<std::uint32_t>(finding.count),
                                          .inode = finding.inode.value(),
                                          .file_block = finding.file_block.value(),
                                          .block = finding.block.value()};
  }
  reply_ioctl(exchange, in.out_size, as_bytes_of(argument));
  return {};
}

}  // namespace

Status on_ioctl(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_ioctl_in>());
  FileSystem& file_system = session.file_system();
  switch (in.cmd) {
    case FS_IOC_GETFLAGS:
    case FS_IOC32_GETFLAGS: {
      const Attributes attributes = TRY(file_system.attributes(exchange.inode()));
      reply_ioctl(exchange, in.out_size, as_bytes_of(attributes.flags));
      return {};
    }
    case FS_IOC_SETFLAGS:
    case FS_IOC32_SETFLAGS: {
      const auto flags = TRY(take_argument<std::uint32_t>(exchange, in));
      // What we have no place for is refused rather than dropped.
      if ((flags & ~kInodeFlagsKnown) != 0) return fail(Errc::kUnsupported);
      const Attributes before = TRY(file_system.attributes(exchange.inode()));
      TRY(prepare_flags(session, exchange, before, flags));
      TRY(file_system.set_flags(flag_changer(exchange), exchange.inode(), flags));
      reply_ioctl(exchange, in.out_size, {});
      return {};
    }
    case FS_IOC_FSGETXATTR: return get_extended(session, exchange, in);
    case FS_IOC_FSSETXATTR: return set_extended(session, exchange, in);
    case FS_IOC_GETVERSION:
    case FS_IOC32_GETVERSION: {
      const Attributes attributes = TRY(file_system.attributes(exchange.inode()));
      reply_ioctl(exchange, in.out_size, as_bytes_of(attributes.generation));
      return {};
    }
    case FS_IOC_GETFSLABEL: {
      const std::string label = file_system.volume().label();
      reply_ioctl(exchange, in.out_size, std::as_bytes(std::span(label)));
      return {};
    }
    case FITRIM: return trim(session, exchange, in);
    case kScrub: return scrub(session, exchange, in);
    case kShutdown:
      // Its argument (whether to flush the log first) stays in the kernel: flush, which is the gentler of the two.
      TRY(require_admin(exchange));
      static_cast<void>(file_system.sync());  // a volume that has failed is shut down all the same
      file_system.volume().shut_down();
      reply_ioctl(exchange, in.out_size, {});
      return {};
    default: exchange.fail_with(ENOTTY); return {};
  }
}

}  // namespace weft::fs::fuse
