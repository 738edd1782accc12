// fs/lock_ranks.h - the one order in which the file system's locks are taken, from the operation down to the journal.
//
// Checked in sanitizer builds (sched/lock_place.h). Locks that are not here are leaves, or taken with none of these held.
#pragma once

#include "kernel/lock_order.h"

namespace weft::fs {

inline constexpr LockRank kRenameLock{10, "rename"};
inline constexpr LockRank kInodeContentLock{20, "inode content"};
// Volume::begin() waits for a checkpoint here, hence never with an inode's change held (I3 of fs/inode.h); commit() may run one.
inline constexpr LockRank kInodeChangeLock{30, "inode change"};  // ascending by number
inline constexpr LockRank kCheckpointLock{40, "checkpoint"};
inline constexpr LockRank kTreeLock{50, "tree"};
inline constexpr LockRank kAllocatorLock{60, "allocator"};
inline constexpr LockRank kFlushLock{70, "journal flush"};
inline constexpr LockRank kJournalLock{80, "journal"};

}  // namespace weft::fs
