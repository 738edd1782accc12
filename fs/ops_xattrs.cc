// fs/ops_xattrs.cc - FileSystem's extended attributes, and what ACLs among them mean for the mode.
//
//   fs/fuse -> [ops_xattrs] -> xattr, acl -> transaction
//
// Locks       the inode's content: shared to read, exclusive to change. Tests: tests/fs/xattr_test.cc
#include <sys/stat.h>

#include <mutex>
#include <optional>
#include <shared_mutex>

#include "fs/acl.h"
#include "fs/capability.h"
#include "fs/file_system_core.h"
#include "fs/xattr.h"

namespace weft::fs {
namespace {

bool is_acl(std::string_view name) { return name == kAccessAclName || name == kDefaultAclName; }

Status check_xattr_name(std::string_view name) {
  if (name.size() > kMaxNameBytes) return fail(Errc::kOutOfRange);
  if (is_acl(name)) return {};
  for (const std::string_view prefix : {"user.", "trusted.", "security."}) {
    if (name.starts_with(prefix)) return name.size() > prefix.size() ? Status{} : fail(Errc::kInvalid);
  }
  return fail(Errc::kUnsupported);
}

// One transaction: `value` put (or, if there is none, what is there dropped), and the mode's bits `mode_mask` set to `mode`.
struct XattrChange {
  std::string_view name;
  std::optional<std::span<const std::byte>> value;
  std::uint32_t mode_mask = 0;
  std::uint32_t mode = 0;
};

Status apply(FileSystemCore& fs, Inode& inode, const XattrSlot& slot, const XattrChange& what) {
  TransactionNeeds needs{.changes = 1, .value_bytes = sizeof(DiskInode), .frees_space = !what.value};
  need_for_xattr(needs, slot.entry, what.name, what.value ? what.value->size() : 0);
  Transaction transaction =
      TRY(fs.volume->begin(what.value ? Intent::kSetXattr : Intent::kRemoveXattr, inode.number(), needs));
  ChangeGuard change{&inode};
  DiskInode record = inode.record();
  if (what.value) {
    put_xattr(transaction, inode.number(), slot, what.name, *what.value);
    if (!slot.entry) record.xattr_count = record.xattr_count + 1;
  } else if (slot.entry) {
    drop_xattr(transaction, inode.number(), *slot.entry);
    record.xattr_count = record.xattr_count - 1;
  }
  record.mode = (record.mode & ~what.mode_mask) | (what.mode & what.mode_mask);
  mark_changed(record, fs.now());
  put_inode(transaction, inode, record);
  const Lsn lsn = TRY(fs.volume->commit(std::move(transaction)));
  inode.publish(record, lsn, false);
  return settle(fs, record, kInodeSync, lsn);
}

// What setting this ACL changes; `kept` holds the bytes to be kept, where any are.
Result<XattrChange> acl_change(const DiskInode& record, std::string_view name, std::span<const std::byte> value,
                               bool kill_set_gid, std::vector<std::byte>& kept) {
  if (is_symlink(record)) return fail(Errc::kUnsupported);
  XattrChange change{.name = name, .value = std::nullopt};
  const auto acl = TRY(Acl::parse(value));
  if (name == kDefaultAclName) {
    if (!is_directory(record)) {
      if (acl) return fail(Errc::kAccessDenied);
      return change;
    }
    if (acl) change.value = kept = acl->bytes();
    return change;
  }
  if (!acl) return change;
  change.mode = acl->permission_bits();
  change.mode_mask = 0777 | (kill_set_gid ? S_ISGID : 0);
  if (!acl->minimal()) change.value = kept = acl->bytes();
  return change;
}

}  // namespace

Status drop_capability(FileSystemCore& fs, Inode& inode) {
  if (!inode.maybe_capability) return {};
  std::unique_lock guard(inode.content);
  if (inode.record().xattr_count > 0) {
    const XattrSlot slot = TRY(find_xattr(*fs.volume, fs.hash, inode.number(), kCapabilityName));
    if (slot.entry) TRY(apply(fs, inode, slot, {.name = kCapabilityName, .value = std::nullopt}));
  }
  inode.maybe_capability = false;
  return {};
}

Result<std::vector<std::byte>> FileSystem::get_xattr(InodeNo number, std::string_view name) {
  FileSystemCore& fs = *parts_;
  const InodeRef inode = TRY(fs.inodes.get(number));
  // The kernel asks for security.capability before every write: answered from memory.
  if (inode->record().xattr_count == 0 || (name == kCapabilityName && !inode->maybe_capability))
    return fail(Errc::kNoData);
  std::shared_lock guard(inode->content);
  const XattrSlot slot = TRY(find_xattr(*fs.volume, fs.hash, number, name));
  if (!slot.entry) {
    if (name == kCapabilityName) inode->maybe_capability = false;
    return fail(Errc::kNoData);
  }
  return read_xattr(*fs.volume, number, *slot.entry);
}

Status FileSystem::set_xattr(const Caller&, InodeNo number, std::string_view name, std::span<const std::byte> value,
                             XattrMode mode, bool kill_set_gid) {
  FileSystemCore& fs = *parts_;
  TRY(check_xattr_name(name));
  if (value.size() > kMaxXattrBytes) return fail(Errc::kOutOfRange);
  const InodeRef inode = TRY(fs.inodes.get(number));
  std::unique_lock guard(inode->content);
  const DiskInode record = inode->record();
  TRY(refuse_flags(record, kInodeImmutable | kInodeAppendOnly));
  std::vector<std::byte> kept;
  XattrChange change{.name = name, .value = value};
  if (is_acl(name)) change = TRY(acl_change(record, name, value, kill_set_gid, kept));
  const XattrSlot slot = TRY(find_xattr(*fs.volume, fs.hash, number, name));
  if (change.value) {
    if (mode == XattrMode::kCreate && slot.entry) return fail(Errc::kExists);
    if (mode == XattrMode::kReplace && !slot.entry) return fail(Errc::kNoData);
  }
  if (!change.value && !slot.entry && change.mode_mask == 0) return {};
  if (name == kCapabilityName) inode->maybe_capability = true;
  return apply(fs, *inode, slot, change);
}

Status FileSystem::remove_xattr(const Caller&, InodeNo number, std::string_view name) {
  FileSystemCore& fs = *parts_;
  TRY(check_xattr_name(name));
  const InodeRef inode = TRY(fs.inodes.get(number));
  std::unique_lock guard(inode->content);
  TRY(refuse_flags(inode->record(), kInodeImmutable | kInodeAppendOnly));
  const XattrSlot slot = TRY(find_xattr(*fs.volume, fs.hash, number, name));
  if (!slot.entry) return is_acl(name) ? Status{} : fail(Errc::kNoData);
  return apply(fs, *inode, slot, {.name = name, .value = std::nullopt});
}

Result<std::vector<std::string>> FileSystem::list_xattrs(InodeNo number) {
  FileSystemCore& fs = *parts_;
  const InodeRef inode = TRY(fs.inodes.get(number));
  if (inode->record().xattr_count == 0) return std::vector<std::string>{};
  std::shared_lock guard(inode->content);
  return list_xattr_names(*fs.volume, number);
}

}  // namespace weft::fs
