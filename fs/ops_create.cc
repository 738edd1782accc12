// fs/ops_create.cc - FileSystem::make_*: new inodes, with what they inherit from their directory.
//
//   fs/fuse -> [ops_create] -> directory, xattr, acl -> transaction
//
// A creation is one transaction: the inode, what it inherits, its name, its directory.
// Locks       the directory's content, exclusively; its change at commit. Tests: tests/fs/names_test.cc
#include <sys/stat.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "fs/acl.h"
#include "fs/directory.h"
#include "fs/file_system_core.h"
#include "fs/xattr.h"
#include "kernel/bytes.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

struct Creation {
  Intent intent;
  std::uint32_t mode = 0;
  std::uint32_t device = 0;
  std::string_view name;    // empty: a temporary file, which has none
  std::string_view target;  // of a symlink
};

struct InheritedXattr {
  std::string_view name;
  XattrSlot slot;  // free, as nothing is there yet
  std::vector<std::byte> value;
};

// What the new inode takes from its directory's default ACL; changes `mode` accordingly, or by the umask.
Result<std::vector<InheritedXattr>> inherit_acl(FileSystemCore& fs, const Inode& parent, const DiskInode& directory,
                                                const Caller& caller, std::uint32_t& mode) {
  std::vector<InheritedXattr> out;
  if (S_ISLNK(mode)) return out;
  std::optional<Acl> acl;
  std::vector<std::byte> bytes;
  if (directory.xattr_count > 0) {
    const auto slot = TRY(find_xattr(*fs.volume, fs.hash, parent.number(), kDefaultAclName));
    if (slot.entry) {
      bytes = TRY(read_xattr(*fs.volume, parent.number(), *slot.entry));
      acl = TRY(Acl::parse(bytes));
    }
  }
  if (!acl) {
    mode &= ~(caller.umask & 0777);
    return out;
  }
  const auto add = [&](std::string_view name, std::vector<std::byte> value) {
    XattrSlot slot;
    slot.free_offset = fs.hash.xattr_hash(name) << 8;
    if (!out.empty() && out.back().slot.free_offset == slot.free_offset) ++slot.free_offset;
    out.push_back({.name = name, .slot = slot, .value = std::move(value)});
  };
  if (S_ISDIR(mode)) add(kDefaultAclName, bytes);
  mode = acl->inherit(mode);
  if (!acl->minimal()) add(kAccessAclName, acl->bytes());
  return out;
}

bool caller_in_group(const Caller& caller, std::uint32_t gid) {
  return caller.gid == gid || (caller.in_group != nullptr && caller.in_group(caller, gid));
}

DiskInode first_record(FileSystemCore& fs, const Caller& caller, InodeNo parent, const DiskInode& directory,
                       const Creation& what, std::uint32_t mode, std::size_t xattrs) {
  const bool is_dir = S_ISDIR(mode);
  const bool set_gid_parent = (directory.mode & S_ISGID) != 0;
  DiskInode record{};
  record.uid = caller.uid;
  record.gid = set_gid_parent || fs.options.group_from_parent ? directory.gid.get() : caller.gid;
  if (set_gid_parent) {
    if (is_dir) {
      mode |= S_ISGID;
    } else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && caller.uid != 0 &&
               !caller_in_group(caller, directory.gid)) {
      mode &= ~static_cast<std::uint32_t>(S_ISGID);  // nobody may make a program that runs as a group he is not in
    }
  }
  record.mode = mode;
  record.links = what.name.empty() ? 0 : is_dir ? 2 : 1;
  record.size_bytes = what.target.size();
  record.device = S_ISCHR(mode) || S_ISBLK(mode) ? what.device : 0;
  std::uint32_t inherited = kInodeNoDump | kInodeNoAtime;
  if (S_ISREG(mode) || is_dir) inherited |= kInodeSync | kInodeNoCow;
  if (is_dir) inherited |= kInodeDirSync;
  record.flags = directory.flags & inherited;
  record.generation = 1;  // numbers are never used twice
  record.parent = is_dir ? parent.value() : 0;
  record.version = 1;
  record.xattr_count = static_cast<std::uint32_t>(xattrs);
  record.accessed = record.modified = record.changed = record.created = to_disk(fs.now());
  return record;
}

Result<Attributes> create(FileSystemCore& fs, const Caller& caller, InodeNo parent_number, const Creation& what) {
  const bool named = !what.name.empty();
  const InodeRef parent = TRY(fs.inodes.get(parent_number));
  InodeRef made;
  Lsn lsn;
  DiskInode directory;
  {
    std::unique_lock guard(parent->content);
    directory = parent->record();
    if (!is_directory(directory)) return fail(Errc::kNotDirectory);
    if (directory.links == 0) return fail(Errc::kNotFound);
    NameSlot slot;
    if (named) {
      TRY(check_name(what.name));
      slot = TRY(find_name(*fs.volume, fs.hash, parent_number, what.name));
      if (slot.entry) return fail(Errc::kExists);
    }
    TRY(refuse_flags(directory, kInodeImmutable));
    const bool is_dir = S_ISDIR(what.mode);
    if (is_dir && directory.links >= kMaxLinks) return fail(Errc::kTooManyLinks);

    std::uint32_t mode = what.mode;
    const auto inherited = TRY(inherit_acl(fs, *parent, directory, caller, mode));
    InodeTable::Newborn newborn = TRY(fs.inodes.add_new());
    const DiskInode record = first_record(fs, caller, parent_number, directory, what, mode, inherited.size());

    TransactionNeeds needs{.changes = static_cast<std::uint32_t>(4 + divide_up(what.target.size(), kSymlinkChunkBytes)),
                           .value_bytes = static_cast<std::uint32_t>(1024 + what.target.size())};
    for (const InheritedXattr& xattr : inherited) need_for_xattr(needs, std::nullopt, xattr.name, xattr.value.size());
    Transaction transaction = TRY(fs.volume->begin(what.intent, newborn->number(), needs));
    put_inode(transaction, *newborn, record);
    for (std::size_t at = 0; at < what.target.size(); at += kSymlinkChunkBytes) {
      const auto chunk = what.target.substr(at, kSymlinkChunkBytes);
      transaction.put(Key(newborn->number(), KeyKind::kSymlink, at / kSymlinkChunkBytes),
                      std::as_bytes(std::span(chunk)));
    }
    for (const InheritedXattr& xattr : inherited)
      put_xattr(transaction, newborn->number(), xattr.slot, xattr.name, xattr.value);
    if (named) {
      place_name(transaction, parent_number, slot.free_offset, what.name, newborn->number(), dirent_type(mode));
      ChangeGuard change{parent.get()};
      directory = parent->record();
      directory.entry_count = directory.entry_count + 1;
      if (is_dir) directory.links = directory.links + 1;
      mark_modified(directory, fs.now());
      put_inode(transaction, *parent, directory);
      lsn = TRY(fs.volume->commit(std::move(transaction)));
      parent->publish(directory, lsn, true);
    } else {
      transaction.put(orphan_key(newborn->number()), {});
      lsn = TRY(fs.volume->commit(std::move(transaction)));
      newborn->linkable = true;
    }
    made = newborn.ready(record, lsn);
  }
  fs.inodes.refer(*made);
  TRY(settle(fs, directory, kInodeSync | kInodeDirSync, lsn));
  return made->attributes();
}

}  // namespace

Result<Attributes> FileSystem::make_node(const Caller& caller, InodeNo parent, std::string_view name,
                                         const NewNode& node) {
  if (name.empty()) return fail(Errc::kNotFound);
  std::uint32_t mode = node.mode;
  if ((mode & S_IFMT) == 0) mode |= S_IFREG;
  if (S_ISDIR(mode) || S_ISLNK(mode)) return fail(Errc::kInvalid);
  return create(*parts_, caller, parent,
                {.intent = S_ISREG(mode) ? Intent::kCreate : Intent::kMakeNode,
                 .mode = mode,
                 .device = node.device,
                 .name = name,
                 .target = {}});
}

Result<Attributes> FileSystem::make_directory(const Caller& caller, InodeNo parent, std::string_view name,
                                              std::uint32_t mode) {
  if (name.empty()) return fail(Errc::kNotFound);
  return create(*parts_, caller, parent,
                {.intent = Intent::kMakeDirectory, .mode = S_IFDIR | (mode & 07777), .name = name, .target = {}});
}

Result<Attributes> FileSystem::make_symlink(const Caller& caller, InodeNo parent, std::string_view name,
                                            std::string_view target) {
  if (name.empty() || target.empty()) return fail(Errc::kNotFound);
  if (target.size() > kMaxSymlinkBytes) return fail(Errc::kNameTooLong);
  return create(*parts_, caller, parent,
                {.intent = Intent::kSymlink, .mode = S_IFLNK | 0777, .name = name, .target = target});
}

Result<Attributes> FileSystem::make_temporary(const Caller& caller, InodeNo parent, std::uint32_t mode) {
  parts_->reclaimer.wait_for_room();
  return create(*parts_, caller, parent,
                {.intent = Intent::kTemporaryFile, .mode = S_IFREG | (mode & 07777), .name = {}, .target = {}});
}

}  // namespace weft::fs
