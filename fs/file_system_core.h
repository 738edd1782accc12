// fs/file_system_core.h - what the operations of a mounted file system share. Internal to fs/ops_*, fs/file_*, fs/orphan.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include "fs/directory.h"
#include "fs/file_system.h"
#include "fs/inode.h"
#include "fs/inode_table.h"
#include "fs/lock_ranks.h"
#include "fs/name_hash.h"
#include "fs/orphan.h"
#include "fs/volume.h"
#include "sched/mutex.h"

namespace weft::fs {

struct FileSystemCore {
  FileSystemCore(std::unique_ptr<Volume> opened, const FileSystemOptions& how);

  FileSystemOptions options;
  std::unique_ptr<Volume> volume;
  NameHash hash;
  // Taken first by whatever moves a directory to another parent: with it held no directory changes its parent, so
  // that a walk up to the root means something.
  sched::Mutex rename_lock{kRenameLock};
  InodeTable inodes;
  Reclaimer reclaimer;  // after `inodes`: it stops first

  // See FileSystem::leave_data_times_to_caller().
  std::atomic<bool> data_times_are_callers = false;

  [[nodiscard]] Timespec now() const noexcept { return volume->clock().wall(); }
};

// FileSystem's own name for it.
struct FileSystem::Parts : FileSystemCore {
  using FileSystemCore::FileSystemCore;
};

// Holds `change` of several inodes (at most five, null and repeated ones allowed), taken ascending by number.
class ChangeGuard {
 public:
  ChangeGuard(std::initializer_list<Inode*> inodes);
  ~ChangeGuard();
  ChangeGuard(const ChangeGuard&) = delete;
  ChangeGuard& operator=(const ChangeGuard&) = delete;

 private:
  std::array<Inode*, 5> held_{};
  std::size_t count_ = 0;
};

// The time of access that only memory knows, if there is one, to the volume.
Status write_access_time(FileSystemCore& fs, Inode& inode);

// Marks `record` as changed now: ctime and version.
void mark_changed(DiskInode& record, Timespec now);
// ... and modified: mtime as well.
void mark_modified(DiskInode& record, Timespec now);

// The data of `record`'s file has changed: as modified, or the version alone where the caller keeps the times.
void mark_data_changed(const FileSystemCore& fs, DiskInode& record);

// kNotPermitted where the inode is immutable (or append-only) and the operation is not for such.
Status refuse_flags(const DiskInode& record, std::uint32_t flags);

void put_inode(Transaction& transaction, const Inode& inode, const DiskInode& record);

// kIsDirectory, kInvalid: not something with data.
Status require_regular(const DiskInode& record);

// set-uid goes; set-gid too where group may execute (without that it means mandatory locking). False: there was none.
bool clear_set_id(DiskInode& record);

// For inodes with the sync flag: durable before the operation returns.
Status settle(FileSystemCore& fs, const DiskInode& record, std::uint32_t flags, Lsn lsn);

}  // namespace weft::fs
