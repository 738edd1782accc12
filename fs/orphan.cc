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
    if (waiting_.size() >= kMostWaiting) crowded_ = true;
  }
  changed_.notify_all();
}

void Reclaimer::wait_for_room() {
  if (!crowded_) return;
  std::unique_lock guard(lock_);
  changed_.wait(guard, [this] { return !crowded_ || stop_; });
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
    if (waiting_.size() < kMostWaiting / 2) crowded_ = false;
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
  TRY(volume.scan(Key(kSystemObject, KeyKind::kOrphan, 0),
                  Key::from_raw(0, static_cast<std::uint64_t>(KeyKind::kOrphan) << 56 | kMaxKeyOffset),
                  [&](Key key, std::span<const std::byte>) {
                    out.emplace_back(key.offset());
                    return true;
                  }));
  return out;
}

Status reclaim_inode(Volume& volume, InodeNo dead, const std::atomic<bool>& stop) {
  // Never more than eight changes at once: so many fit into what is held back for deleting on a full volume.
  constexpr std::size_t kKeysAtEnd = 2;
  constexpr std::size_t kKeysPerStep = 6;
  const Key inode_key(dead, KeyKind::kInode, 0);
  while (true) {
    if (stop) return {};
    if (TRY(unmap_step(volume, dead, nullptr, {FileBlock{0}, kFileBlockEnd}, UnmapLast::kLeave)) == Unmapped::kSome)
      continue;
    std::vector<Key> keys;
    bool extents = false;
    TRY(volume.scan(Key::from_raw(dead.value(), inode_key.tag + 1), Key::from_raw(dead.value() + 1, 0),
                    [&](Key key, std::span<const std::byte>) {
                      extents = key.kind() == KeyKind::kExtent;
                      if (!extents) keys.push_back(key);
                      return !extents && keys.size() <= kKeysPerStep;
                    }));
    const bool last = keys.size() <= kKeysAtEnd;
    if (!last && keys.size() > kKeysPerStep) keys.pop_back();
    const bool there = TRY(volume.get(inode_key, [](std::span<const std::byte>) {}));
    Transaction transaction =
        TRY(volume.begin(Intent::kReclaim, dead, {.changes = 8, .value_bytes = 64, .frees_space = true}));
    for (const Key key : keys) transaction.erase(key);
    if (last) {
      if (extents) transaction.unmap(dead, FileBlock{0}, kFileBlockEnd);
      if (there) transaction.erase(inode_key);
      transaction.erase(orphan_key(dead));
    }
    TRY(volume.commit(std::move(transaction)));
    if (last) return {};
  }
}

}  // namespace weft::fs
