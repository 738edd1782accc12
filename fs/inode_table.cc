#include "fs/inode_table.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace weft::fs {

InodeRef::~InodeRef() {
  if (inode_ != nullptr) table_->unpin(*inode_);
}

InodeTable::InodeTable(Volume& volume, std::uint64_t idle_limit, bool claimed,
                       std::move_only_function<void(InodeNo)> on_dead)
    : volume_(volume),
      idle_limit_per_shard_(std::max<std::uint64_t>(idle_limit / kShards, 4)),
      claimed_(claimed),
      on_dead_(std::move(on_dead)) {}

InodeTable::~InodeTable() = default;

void InodeTable::unlink_idle(Shard& shard, Inode& inode) noexcept {
  if (!inode.idle_) return;
  (inode.newer_ != nullptr ? inode.newer_->older_ : shard.newest) = inode.older_;
  (inode.older_ != nullptr ? inode.older_->newer_ : shard.oldest) = inode.newer_;
  inode.newer_ = inode.older_ = nullptr;
  inode.idle_ = false;
  --shard.idle;
}

void InodeTable::hold(Shard& shard, Inode& inode) noexcept {
  unlink_idle(shard, inode);
  ++inode.pins_;
}

Result<InodeRef> InodeTable::get(InodeNo number) {
  Shard& shard = shard_of(number);
  Inode* inode;
  {
    std::lock_guard guard(shard.lock);
    auto& slot = shard.inodes[number.value()];
    if (slot == nullptr) {
      slot = std::make_unique<Inode>(number);
      slot->claimed_ = claimed_;
    }
    inode = slot.get();
    if (inode->reclaiming_) return fail(Errc::kStale);
    hold(shard, *inode);
  }
  InodeRef ref(*this, *inode);
  if (inode->state_.load(std::memory_order_acquire) != Inode::State::kReady) TRY(load(*inode));
  return ref;
}

Result<void> InodeTable::load(Inode& inode) {
  std::lock_guard guard(inode.load_);
  if (inode.state_ == Inode::State::kReady) return {};
  if (inode.state_ == Inode::State::kGone) return fail(Errc::kStale);
  bool sound = false;
  DiskInode record;
  // What was committed before the record was read may have been about it.
  const Lsn before = volume_.committed();
  const bool found = TRY(volume_.get(inode.key(), [&](std::span<const std::byte> value) {
    if (value.size() != sizeof record) return;
    std::memcpy(&record, value.data(), sizeof record);
    sound = true;
  }));
  if (!found) {
    inode.state_ = Inode::State::kGone;
    return fail(Errc::kStale);
  }
  if (!sound) {
    Error error(Errc::kCorrupt,
                "inode " + std::to_string(inode.number().value()) + ": its record has the wrong size; run fsck.weft");
    volume_.report_damage(error, false);
    return fail(std::move(error));
  }
  {
    std::lock_guard fields(inode.lock_);
    inode.record_ = record;
    inode.last_change_ = inode.last_data_change_ = std::max(before, volume_.committed());
  }
  inode.state_.store(Inode::State::kReady, std::memory_order_release);
  return {};
}

Result<InodeTable::Newborn> InodeTable::add_new() {
  while (true) {
    const InodeNo number = TRY(volume_.new_inode());
    Shard& shard = shard_of(number);
    auto inode = std::make_unique<Inode>(number);
    inode->load_.lock();
    Inode& there = *inode;
    bool placed = false;
    {
      std::lock_guard guard(shard.lock);
      auto& slot = shard.inodes[number.value()];
      if (slot == nullptr) {
        slot = std::move(inode);
        hold(shard, there);
        placed = true;
      }
    }
    if (placed) return Newborn(*this, InodeRef(*this, there));
    there.load_.unlock();  // a forged handle has just asked for this very number: take the next
  }
}

InodeRef InodeTable::Newborn::ready(const DiskInode& record, Lsn lsn) {
  ref_->publish(record, lsn, true);
  ref_->maybe_unwritten = false;
  ref_->maybe_capability = false;  // inherited are ACLs only
  ref_->state_.store(Inode::State::kReady, std::memory_order_release);
  ref_->load_.unlock();
  return std::move(ref_);
}

InodeTable::Newborn::~Newborn() {
  if (!ref_) return;
  ref_->state_ = Inode::State::kGone;
  ref_->load_.unlock();
}

void InodeTable::refer(Inode& inode) {
  std::lock_guard guard(shard_of(inode.number()).lock);
  ++inode.references_;
}

bool InodeTable::referred(const Inode& inode) {
  std::lock_guard guard(shard_of(inode.number()).lock);
  return inode.references_ > 0 || inode.claimed_;
}

void InodeTable::forget(InodeNo number, std::uint64_t references) {
  release(number, [&](Inode& inode) {
    inode.references_ -= std::min(references, inode.references_);
    if (inode.references_ == 0) inode.claimed_ = false;
  });
}

void InodeTable::give_back(InodeNo number) {
  release(number, [](Inode& inode) { inode.references_ -= std::min<std::uint64_t>(1, inode.references_); });
}

void InodeTable::unpin(Inode& inode) {
  release(inode.number(), [](Inode& held) { --held.pins_; });
}

void InodeTable::release(InodeNo number, FunctionRef<void(Inode&)> take_back) {
  Shard& shard = shard_of(number);
  std::unique_ptr<Inode> leaves;  // freed outside the lock
  bool dead = false;
  {
    std::lock_guard guard(shard.lock);
    const auto at = shard.inodes.find(number.value());
    if (at == shard.inodes.end()) return;
    Inode& inode = *at->second;
    take_back(inode);
    if (inode.pins_ > 0 || inode.references_ > 0 || inode.reclaiming_ || inode.idle_) return;
    if (inode.state_ != Inode::State::kReady) {
      leaves = std::move(at->second);
      shard.inodes.erase(at);
    } else if (inode.record().links == 0) {
      if (inode.claimed_) return;
      inode.reclaiming_ = true;
      dead = true;
    } else {
      inode.idle_ = true;
      inode.older_ = shard.newest;
      (shard.newest != nullptr ? shard.newest->newer_ : shard.oldest) = &inode;
      shard.newest = &inode;
      if (++shard.idle > idle_limit_per_shard_) {
        Inode& last = *shard.oldest;
        unlink_idle(shard, last);
        const auto gone = shard.inodes.find(last.number().value());
        leaves = std::move(gone->second);
        shard.inodes.erase(gone);
      }
    }
  }
  if (dead) on_dead_(number);
}

void InodeTable::erase(InodeNo number) {
  Shard& shard = shard_of(number);
  std::unique_ptr<Inode> leaves;
  std::lock_guard guard(shard.lock);
  const auto at = shard.inodes.find(number.value());
  if (at == shard.inodes.end()) return;
  leaves = std::move(at->second);
  shard.inodes.erase(at);
}

void InodeTable::for_each(FunctionRef<void(Inode&)> visit) {
  for (Shard& shard : shards_) {
    std::vector<InodeNo> numbers;
    {
      std::lock_guard guard(shard.lock);
      numbers.reserve(shard.inodes.size());
      for (const auto& [number, inode] : shard.inodes) numbers.emplace_back(number);
    }
    for (const InodeNo number : numbers) {
      if (auto ref = get(number)) visit(**ref);
    }
  }
}

}  // namespace weft::fs
