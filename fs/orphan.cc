#include "fs/orphan.h"

#include <utility>

#include "fs/file_truncate.h"
#include "fs/format.h"

namespace weft::fs {

Reclaimer::Reclaimer(Volume& volume, InodeTable& inodes, bool background)
    : volume_(volume), inodes_(inodes), background_(background) {
  if (background_) fiber_ = sched::spawn("fs.reclaim", [this] { run(); });
}

Reclaimer::~Reclaimer() {
  {
    std::lock_guard guard(lock_);
    stop_ = true;
  }
  changed_.notify_all();
  if (fiber_.joinable()) fiber_.join();
}

void Reclaimer::add(InodeNo dead) {
  if (!background_) return reclaim(dead);
  {
    std::lock_guard guard(lock_);
    waiting_.push_back(dead);
  }
  changed_.notify_all();
}

void Reclaimer::drain() {
  std::unique_lock guard(lock_);
  changed_.wait(guard, [this] { return (waiting_.empty() && !busy_) || stop_; });
}

void Reclaimer::run() {
  std::unique_lock guard(lock_);
  while (true) {
    changed_.wait(guard, [this] { return !waiting_.empty() || stop_; });
    if (stop_) return;
    const InodeNo dead = waiting_.front();
    waiting_.pop_front();
    busy_ = true;
    guard.unlock();
    reclaim(dead);
    guard.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

void Reclaimer::reclaim(InodeNo dead) {
  // Where the volume takes no writes any more, the orphan key stays, and the next mount does this.
  if (!volume_.read_only()) static_cast<void>(reclaim_inode(volume_, dead, stop_));
  inodes_.erase(dead);
}

Result<std::vector<InodeNo>> list_orphans(Volume& volume) {
  std::vector<InodeNo> out;
  TRY(volume.scan(Key(kSystemObject, KeyKind::kOrphan, 0), Key::from_raw(0, static_cast<std::uint64_t>(KeyKind::kOrphan) << 56 | kMaxKeyOffset),
                  [&](Key key, std::span<const std::byte>) {
                    out.emplace_back(key.offset());
                    return true;
                  }));
  return out;
}

Status reclaim_inode(Volume& volume, InodeNo dead, const std::atomic<bool>& stop) {
  constexpr std::size_t kKeysPerStep = 64;
  while (!stop) {
    std::vector<Key> keys;
    bool more = false;
    bool extents = false;
    TRY(volume.scan(Key(dead, KeyKind::kInode, 0), Key::from_raw(dead.value() + 1, 0), [&](Key key, std::span<const std::byte>) {
      if (keys.size() == kKeysPerStep) {
        more = true;
        return false;
      }
      keys.push_back(key);
      extents = extents || key.kind() == KeyKind::kExtent;
      return true;
    }));
    // Many keys: first its blocks, then xattrs; the inode's own key, which comes first in order, goes with the last.
    if (more && TRY(unmap_step(volume, dead, nullptr, {FileBlock{0}, kFileBlockEnd})) == Unmapped::kSome) continue;
    if (more) std::erase_if(keys, [](Key key) { return key.kind() == KeyKind::kInode || key.kind() == KeyKind::kExtent; });
    Transaction transaction = TRY(volume.begin(Intent::kReclaim, dead, {.changes = kKeysPerStep + 2, .value_bytes = 64, .frees_space = true}));
    for (const Key key : keys) {
      if (key.kind() != KeyKind::kExtent) transaction.erase(key);
    }
    if (!more) {
      if (extents) transaction.unmap(dead, FileBlock{0}, kFileBlockEnd);
      transaction.erase(orphan_key(dead));
    }
    TRY(volume.commit(std::move(transaction)));
    if (!more) break;
  }
  return {};
}

}  // namespace weft::fs
