// fs/inode.h - an inode in memory: its record, its locks, and who holds it.
//
//   ops -> [inode, inode_table] -> volume
//
// The record in memory is the truth for readers. A change is: locks, Volume::begin, `change` of every inode concerned,
// Volume::commit, publish(). As `change` is held from reading the record to publishing its successor, nobody sees or builds
// upon a half state.
//
// Invariants  I1  record() equals what the volume holds under (number, kInode), but for times of access not yet written
//             I2  last_change() is at or past the Lsn of every transaction that touched the inode
//             I3  Volume::begin is never called with a `change` held: what waits there for room in the log may wait for
//                 transactions whose next step is to take one
// Locks       content (directories ascending by number, then files) -> Volume::begin -> change (all ascending by number)
//             -> lock_, which is held for a copy only
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "fs/file_system.h"
#include "fs/format.h"
#include "fs/key.h"
#include "fs/lock_ranks.h"
#include "fs/types.h"
#include "kernel/clock.h"
#include "sched/mutex.h"

namespace weft::fs {

class Inode {
 public:
  explicit Inode(InodeNo number) noexcept : change(kInodeChangeLock, number.value()), number_(number) {}
  Inode(const Inode&) = delete;
  Inode& operator=(const Inode&) = delete;

  // Guards the names of a directory, the mapping and size of a file. Writers of whole blocks hold it shared: each
  // block changes over as a whole, when its transaction commits.
  sched::SharedMutex content{kInodeContentLock};
  // Serialises changes of the record.
  sched::Mutex change;

  [[nodiscard]] InodeNo number() const noexcept { return number_; }
  [[nodiscard]] Key key() const noexcept { return {number_, KeyKind::kInode, 0}; }

  // None of these parks.
  [[nodiscard]] DiskInode record() const;
  [[nodiscard]] Attributes attributes() const;
  // `data`: fdatasync waits for it too.
  void publish(const DiskInode& record, Lsn lsn, bool data);
  // A time of access: in memory at once, on the device with the next change, when the inode leaves memory, or at unmount.
  void touch_accessed(Timespec now);
  [[nodiscard]] bool access_time_pending() const;
  void give_up_access_time();  // it cannot be written
  [[nodiscard]] Lsn last_change() const;
  [[nodiscard]] Lsn last_data_change() const;

  // Where the last block written lies and which block of the file it was: the next goes behind it.
  struct WriteHint {
    FileBlock file_block;
    BlockNo block;
  };
  [[nodiscard]] WriteHint write_hint() const;
  void set_write_hint(WriteHint hint);

  // Blocks past the end still await unmapping (guarded by content, exclusive): see fs/file_truncate.cc.
  std::atomic<bool> truncate_pending = false;
  // False only if no block of the file is reserved but unwritten: then writers need not look (changes with content held exclusively).
  std::atomic<bool> maybe_unwritten = true;
  // False only if there is no security.capability, which the kernel asks for before each write.
  std::atomic<bool> maybe_capability = true;
  // It has become immutable, and the caller may still bring the time of what it had written before.
  std::atomic<bool> data_times_due = false;
  // Writes of its data that are mapped and not on the device yet (fs/data_in_flight.h).
  std::atomic<std::uint32_t> data_in_flight = 0;
  // Made by O_TMPFILE: may get a first link although it has none.
  std::atomic<bool> linkable = false;

 private:
  friend class InodeTable;

  const InodeNo number_;

  mutable std::mutex lock_;  // for a copy; never held across anything that may park
  DiskInode record_{};
  Lsn last_change_;
  Lsn last_data_change_;
  WriteHint hint_{};
  bool access_time_pending_ = false;

  // The table's, guarded by its shard.
  bool claimed_ = false;     // the caller may have references that an earlier mount gave
  std::uint32_t pins_ = 0;   // of operations under way
  bool reclaiming_ = false;  // no links, nobody holds it: about to vanish
  Inode* newer_ = nullptr;   // in the list of those that nobody holds
  Inode* older_ = nullptr;
  bool idle_ = false;

  // Loading. load_ is held while the record is read or, for a new inode, until its transaction has committed.
  enum class State : std::uint8_t { kEmpty, kReady, kGone };
  sched::Mutex load_;
  std::atomic<State> state_ = State::kEmpty;
};

// The type bits of a mode, as in <sys/stat.h>.
[[nodiscard]] bool is_directory(const DiskInode& record) noexcept;
[[nodiscard]] bool is_regular(const DiskInode& record) noexcept;
[[nodiscard]] bool is_symlink(const DiskInode& record) noexcept;

[[nodiscard]] Timespec from_disk(const DiskTime& time) noexcept;
[[nodiscard]] DiskTime to_disk(Timespec time) noexcept;
[[nodiscard]] Attributes attributes_of(InodeNo number, const DiskInode& record) noexcept;

}  // namespace weft::fs
