#include "fs/file_system_core.h"

#include <sys/stat.h>

#include <algorithm>

#include "kernel/bytes.h"
#include "kernel/check.h"

namespace weft::fs {

FileSystemCore::FileSystemCore(std::unique_ptr<Volume> opened, const FileSystemOptions& how)
    : options(how),
      volume(std::move(opened)),
      hash(volume->hash_seed()),
      inodes(*volume, how.inode_cache, how.takes_over,
             {.on_dead = [this](InodeNo dead) { reclaimer.add(dead); },
              .on_leaving =
                  [this](Inode& inode) {
                    if (!write_access_time(*this, inode)) inode.give_up_access_time();
                  }}),
      reclaimer(*volume, inodes, how.volume.background) {}

ChangeGuard::ChangeGuard(std::initializer_list<Inode*> inodes) {
  for (Inode* inode : inodes) {
    if (inode == nullptr || std::find(held_.begin(), held_.begin() + count_, inode) != held_.begin() + count_) continue;
    WEFT_CHECK(count_ < held_.size());
    held_[count_++] = inode;
  }
  std::sort(held_.begin(), held_.begin() + count_, [](Inode* a, Inode* b) { return a->number() < b->number(); });
  for (std::size_t i = 0; i < count_; ++i) held_[i]->change.lock();
}

ChangeGuard::~ChangeGuard() {
  while (count_ > 0) held_[--count_]->change.unlock();
}

Status write_access_time(FileSystemCore& fs, Inode& inode) {
  if (!inode.access_time_pending() || inode.record().links == 0) return {};
  Transaction transaction =
      TRY(fs.volume->begin(Intent::kSetAttributes, inode.number(), {.changes = 1, .value_bytes = sizeof(DiskInode)}));
  ChangeGuard change{&inode};
  const DiskInode record = inode.record();
  put_inode(transaction, inode, record);
  inode.publish(record, TRY(fs.volume->commit(std::move(transaction))), false);
  return {};
}

void mark_changed(DiskInode& record, Timespec now) {
  record.changed = to_disk(now);
  record.version = record.version + 1;
}

void mark_modified(DiskInode& record, Timespec now) {
  record.modified = to_disk(now);
  mark_changed(record, now);
}

void mark_data_changed(const FileSystemCore& fs, DiskInode& record) {
  if (fs.data_times_are_callers.load(std::memory_order_relaxed)) {
    record.version = record.version + 1;
  } else {
    mark_modified(record, fs.now());
  }
}

Status refuse_flags(const DiskInode& record, std::uint32_t flags) {
  if ((record.flags & flags) != 0) return fail(Errc::kNotPermitted);
  return {};
}

void put_inode(Transaction& transaction, const Inode& inode, const DiskInode& record) {
  transaction.put(inode.key(), as_bytes_of(record));
}

Status require_regular(const DiskInode& record) {
  if (is_regular(record)) return {};
  return fail(is_directory(record) ? Errc::kIsDirectory : Errc::kInvalid);
}

bool clear_set_id(DiskInode& record) {
  const std::uint32_t mode = record.mode;
  std::uint32_t kept = mode & ~static_cast<std::uint32_t>(S_ISUID);
  if ((mode & S_IXGRP) != 0) kept &= ~static_cast<std::uint32_t>(S_ISGID);
  record.mode = kept;
  return kept != mode;
}

Status settle(FileSystemCore& fs, const DiskInode& record, std::uint32_t flags, Lsn lsn) {
  if ((record.flags & flags) == 0) return {};
  return fs.volume->make_durable(lsn);
}

}  // namespace weft::fs
