// fs/fuse/attributes.cc - requests about attributes: stat and its changes, statfs, extended attributes.
#include <linux/capability.h>
#include <linux/stat.h>
#include <linux/xattr.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <optional>

#include "fs/format.h"
#include "fs/fuse/convert.h"
#include "fs/fuse/handlers.h"
#include "fs/fuse/resent.h"

namespace weft::fs::fuse {

Status on_getattr(Session& session, Exchange& exchange) {
  exchange.reply(to_fuse_attr_out(TRY(session.file_system().attributes(exchange.inode())), session.options()));
  return {};
}

namespace {

StatxTime to_statx(const Timespec& time) { return {time.seconds, time.nanoseconds, 0}; }

}  // namespace

Status on_statx(Session& session, Exchange& exchange) {
  TRY(exchange.take<StatxIn>());
  const Attributes attributes = TRY(session.file_system().attributes(exchange.inode()));
  StatxOut out{};
  out.attr_valid = session.options().attributes_valid_seconds;
  out.mask = STATX_BASIC_STATS | STATX_BTIME;
  out.blksize = kBlockBytes;
  out.attributes_mask = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP;
  if ((attributes.flags & kInodeImmutable) != 0) out.attributes |= STATX_ATTR_IMMUTABLE;
  if ((attributes.flags & kInodeAppendOnly) != 0) out.attributes |= STATX_ATTR_APPEND;
  if ((attributes.flags & kInodeNoDump) != 0) out.attributes |= STATX_ATTR_NODUMP;
  out.nlink = attributes.links;
  out.uid = attributes.uid;
  out.gid = attributes.gid;
  out.mode = static_cast<std::uint16_t>(attributes.mode);
  out.ino = attributes.inode.value();
  out.size = attributes.size_bytes;
  out.blocks = attributes.sectors;
  out.atime = to_statx(attributes.accessed);
  out.btime = to_statx(attributes.created);
  out.ctime = to_statx(attributes.changed);
  out.mtime = to_statx(attributes.modified);
  out.rdev_major = major(attributes.device);
  out.rdev_minor = minor(attributes.device);
  exchange.reply(out);
  return {};
}

Status on_setattr(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_setattr_in>());
  AttributeChange change;
  auto take = [&](std::uint32_t bit, AttributeChange::Field field) {
    if ((in.valid & bit) != 0) change.fields |= field;
  };
  take(FATTR_MODE, AttributeChange::kMode);
  take(FATTR_UID, AttributeChange::kUid);
  take(FATTR_GID, AttributeChange::kGid);
  take(FATTR_SIZE, AttributeChange::kSize);
  // A time with its NOW bit is the server's clock, whatever the request carries beside it.
  if ((in.valid & FATTR_ATIME_NOW) != 0) {
    change.fields |= AttributeChange::kAccessedNow;
  } else {
    take(FATTR_ATIME, AttributeChange::kAccessed);
  }
  if ((in.valid & FATTR_MTIME_NOW) != 0) {
    change.fields |= AttributeChange::kModifiedNow;
  } else {
    take(FATTR_MTIME, AttributeChange::kModified);
  }
  take(FATTR_CTIME, AttributeChange::kChanged);
  take(FATTR_KILL_SUIDGID, AttributeChange::kKillSetId);
  change.mode = in.mode;
  change.uid = in.uid;
  change.gid = in.gid;
  change.size_bytes = in.size;
  change.accessed = {static_cast<std::int64_t>(in.atime), in.atimensec};
  change.modified = {static_cast<std::int64_t>(in.mtime), in.mtimensec};
  change.changed = {static_cast<std::int64_t>(in.ctime), in.ctimensec};
  if (std::max({in.atimensec, in.mtimensec, in.ctimensec}) > 999'999'999) return fail(Errc::kInvalid);
  const RequestCaller caller(exchange.header());
  exchange.reply(
      to_fuse_attr_out(TRY(session.file_system().set_attributes(caller, exchange.inode(), change)), session.options()));
  return {};
}

Status on_statfs(Session& session, Exchange& exchange) {
  const FileSystemStats stats = session.file_system().stats();
  fuse_statfs_out out{};
  out.st.blocks = stats.total_blocks;
  out.st.bfree = stats.free_blocks;
  out.st.bavail = stats.available_blocks;
  out.st.files = stats.inodes;
  out.st.ffree = stats.free_inodes;
  out.st.bsize = kBlockBytes;
  out.st.frsize = kBlockBytes;
  out.st.namelen = 255;
  exchange.reply(out);
  return {};
}

namespace {

// A value, or its size where the caller asks with no room for it.
Status reply_value(Exchange& exchange, std::span<const std::byte> value, std::uint32_t room) {
  if (room == 0) {
    exchange.reply(fuse_getxattr_out{static_cast<std::uint32_t>(value.size()), 0});
  } else if (value.size() > room) {
    return fail(Errc::kOutOfRange);
  } else {
    exchange.reply(value);
  }
  return {};
}

}  // namespace

Status on_getxattr(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_getxattr_in>());
  const auto name = TRY(exchange.take_string());
  const auto value = TRY(session.file_system().get_xattr(exchange.inode(), name));
  return reply_value(exchange, value, in.size);
}

Status on_listxattr(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_getxattr_in>());
  std::string list;
  std::optional<bool> may_see_trusted;
  for (const std::string& name : TRY(session.file_system().list_xattrs(exchange.inode()))) {
    if (name.starts_with("trusted.")) {
      if (!may_see_trusted) may_see_trusted = process_has_capability(exchange.header().pid, CAP_SYS_ADMIN);
      if (!*may_see_trusted) continue;
    }
    list += name;
    list += '\0';
  }
  return reply_value(exchange, std::as_bytes(std::span(list)), in.size);
}

Status on_setxattr(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_setxattr_in>());
  const auto name = TRY(exchange.take_string());
  const auto value = TRY(exchange.take_bytes(in.size));
  using Mode = FileSystem::XattrMode;
  const Mode mode = (in.flags & XATTR_CREATE) != 0    ? Mode::kCreate
                    : (in.flags & XATTR_REPLACE) != 0 ? Mode::kReplace
                                                      : Mode::kEither;
  const bool kill_set_gid = (in.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) != 0;
  const auto set = [&] {
    return session.file_system().set_xattr(RequestCaller(exchange.header()), exchange.inode(), name, value, mode,
                                           kill_set_gid);
  };
  if (mode == Mode::kCreate) return change_xattr_once(session, exchange, name, Errc::kExists, set);
  TRY(set());
  exchange.reply();
  return {};
}

Status on_removexattr(Session& session, Exchange& exchange) {
  const auto name = TRY(exchange.take_string());
  return change_xattr_once(session, exchange, name, Errc::kNoData, [&] {
    return session.file_system().remove_xattr(RequestCaller(exchange.header()), exchange.inode(), name);
  });
}

}  // namespace weft::fs::fuse
