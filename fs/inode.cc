#include "fs/inode.h"

#include <sys/stat.h>

#include <algorithm>

#include "kernel/planted_bug.h"

namespace weft::fs {

bool is_directory(const DiskInode& record) noexcept { return S_ISDIR(record.mode.get()); }
bool is_regular(const DiskInode& record) noexcept { return S_ISREG(record.mode.get()); }
bool is_symlink(const DiskInode& record) noexcept { return S_ISLNK(record.mode.get()); }

Timespec from_disk(const DiskTime& time) noexcept {
  return {static_cast<std::int64_t>(time.seconds.get()), time.nanoseconds.get()};
}

DiskTime to_disk(Timespec time) noexcept {
  return {.seconds = static_cast<std::uint64_t>(time.seconds), .nanoseconds = time.nanoseconds};
}

Attributes attributes_of(InodeNo number, const DiskInode& record) noexcept {
  Attributes out;
  out.inode = number;
  out.mode = record.mode;
  out.links = record.links;
  out.uid = record.uid;
  out.gid = record.gid;
  out.device = record.device;
  out.flags = record.flags;
  out.project = record.project;
  out.generation = record.generation;
  out.size_bytes = record.size_bytes;
  out.sectors = record.data_blocks * (kBlockBytes / 512);
  out.version = record.version;
  out.accessed = from_disk(record.accessed);
  out.modified = from_disk(record.modified);
  out.changed = from_disk(record.changed);
  out.created = from_disk(record.created);
  return out;
}

DiskInode Inode::record() const {
  std::lock_guard guard(lock_);
  return record_;
}

Attributes Inode::attributes() const { return attributes_of(number_, record()); }

void Inode::publish(const DiskInode& record, Lsn lsn, bool data) {
  std::lock_guard guard(lock_);
  if (planted(Bug::kFdatasyncForgetsSize) && record.size_bytes != record_.size_bytes) data = false;
  record_ = record;
  access_time_pending_ = false;
  last_change_ = std::max(last_change_, lsn);
  if (data) last_data_change_ = std::max(last_data_change_, lsn);
}

void Inode::touch_accessed(Timespec now) {
  std::lock_guard guard(lock_);
  record_.accessed = to_disk(now);
  access_time_pending_ = true;
}

bool Inode::access_time_pending() const {
  std::lock_guard guard(lock_);
  return access_time_pending_;
}

void Inode::give_up_access_time() {
  std::lock_guard guard(lock_);
  access_time_pending_ = false;
}

Lsn Inode::last_change() const {
  std::lock_guard guard(lock_);
  return last_change_;
}

Lsn Inode::last_data_change() const {
  std::lock_guard guard(lock_);
  return last_data_change_;
}

Inode::WriteHint Inode::write_hint() const {
  std::lock_guard guard(lock_);
  return hint_;
}

void Inode::set_write_hint(WriteHint hint) {
  std::lock_guard guard(lock_);
  hint_ = hint;
}

}  // namespace weft::fs
