#include "fs/fuse/stale_blocks.h"

#include <utility>

#include "sched/offload.h"

namespace weft::fs::fuse {

void StaleBlocks::note(InodeNo inode) {
  const std::lock_guard guard(lock_);
  if (noted_.size() < kMost) noted_.insert(inode);
}

void StaleBlocks::tell(ReplySink& kernel) {
  std::unordered_set<InodeNo> stale;
  {
    const std::lock_guard guard(lock_);
    stale = std::exchange(noted_, {});
  }
  if (stale.empty()) return;
  sched::blocking([&] {
    for (const InodeNo inode : stale) forget_attributes(kernel, inode);
  });
}

}  // namespace weft::fs::fuse
