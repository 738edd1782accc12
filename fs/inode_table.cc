#include "fs/inode_table.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace weft::fs {

InodeRef::~InodeRef() {
  if (inode_ != nullptr) table_->unpin(*inode_);
}

InodeTable::InodeTable(Volume& volume, std::uint64_t idle_limit, bool claimed, Hooks hooks)
    : volume_(volume),
      idle_limit_per_shard_(std::max<std::uint64_t>(idle_limit / kShards, 4)),
      claimed_(claimed),
      hooks_(std::move(hooks)),
      cached_gauge_(volume.metrics().gauge("fs.inodes.cached", "inodes in memory")),
      referred_gauge_(volume.metrics().gauge("fs.inodes.referred", "inodes that the kernel holds references to")) {}

InodeTable::~InodeTable() {
  cached_gauge_.add(-static_cast<std::int64_t>(cached_count()));
  referred_gauge_.add(-static_cast<std::int64_t>(referred_count()));
}

std::uint64_t InodeTable::cached_count() const noexcept { return cached_.load(std::memory_order_relaxed); }
std::uint64_t InodeTable::referred_count() const noexcept { return referred_.load(std::memory_order_relaxed); }

void InodeTable::count_cached(std::int64_t change) noexcept {
  cached_.fetch_add(static_cast<std::uint64_t>(change), std::memory_order_relaxed);
  cached_gauge_.add(change);
}

void InodeTable::count_referred(std::int64_t change) noexcept {
  referred_.fetch_add(static_cast<std::uint64_t>(change), std::memory_order_relaxed);
  referred_gauge_.add(change);
}

void InodeTable::link_idle(Shard& shard, Inode& inode) noexcept {
  inode.idle_ = true;
  inode.older_ = shard.newest;
  (shard.newest != nullptr ? shard.newest->newer_ : shard.oldest) = &inode;
  shard.newest = &inode;
  ++shard.idle;
}

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
      count_cached(+1);
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
    Inode& made = *inode;
    made.load_.lock();
    {
      std::lock_guard guard(shard.lock);
      if (shard.inodes.try_emplace(number.value(), std::move(inode)).second) {
        count_cached(+1);
        hold(shard, made);
        return Newborn(*this, InodeRef(*this, made));
      }
    }
    made.load_.unlock();  // a forged handle has just asked for this very number: take the next
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
  Shard& shard = shard_of(inode.number());
  std::lock_guard guard(shard.lock);
  if (!shard.references.has(inode.number())) count_referred(+1);
  shard.references.add(inode.number(), 1);
}

bool InodeTable::referred(const Inode& inode) {
  Shard& shard = shard_of(inode.number());
  std::lock_guard guard(shard.lock);
  return is_held(shard, inode);
}

bool InodeTable::is_held(const Shard& shard, const Inode& inode) noexcept {
  return inode.claimed_ || shard.references.has(inode.number());
}

void InodeTable::forget(InodeNo number, std::uint64_t references) { take_back(number, references, true); }
void InodeTable::give_back(InodeNo number) { take_back(number, 1, false); }

// `all`: with no reference left that we know of, there is none.
void InodeTable::take_back(InodeNo number, std::uint64_t references, bool all) {
  Shard& shard = shard_of(number);
  {
    std::lock_guard guard(shard.lock);
    if (shard.references.has(number)) {
      if (shard.references.take(number, references) != 0) return;
      count_referred(-1);
    }
    const auto at = shard.inodes.find(number.value());
    if (at == shard.inodes.end()) return;  // with links, else it would have stayed
    Inode& inode = *at->second;
    if (all) inode.claimed_ = false;
    if (inode.pins_ > 0 || inode.claimed_ || inode.reclaiming_ || inode.state_ != Inode::State::kReady ||
        inode.record().links != 0)
      return;
    inode.reclaiming_ = true;
  }
  hooks_.on_dead(number);
}

std::unique_ptr<Inode> InodeTable::take_out(Shard& shard, InodeNo number) {
  const auto at = shard.inodes.find(number.value());
  if (at == shard.inodes.end()) return nullptr;
  std::unique_ptr<Inode> inode = std::move(at->second);
  shard.inodes.erase(at);
  count_cached(-1);
  return inode;
}

// Things that are known of it here only, and for a while.
bool InodeTable::must_stay(const Shard& shard, const Inode& inode) noexcept {
  return inode.truncate_pending || inode.data_in_flight != 0 || (inode.data_times_due && is_held(shard, inode));
}

Inode* InodeTable::oldest_to_leave(Shard& shard) noexcept {
  constexpr int kTries = 8;
  for (int tries = 0; tries < kTries; ++tries) {
    Inode& oldest = *shard.oldest;
    unlink_idle(shard, oldest);
    if (!must_stay(shard, oldest)) return &oldest;
    link_idle(shard, oldest);
  }
  return nullptr;
}

void InodeTable::unpin(Inode& inode) {
  Inode* leaving = drop_pin(inode, true);
  if (leaving == nullptr) return;
  hooks_.on_leaving(*leaving);
  drop_pin(*leaving, false);
}

// `stay`: as one of the idle, if it can. Returns one that has to leave for that and has a time to be written first, pinned.
Inode* InodeTable::drop_pin(Inode& inode, bool stay) {
  const InodeNo number = inode.number();
  Shard& shard = shard_of(number);
  std::unique_ptr<Inode> leaves;  // freed outside the lock
  {
    std::lock_guard guard(shard.lock);
    if (--inode.pins_ > 0 || inode.reclaiming_) return nullptr;
    const bool may_leave =
        !stay && inode.record().links != 0 && !inode.access_time_pending() && !must_stay(shard, inode);
    if (inode.state_ != Inode::State::kReady || may_leave) {
      leaves = take_out(shard, number);
      return nullptr;
    }
    if (inode.record().links != 0) {
      link_idle(shard, inode);
      if (!stay || shard.idle <= idle_limit_per_shard_) return nullptr;
      Inode* const oldest = oldest_to_leave(shard);
      if (oldest == nullptr) return nullptr;
      if (oldest->access_time_pending()) {
        ++oldest->pins_;
        return oldest;
      }
      leaves = take_out(shard, oldest->number());
      return nullptr;
    }
    if (is_held(shard, inode)) return nullptr;
    inode.reclaiming_ = true;
  }
  hooks_.on_dead(number);
  return nullptr;
}

std::vector<InodeNo> InodeTable::idle_references(std::size_t limit) {
  constexpr std::size_t kSlotsAtATime = 512;
  std::vector<InodeNo> found;
  for (std::size_t shards = 0; shards < kShards && found.size() < limit; ++shards, ++sweep_shard_) {
    Shard& shard = shards_[sweep_shard_ % kShards];
    for (std::size_t swept = 0; found.size() < limit; swept += kSlotsAtATime) {
      std::lock_guard guard(shard.lock);
      const std::size_t slots = shard.references.slots();
      if (swept >= slots) break;
      shard.references.sweep(shard.sweep_hand, std::min(slots - swept, kSlotsAtATime), [&](InodeNo number) {
        if (!shard.inodes.contains(number.value())) found.push_back(number);
        return found.size() < limit;
      });
    }
  }
  return found;
}

void InodeTable::erase(InodeNo number) {
  Shard& shard = shard_of(number);
  std::unique_ptr<Inode> leaves;
  std::lock_guard guard(shard.lock);
  leaves = take_out(shard, number);
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
