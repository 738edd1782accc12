// fs/ops_names.cc - FileSystem's lookups, links and removals.
//
//   fs/fuse -> [ops_names] -> directory, inode_table -> transaction
//
// Locks       the directory's content (with rmdir the victim's too), then change of directory and victim at commit
// Tests       tests/fs/names_test.cc
#include <sys/stat.h>

#include <array>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "fs/directory.h"
#include "fs/file_system_core.h"
#include "fs/file_truncate.h"
#include "kernel/planted_bug.h"

namespace weft::fs {
namespace {

constexpr int kMaxAttempts = 1000;  // a name that leads nowhere is damage, not a race

Result<Attributes> refer_to(FileSystemCore& fs, Inode& inode) {
  fs.inodes.refer(inode);
  return inode.attributes();
}

// Holds the contents of several directories exclusively, ascending by number; the same one twice counts once.
class ContentGuard {
 public:
  ContentGuard(Inode& a, Inode& b) : low_(&a), high_(&b) {
    if (high_->number() < low_->number()) std::swap(low_, high_);
    low_->content.lock();
    if (high_ != low_) high_->content.lock();
  }
  ~ContentGuard() {
    if (high_ != low_) high_->content.unlock();
    low_->content.unlock();
  }
  ContentGuard(const ContentGuard&) = delete;
  ContentGuard& operator=(const ContentGuard&) = delete;

 private:
  Inode* low_;
  Inode* high_;
};

// May this name go from this directory? (Linux's may_delete, as far as it is not about permission bits.)
Status check_removal(const DiskInode& directory, const DiskInode& victim) {
  TRY(refuse_flags(directory, kInodeImmutable | kInodeAppendOnly));
  return refuse_flags(victim, kInodeImmutable | kInodeAppendOnly);
}

}  // namespace

Result<Attributes> FileSystem::lookup(InodeNo parent_number, std::string_view name) {
  FileSystemCore& fs = *parts_;
  const InodeRef parent = TRY(fs.inodes.get(parent_number));
  const DiskInode record = parent->record();
  // Of an inode of any kind: so the kernel finds what it has forgotten, for the holder of a file handle. References to a removed
  // one are then about to be given back; it must not live again through them.
  if (name == ".") return record.links > 0 ? refer_to(fs, *parent) : fail(Errc::kStale);
  if (!is_directory(record)) return fail(Errc::kNotDirectory);
  if (name == "..") {
    const InodeRef up = TRY(fs.inodes.get(InodeNo(record.parent == 0 ? parent_number.value() : record.parent.get())));
    return refer_to(fs, *up);
  }
  TRY(check_name(name));
  InodeRef child;
  {
    std::shared_lock guard(parent->content);
    const NameSlot slot = TRY(find_name(*fs.volume, fs.hash, parent_number, name));
    if (!slot.entry) return fail(Errc::kNotFound);
    auto found = fs.inodes.get(slot.entry->inode);
    if (!found && found.error() == Errc::kStale) {
      Error error(Errc::kCorrupt, "directory " + std::to_string(parent_number.value()) + " names inode " +
                                      std::to_string(slot.entry->inode.value()) +
                                      ", which does not exist; run fsck.weft");
      fs.volume->report_damage(error, false);
      return fail(std::move(error));
    }
    child = TRY(std::move(found));
  }
  return refer_to(fs, *child);
}

Result<Attributes> FileSystem::by_number(InodeNo number) {
  FileSystemCore& fs = *parts_;
  if (number < kRootInode) return fail(Errc::kStale);
  const InodeRef inode = TRY(fs.inodes.get(number));
  if (inode->record().links == 0 && !fs.inodes.referred(*inode)) return fail(Errc::kStale);
  return refer_to(fs, *inode);
}

void FileSystem::forget(InodeNo inode, std::uint64_t references) { parts_->inodes.forget(inode, references); }

void FileSystem::give_back(InodeNo inode) { parts_->inodes.give_back(inode); }

Result<InodeNo> FileSystem::find(InodeNo parent_number, std::string_view name) {
  FileSystemCore& fs = *parts_;
  TRY(check_name(name));
  const InodeRef parent = TRY(fs.inodes.get(parent_number));
  if (!is_directory(parent->record())) return fail(Errc::kNotDirectory);
  std::shared_lock guard(parent->content);
  const NameSlot slot = TRY(find_name(*fs.volume, fs.hash, parent_number, name));
  if (!slot.entry) return fail(Errc::kNotFound);
  return slot.entry->inode;
}

std::uint64_t FileSystem::referred_count() const noexcept { return parts_->inodes.referred_count(); }
std::vector<InodeNo> FileSystem::idle_references(std::size_t limit) { return parts_->inodes.idle_references(limit); }

Result<Attributes> FileSystem::link(InodeNo number, InodeNo parent_number, std::string_view name) {
  FileSystemCore& fs = *parts_;
  TRY(check_name(name));
  const InodeRef parent = TRY(fs.inodes.get(parent_number));
  const InodeRef inode = TRY(fs.inodes.get(number));
  if (is_directory(inode->record())) return fail(Errc::kNotPermitted);
  Lsn lsn;
  {
    std::unique_lock guard(parent->content);
    if (!is_directory(parent->record())) return fail(Errc::kNotDirectory);
    if (parent->record().links == 0) return fail(Errc::kNotFound);
    const NameSlot slot = TRY(find_name(*fs.volume, fs.hash, parent_number, name));
    if (slot.entry) return fail(Errc::kExists);
    TRY(refuse_flags(parent->record(), kInodeImmutable));
    std::unique_lock data(inode->content);
    TRY(finish_truncate(fs, *inode));  // its mark and the one that goes here are the same key

    Transaction transaction = TRY(fs.volume->begin(Intent::kLink, number, {.changes = 4, .value_bytes = 1024}));
    ChangeGuard change{parent.get(), inode.get()};
    DiskInode directory = parent->record();
    DiskInode record = inode->record();
    TRY(refuse_flags(record, kInodeImmutable | kInodeAppendOnly));
    if (record.links >= kMaxLinks) return fail(Errc::kTooManyLinks);
    if (record.links == 0) {
      if (!inode->linkable) return fail(Errc::kNotFound);
      transaction.erase(orphan_key(number));
    }
    const Timespec now = fs.now();
    record.links = record.links + 1;
    mark_changed(record, now);
    directory.entry_count = directory.entry_count + 1;
    mark_modified(directory, now);
    place_name(transaction, parent_number, slot.free_offset, name, number, dirent_type(record.mode));
    put_inode(transaction, *inode, planted(Bug::kLinkCountLater) ? inode->record() : record);
    put_inode(transaction, *parent, directory);
    lsn = TRY(fs.volume->commit(std::move(transaction)));
    if (planted(Bug::kLinkCountLater)) {
      Transaction later = TRY(fs.volume->begin(Intent::kLink, number, {.changes = 1, .value_bytes = 512}));
      put_inode(later, *inode, record);
      lsn = TRY(fs.volume->commit(std::move(later)));
    }
    inode->publish(record, lsn, false);
    parent->publish(directory, lsn, true);
    inode->linkable = false;
  }
  TRY(settle(fs, parent->record(), kInodeSync | kInodeDirSync, lsn));
  return refer_to(fs, *inode);
}

Status FileSystem::unlink(const Caller&, InodeNo parent_number, std::string_view name) {
  FileSystemCore& fs = *parts_;
  TRY(check_name(name));
  fs.reclaimer.wait_for_room();
  const InodeRef parent = TRY(fs.inodes.get(parent_number));
  InodeRef victim;
  Lsn lsn;
  {
    std::unique_lock guard(parent->content);
    if (!is_directory(parent->record())) return fail(Errc::kNotDirectory);
    const NameSlot slot = TRY(find_name(*fs.volume, fs.hash, parent_number, name));
    if (!slot.entry) return fail(Errc::kNotFound);
    victim = TRY(fs.inodes.get(slot.entry->inode));
    if (is_directory(victim->record())) return fail(Errc::kIsDirectory);

    Transaction transaction = TRY(
        fs.volume->begin(Intent::kUnlink, victim->number(), {.changes = 4, .value_bytes = 512, .frees_space = true}));
    ChangeGuard change{parent.get(), victim.get()};
    DiskInode directory = parent->record();
    DiskInode record = victim->record();
    TRY(check_removal(directory, record));
    const Timespec now = fs.now();
    record.links = record.links - 1;
    mark_changed(record, now);
    directory.entry_count = directory.entry_count - 1;
    mark_modified(directory, now);
    drop_name(transaction, parent_number, slot.entry->offset);
    if (record.links == 0 && !planted(Bug::kUnlinkWithoutOrphan)) transaction.put(orphan_key(victim->number()), {});
    put_inode(transaction, *victim, record);
    put_inode(transaction, *parent, directory);
    lsn = TRY(fs.volume->commit(std::move(transaction)));
    victim->publish(record, lsn, false);
    parent->publish(directory, lsn, true);
  }
  return settle(fs, parent->record(), kInodeSync | kInodeDirSync, lsn);
}

Status FileSystem::remove_directory(const Caller&, InodeNo parent_number, std::string_view name) {
  FileSystemCore& fs = *parts_;
  TRY(check_name(name));
  fs.reclaimer.wait_for_room();
  const InodeRef parent = TRY(fs.inodes.get(parent_number));
  if (!is_directory(parent->record())) return fail(Errc::kNotDirectory);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    // Which directory it is must be known before both are locked in order; so look, lock, and look again.
    const NameSlot seen = TRY(find_name(*fs.volume, fs.hash, parent_number, name));
    if (!seen.entry) return fail(Errc::kNotFound);
    auto got = fs.inodes.get(seen.entry->inode);
    if (!got && got.error() == Errc::kStale) continue;  // it went between the two
    const InodeRef victim = TRY(std::move(got));
    if (!is_directory(victim->record())) return fail(Errc::kNotDirectory);
    Lsn lsn;
    {
      ContentGuard guard(*parent, *victim);
      const NameSlot slot = TRY(find_name(*fs.volume, fs.hash, parent_number, name));
      if (!slot.entry || slot.entry->inode != victim->number()) continue;
      Transaction transaction = TRY(fs.volume->begin(Intent::kRemoveDirectory, victim->number(),
                                                     {.changes = 4, .value_bytes = 512, .frees_space = true}));
      ChangeGuard change{parent.get(), victim.get()};
      DiskInode directory = parent->record();
      DiskInode record = victim->record();
      TRY(check_removal(directory, record));
      if (record.entry_count != 0) return fail(Errc::kNotEmpty);
      const Timespec now = fs.now();
      record.links = 0;
      mark_changed(record, now);
      directory.entry_count = directory.entry_count - 1;
      directory.links = directory.links - 1;
      mark_modified(directory, now);
      drop_name(transaction, parent_number, slot.entry->offset);
      transaction.put(orphan_key(victim->number()), {});
      put_inode(transaction, *victim, record);
      put_inode(transaction, *parent, directory);
      lsn = TRY(fs.volume->commit(std::move(transaction)));
      victim->publish(record, lsn, true);
      parent->publish(directory, lsn, true);
    }
    return settle(fs, parent->record(), kInodeSync | kInodeDirSync, lsn);
  }
  return fail(Errc::kCorrupt, "directory " + std::to_string(parent_number.value()) +
                                  " names an inode that does not exist; run fsck.weft");
}

Result<std::string> FileSystem::read_symlink(InodeNo number) {
  FileSystemCore& fs = *parts_;
  const InodeRef inode = TRY(fs.inodes.get(number));
  const DiskInode record = inode->record();
  if (!is_symlink(record)) return fail(Errc::kInvalid);
  std::string target;
  TRY(fs.volume->scan(Key(number, KeyKind::kSymlink, 0), Key(number, KeyKind::kXattr, 0),
                      [&](Key, std::span<const std::byte> chunk) {
                        target.append(reinterpret_cast<const char*>(chunk.data()), chunk.size());
                        return target.size() <= kMaxSymlinkBytes;
                      }));
  if (target.size() != record.size_bytes) {
    Error error(Errc::kCorrupt,
                "symlink " + std::to_string(number.value()) + " is not as long as its inode says; run fsck.weft");
    fs.volume->report_damage(error, false);
    return fail(std::move(error));
  }
  return target;
}

}  // namespace weft::fs
