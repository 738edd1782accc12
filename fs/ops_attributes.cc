// fs/ops_attributes.cc - FileSystem's attributes: mode, owner, size, times, flags.
//
//   fs/fuse -> [ops_attributes] -> file_truncate, acl, xattr -> transaction
//
// Locks       the inode's content, exclusively, where the size or an ACL changes with the rest. Tests: tests/fs/attributes_test.cc
#include <sys/stat.h>

#include <mutex>
#include <optional>

#include "fs/acl.h"
#include "fs/capability.h"
#include "fs/file_system_core.h"
#include "fs/file_truncate.h"
#include "fs/xattr.h"

namespace weft::fs {
namespace {

using Field = AttributeChange::Field;

bool has(const AttributeChange& change, std::uint32_t fields) { return (change.fields & fields) != 0; }

void edit(DiskInode& record, const AttributeChange& change, Timespec now) {
  if (has(change, Field::kKillSetId)) clear_set_id(record);
  if (has(change, Field::kUid | Field::kGid) && !is_directory(record)) clear_set_id(record);
  if (has(change, Field::kMode)) record.mode = (record.mode & S_IFMT) | (change.mode & 07777);
  if (has(change, Field::kUid)) record.uid = change.uid;
  if (has(change, Field::kGid)) record.gid = change.gid;
  if (has(change, Field::kAccessed)) record.accessed = to_disk(change.accessed);
  if (has(change, Field::kAccessedNow)) record.accessed = to_disk(now);
  if (has(change, Field::kSize | Field::kModifiedNow)) record.modified = to_disk(now);
  if (has(change, Field::kModified)) record.modified = to_disk(change.modified);
  mark_changed(record, has(change, Field::kChanged) ? change.changed : now);
}

constexpr std::int64_t kClocksDiffer = 1;  // seconds at most: the caller's may be the coarse one

// Where the caller keeps the times of data they come after the data, and not before those that are there: of an append at any time,
// of what was written before the file became immutable once.
bool brings_data_times(const FileSystemCore& fs, Inode& inode, const DiskInode& record, const AttributeChange& change) {
  if (!fs.data_times_are_callers || change.fields != (Field::kModified | Field::kChanged) ||
      change.modified.seconds + kClocksDiffer < from_disk(record.modified).seconds)
    return false;
  return (record.flags & kInodeImmutable) == 0 || inode.data_times_due.exchange(false);
}

Status check(const FileSystemCore& fs, Inode& inode, const AttributeChange& change) {
  const DiskInode record = inode.record();
  if ((record.flags & (kInodeImmutable | kInodeAppendOnly)) != 0 && !brings_data_times(fs, inode, record, change)) {
    TRY(refuse_flags(record, kInodeImmutable));
    // What only grows may be touched, no more.
    if (has(change, ~std::uint32_t{Field::kAccessedNow | Field::kModifiedNow | Field::kChanged}))
      TRY(refuse_flags(record, kInodeAppendOnly));
  }
  for (const Timespec& time : {change.accessed, change.modified, change.changed}) {
    if (time.nanoseconds >= 1'000'000'000) return fail(Errc::kInvalid);
  }
  return {};
}

// The access ACL, where there is one, as a chmod changes it.
struct AclUpdate {
  XattrSlot slot;
  std::vector<std::byte> bytes;
};
Result<std::optional<AclUpdate>> acl_update(FileSystemCore& fs, const Inode& inode, const AttributeChange& change) {
  if (!has(change, Field::kMode) || inode.record().xattr_count == 0) return std::nullopt;
  AclUpdate update {
    .slot = TRY(find_xattr(*fs.volume, fs.hash, inode.number(), kAccessAclName))
    , .bytes = {}
  };
  if (!update.slot.entry) return std::nullopt;
  const auto bytes = TRY(read_xattr(*fs.volume, inode.number(), *update.slot.entry));
  auto acl = TRY(Acl::parse(bytes));
  if (!acl) return std::nullopt;
  acl->apply_mode(change.mode);
  update.bytes = acl->bytes();
  return update;
}

Status set_plain(FileSystemCore& fs, Inode& inode, const AttributeChange& change) {
  const auto acl = TRY(acl_update(fs, inode, change));
  TransactionNeeds needs{.changes = 1, .value_bytes = sizeof(DiskInode)};
  if (acl) need_for_xattr(needs, acl->slot.entry, kAccessAclName, acl->bytes.size());
  Transaction transaction = TRY(fs.volume->begin(Intent::kSetAttributes, inode.number(), needs));
  ChangeGuard guard{&inode};
  DiskInode record = inode.record();
  edit(record, change, fs.now());
  if (acl) put_xattr(transaction, inode.number(), acl->slot, kAccessAclName, acl->bytes);
  put_inode(transaction, inode, record);
  inode.publish(record, TRY(fs.volume->commit(std::move(transaction))), false);
  return {};
}

}  // namespace

Result<Attributes> FileSystem::attributes(InodeNo number) {
  const InodeRef inode = TRY(parts_->inodes.get(number));
  return inode->attributes();
}

Result<Attributes> FileSystem::set_attributes(const Caller&, InodeNo number, const AttributeChange& change) {
  FileSystemCore& fs = *parts_;
  const InodeRef inode = TRY(fs.inodes.get(number));
  TRY(check(fs, *inode, change));
  if (has(change, Field::kSize | Field::kUid | Field::kGid) && !is_directory(inode->record()))
    TRY(drop_capability(fs, *inode));
  if (has(change, Field::kSize)) {
    std::unique_lock guard(inode->content);
    TRY(require_regular(inode->record()));
    const Timespec now = fs.now();
    TRY(truncate_file(fs, *inode, change.size_bytes, [&](DiskInode& record) { edit(record, change, now); }));
  } else if (change.fields != 0) {
    std::unique_lock guard(inode->content, std::defer_lock);
    if (has(change, Field::kMode)) guard.lock();  // with an ACL, both change together
    TRY(set_plain(fs, *inode, change));
  }
  TRY(settle(fs, inode->record(), kInodeSync, inode->last_change()));
  return inode->attributes();
}

Status FileSystem::set_flags(const Caller& caller, InodeNo number, std::uint32_t flags) {
  FileSystemCore& fs = *parts_;
  if ((flags & ~std::uint32_t{kInodeFlagsKnown}) != 0) return fail(Errc::kUnsupported);
  const InodeRef inode = TRY(fs.inodes.get(number));
  std::unique_lock guard(inode->content);
  Transaction transaction =
      TRY(fs.volume->begin(Intent::kSetAttributes, number, {.changes = 1, .value_bytes = sizeof(DiskInode)}));
  ChangeGuard change{inode.get()};
  DiskInode record = inode->record();
  const std::uint32_t differing = record.flags ^ flags;
  if ((differing & (kInodeImmutable | kInodeAppendOnly)) != 0 && caller.uid != 0) return fail(Errc::kNotPermitted);
  // Whether data is copied on write can only be chosen while there is none.
  if ((differing & kInodeNoCow) != 0) {
    if (!is_directory(record) && (!is_regular(record) || record.size_bytes != 0 || record.data_blocks != 0))
      return fail(Errc::kInvalid);
  }
  if ((differing & flags & kInodeImmutable) != 0) inode->data_times_due = fs.data_times_are_callers.load();
  record.flags = flags;
  mark_changed(record, fs.now());
  put_inode(transaction, *inode, record);
  inode->publish(record, TRY(fs.volume->commit(std::move(transaction))), false);
  return {};
}

Status FileSystem::set_project(InodeNo number, std::uint32_t project) {
  FileSystemCore& fs = *parts_;
  const InodeRef inode = TRY(fs.inodes.get(number));
  Transaction transaction =
      TRY(fs.volume->begin(Intent::kSetAttributes, number, {.changes = 1, .value_bytes = sizeof(DiskInode)}));
  ChangeGuard change{inode.get()};
  DiskInode record = inode->record();
  record.project = project;
  mark_changed(record, fs.now());
  put_inode(transaction, *inode, record);
  inode->publish(record, TRY(fs.volume->commit(std::move(transaction))), false);
  return {};
}

}  // namespace weft::fs
