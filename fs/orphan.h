// fs/orphan.h - ends inodes that have neither links nor holders: in bounded steps, so that any of them may be the last
// before a crash.
//
//   inode_table (last holder gone) -> [orphan] -> file_truncate, volume
//
// The transaction that takes an inode's last link puts its kOrphan key. Reclaiming unmaps its blocks, a few extents
// a transaction; the last step erases what else it has together with inode and orphan key. A crash in between leaves
// an orphan that is shorter, which mounting ends. With a link, a kOrphan key says that blocks past the end of a truncated file
// await unmapping (fs/file_truncate.h); mounting does that before it lets anybody in.
//
// Locks       none of an inode: nobody else can reach it any more
// Parks       run by a fiber of its own where `background`, else add() does the work itself
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <vector>

#include "fs/inode_table.h"
#include "fs/types.h"
#include "fs/volume.h"
#include "sched/condition_variable.h"
#include "sched/mutex.h"
#include "sched/spawn.h"

namespace weft::fs {

class Reclaimer {
 public:
  Reclaimer(Volume& volume, InodeTable& inodes, bool background);
  ~Reclaimer();  // stops after the step under way

  void add(InodeNo dead);
  // For those whose work may bring more of the dead, before they take a lock: parks while there are very many already, each of
  // which takes the memory of an inode.
  void wait_for_room();
  // Returns when everything added has been dealt with.
  void drain();

 private:
  void run();
  void reclaim(InodeNo dead);

  Volume& volume_;
  InodeTable& inodes_;
  const bool background_;

  static constexpr std::size_t kMostWaiting = 1024;

  sched::Mutex lock_;
  sched::ConditionVariable changed_;
  std::deque<InodeNo> waiting_;
  std::atomic<bool> crowded_ = false;  // kMostWaiting are
  bool busy_ = false;
  std::atomic<bool> stop_ = false;
  sched::Fiber fiber_;
};

// Every kOrphan key of the volume.
Result<std::vector<InodeNo>> list_orphans(Volume& volume);
// Ends the inode for good. `stop` is asked between steps.
Status reclaim_inode(Volume& volume, InodeNo dead, const std::atomic<bool>& stop);

[[nodiscard]] inline Key orphan_key(InodeNo inode) noexcept { return {kSystemObject, KeyKind::kOrphan, inode.value()}; }

}  // namespace weft::fs
