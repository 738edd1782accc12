#include "fs/allocator.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "kernel/check.h"
#include "kernel/planted_bug.h"

namespace weft::fs {

namespace {

// Groups that a search for data looks into before it makes do with the longest run it has seen.
constexpr std::uint32_t kSearchGroups = 8;
// A run right behind the goal is taken even if shorter than wanted, when it has this many blocks.
constexpr std::uint32_t kWorthwhileRun = 16;
// One part in so many of each group is left to tree nodes as long as there is room for data elsewhere.
constexpr std::uint32_t kMetadataShare = 16;
// Groups looked at for one whose bitmap can go, whenever something is reserved.
constexpr std::size_t kDroppedAtATime = 32;
// Blocks that trim may withhold at a time.
constexpr std::uint32_t kTrimChunk = 8192;

void append_range(std::vector<BlockRange>& ranges, BlockRange range) {
  if (!ranges.empty() && ranges.back().end() == range.start) {
    ranges.back().count += range.count;
  } else {
    ranges.push_back(range);
  }
}

}  // namespace

// ------------------------------------------------------------------------------------------------ reservation

Reservation::Reservation(Reservation&& other) noexcept
    : allocator_(std::exchange(other.allocator_, nullptr)),
      data_(std::exchange(other.data_, 0)),
      metadata_(std::exchange(other.metadata_, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    release();
    allocator_ = std::exchange(other.allocator_, nullptr);
    data_ = std::exchange(other.data_, 0);
    metadata_ = std::exchange(other.metadata_, 0);
  }
  return *this;
}

void Reservation::release() noexcept {
  if (allocator_ == nullptr) return;
  {
    const std::lock_guard lock(allocator_->lock_);
    allocator_->reserved_data_ -= data_;
    allocator_->reserved_metadata_ -= metadata_;
  }
  allocator_ = nullptr;
  data_ = metadata_ = 0;
}

// ------------------------------------------------------------------------------------------------------ groups

Allocator::Allocator(AllocatorConfig config, BitmapSource& source)
    : source_(source),
      config_(std::move(config)),
      groups_(config_.free_counts.size()),
      metadata_cursor_(config_.first_block) {
  WEFT_CHECK(config_.free_counts.size() == (config_.block_count + kBlocksPerGroup - 1) / kBlocksPerGroup);
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    groups_[group].free = config_.free_counts[group];
    free_ += groups_[group].free;
  }
  allocatable_ = free_;
  data_cursor_ = config_.first_block;
}

Allocator::~Allocator() = default;

bool Allocator::in_data_area(BlockRange range) const noexcept {
  return range.start >= config_.first_block && range.start < config_.end_block &&
         range.count <= config_.end_block - range.start;
}

// Splits `range` (within the data area) where groups end: part(group, first bit, bits).
template <typename F>
void Allocator::for_each_part(BlockRange range, F&& part) {
  while (range.count != 0) {
    const std::uint32_t first = static_cast<std::uint32_t>(range.start.value() % kBlocksPerGroup);
    const std::uint32_t count =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(range.count, kBlocksPerGroup - first));
    part(group_of(range.start), first, count);
    range = {range.start + count, range.count - count};
  }
}

void Allocator::mark_changed(std::uint32_t group) {
  if (std::exchange(groups_[group].changed, true)) return;
  changed_.push_back(group);
  changed_groups_.fetch_add(1, std::memory_order_relaxed);
}

// lock_ is held, and stays so while the bitmap is read: whoever comes meanwhile most likely wants the same one.
Status Allocator::load(std::uint32_t group) {
  Group& entry = groups_[group];
  if (entry.maps != nullptr) return {};
  const PageRef page = PageRef::make_zeroed();
  TRY(source_.load_bitmap(group, page.bytes()));
  auto maps = std::make_unique<AllocatorGroup>();
  maps->used.load(page.bytes());

  const std::uint64_t start = std::uint64_t{group} * kBlocksPerGroup;
  const auto outside = [&](std::uint64_t from, std::uint64_t to) {  // blocks of the group that must not look free
    from = std::clamp(from, start, start + kBlocksPerGroup);
    to = std::clamp(to, start, start + kBlocksPerGroup);
    return to <= from || maps->used.count_set(static_cast<std::uint32_t>(from - start),
                                              static_cast<std::uint32_t>(to - from)) == to - from;
  };
  if (!outside(0, config_.first_block.value()) || !outside(config_.end_block.value(), ~std::uint64_t{0})) {
    return fail(Errc::kCorrupt,
                "allocation group " + std::to_string(group) + ": fixed blocks are marked free; run fsck.weft");
  }

  std::uint64_t deferred_blocks = 0;
  const auto deferred = deferred_.find(group);
  if (deferred != deferred_.end()) {
    for (const BlockRange& range : deferred->second) deferred_blocks += range.count;
  }
  const std::uint32_t free_on_disk = kBlocksPerGroup - maps->used.count_set();
  if (free_on_disk + deferred_blocks != entry.free) {
    return fail(Errc::kCorrupt, "allocation group " + std::to_string(group) + ": bitmap has " +
                                    std::to_string(free_on_disk) + " free blocks, group table says " +
                                    std::to_string(entry.free - deferred_blocks) + "; run fsck.weft");
  }
  maps->busy = maps->used;
  std::uint32_t newly_busy = 0;
  if (deferred != deferred_.end()) {
    for (const BlockRange& range : deferred->second) {
      const auto first = static_cast<std::uint32_t>(range.start.value() - start);
      const auto count = static_cast<std::uint32_t>(range.count);
      // A damaged tree may have freed what was free already: take it out of the sums, and keep the block busy until thaw().
      const std::uint32_t were_free = count - maps->used.count_set(first, count);
      entry.free -= were_free;
      free_ -= were_free;
      newly_busy += count - maps->busy.count_set(first, count);
      maps->busy.set(first, count);
      maps->used.clear(first, count);
    }
    deferred_.erase(deferred);
  }
  allocatable_ -= newly_busy;
  loaded_allocatable_ += kBlocksPerGroup - maps->busy.count_set();
  entry.maps = std::move(maps);
  ++loaded_groups_;
  return {};
}

// So many blocks free in loaded groups, or all groups that have any are loaded.
Status Allocator::load_more(std::uint64_t allocatable) {
  const std::uint32_t start = group_of(metadata_cursor_);
  for (std::uint32_t i = 0; i < groups_.size() && loaded_allocatable_ < allocatable; ++i) {
    const auto group = static_cast<std::uint32_t>((start + i) % groups_.size());
    if (groups_[group].maps == nullptr && groups_[group].free != 0) TRY(load(group));
  }
  return {};
}

Status Allocator::load_deferred() {
  while (!deferred_.empty()) TRY(load(deferred_.begin()->first));
  return {};
}

// The part of a group's data area that is left to nodes first, [first, second), and the end of its data area.
Allocator::Zone Allocator::zone_of(std::uint32_t group) const noexcept {
  const std::uint64_t start = std::uint64_t{group} * kBlocksPerGroup;
  const std::uint64_t begin = std::clamp(config_.first_block.value(), start, start + kBlocksPerGroup) - start;
  const std::uint64_t end = std::clamp(config_.end_block.value(), start, start + kBlocksPerGroup) - start;
  return {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(begin + (end - begin) / kMetadataShare),
          static_cast<std::uint32_t>(end)};
}

// ------------------------------------------------------------------------------------------- reserve, allocate

Result<Reservation> Allocator::reserve(std::uint64_t data_blocks, std::uint64_t metadata_blocks, bool frees_space) {
  const std::lock_guard lock(lock_);
  drop_clean_groups(kDroppedAtATime);
  if (data_blocks > config_.block_count || metadata_blocks > config_.block_count) return fail(Errc::kNoSpace);
  const std::uint64_t promised = reserved_data_ + reserved_metadata_ + data_blocks + metadata_blocks;
  if (promised + (frees_space ? 0 : held_back_) > allocatable_) return fail(Errc::kNoSpace);
  TRY(load_more(reserved_metadata_ + metadata_blocks));
  Reservation reservation;
  reservation.allocator_ = this;
  reservation.data_ = data_blocks;
  reservation.metadata_ = metadata_blocks;
  reserved_data_ += data_blocks;
  reserved_metadata_ += metadata_blocks;
  return reservation;
}

BlockRange Allocator::take(std::uint32_t group, GroupRun run) {
  groups_[group].maps->busy.set(run.first, run.count);
  allocatable_ -= run.count;
  loaded_allocatable_ -= run.count;
  return {BlockNo(std::uint64_t{group} * kBlocksPerGroup + run.first), run.count};
}

Result<BlockRange> Allocator::allocate(Reservation& from, BlockNo goal, std::uint64_t want) {
  WEFT_CHECK(from.allocator_ == this);
  const std::lock_guard lock(lock_);
  WEFT_CHECK(want != 0 && from.data_ != 0);
  const auto wanted = static_cast<std::uint32_t>(std::min<std::uint64_t>({want, from.data_, kBlocksPerGroup}));
  const bool has_goal = in_data_area({goal, 1});
  if (!has_goal) goal = in_data_area({data_cursor_, 1}) ? data_cursor_ : config_.first_block;
  const std::uint32_t start = group_of(goal);
  const auto offset = static_cast<std::uint32_t>(goal.value() % kBlocksPerGroup);

  std::uint32_t best_group = 0;
  GroupRun best;
  const auto consider = [&](std::uint32_t group, std::uint32_t low, std::uint32_t high) {
    const GroupRun run = groups_[group].maps->busy.find_run(low, high, wanted);
    if (run.count > best.count) {
      best = run;
      best_group = group;
    }
    return best.count == wanted;
  };
  const auto search = [&]() -> Status {
    std::uint32_t examined = 0;
    for (const bool spare_zone : {true, false}) {
      for (std::uint32_t i = 0; i < groups_.size(); ++i) {
        const auto group = static_cast<std::uint32_t>((start + i) % groups_.size());
        if (groups_[group].free == 0) continue;
        TRY(load(group));
        const Zone zone = zone_of(group);
        const std::uint32_t low = spare_zone ? zone.metadata_end : zone.begin;
        if (i == 0) {
          if (has_goal) {
            const GroupRun behind =
                groups_[group].maps->busy.find_run(offset, std::min(offset + wanted, zone.end), wanted);
            if (behind.first == offset && behind.count >= std::min(wanted, kWorthwhileRun)) {
              best = behind;
              best_group = group;
              return {};
            }
          }
          if (consider(group, std::max(low, offset), zone.end)) return {};
        }
        if (consider(group, low, zone.end)) return {};
        if (++examined >= kSearchGroups && best.count != 0) return {};
      }
      if (best.count != 0) return {};
    }
    return {};
  };
  TRY(search());
  WEFT_CHECK(best.count != 0);                      // A2
  TRY(load_more(reserved_metadata_ + best.count));  // A3
  const BlockRange range = take(best_group, best);
  from.data_ -= range.count;
  reserved_data_ -= range.count;
  data_cursor_ = range.end();
  return range;
}

BlockNo Allocator::allocate_node() {
  const std::lock_guard lock(lock_);
  const auto use = [&](std::uint32_t group, std::uint32_t bit) {
    const BlockNo block = take(group, {bit, 1}).start;
    groups_[group].maps->used.set(bit, 1);
    --groups_[group].free;
    --free_;
    mark_changed(group);
    metadata_cursor_ = block + 1;
    return block;
  };
  const auto try_between = [&](std::uint32_t group, std::uint32_t low, std::uint32_t high) {
    const std::uint32_t bit = groups_[group].maps->busy.next_clear(low);
    return bit < high ? bit : kBlocksPerGroup;
  };
  const std::uint32_t start = std::min(group_of(metadata_cursor_), group_count() - 1);
  // On from the last one, so that one checkpoint's nodes lie in a row; then from the front of the zones; then anywhere.
  if (groups_[start].maps != nullptr && group_of(metadata_cursor_) == start) {
    const auto offset = static_cast<std::uint32_t>(metadata_cursor_.value() % kBlocksPerGroup);
    const std::uint32_t bit = try_between(start, offset, zone_of(start).metadata_end);
    if (bit != kBlocksPerGroup) return use(start, bit);
  }
  for (const bool within_zone : {true, false}) {
    for (std::uint32_t i = 0; i < groups_.size(); ++i) {
      const auto group = static_cast<std::uint32_t>((start + i) % groups_.size());
      if (groups_[group].maps == nullptr || groups_[group].free == 0) continue;
      const Zone zone = zone_of(group);
      const std::uint32_t bit = try_between(group, zone.begin, within_zone ? zone.metadata_end : zone.end);
      if (bit != kBlocksPerGroup) return use(group, bit);
    }
  }
  WEFT_CHECK(!"a reservation for tree nodes was too small");
  return {};
}

void Allocator::abandon(BlockRange range) {
  if (range.count == 0) return;
  const std::lock_guard lock(lock_);
  for_each_part(range, [&](std::uint32_t group, std::uint32_t first, std::uint32_t count) {
    AllocatorGroup& maps = *groups_[group].maps;
    WEFT_CHECK(maps.used.count_set(first, count) == 0 && maps.busy.count_set(first, count) == count);
    maps.busy.clear(first, count);
    allocatable_ += count;
    loaded_allocatable_ += count;
  });
}

bool Allocator::commit_used(BlockRange range) {
  if (!in_data_area(range)) return false;
  const std::lock_guard lock(lock_);
  bool sound = true;
  for_each_part(range, [&](std::uint32_t group, std::uint32_t first, std::uint32_t count) {
    if (groups_[group].maps == nullptr) {  // neither allocated nor held: what says so is damaged
      sound = false;
      return;
    }
    AllocatorGroup& maps = *groups_[group].maps;
    const std::uint32_t were_free = count - maps.used.count_set(first, count);
    const std::uint32_t were_idle = count - maps.busy.count_set(first, count);
    if (were_free != count || were_idle != 0) sound = false;
    maps.used.set(first, count);
    maps.busy.set(first, count);
    groups_[group].free -= were_free;
    free_ -= were_free;
    allocatable_ -= were_idle;
    loaded_allocatable_ -= were_idle;
    mark_changed(group);
  });
  return sound;
}

bool Allocator::free(BlockRange range) {
  if (!in_data_area(range)) return false;
  const std::lock_guard lock(lock_);
  bool sound = true;
  for_each_part(range, [&](std::uint32_t group, std::uint32_t first, std::uint32_t count) {
    const BlockRange part{BlockNo(std::uint64_t{group} * kBlocksPerGroup + first), count};
    Group& entry = groups_[group];
    if (entry.maps == nullptr) {
      append_range(deferred_[group], part);
      entry.free += count;
      free_ += count;
    } else if (entry.maps->used.count_set(first, count) == count) {
      entry.maps->used.clear(first, count);
      entry.free += count;
      free_ += count;
    } else {
      sound = false;  // leave all of it: a block lost does no harm, one given out twice does
      return;
    }
    if (planted(Bug::kFreedReusedAtOnce) && entry.maps != nullptr) {
      entry.maps->busy.clear(first, count);
      allocatable_ += count;
      loaded_allocatable_ += count;
      mark_changed(group);
      return;
    }
    add_pending(part);
    pending_blocks_ += count;
    mark_changed(group);
  });
  return sound;
}

void Allocator::add_pending(BlockRange range) {
  const std::size_t before = pending_.size();
  append_range(pending_, range);
  pending_ranges_.fetch_add(pending_.size() - before, std::memory_order_relaxed);
}

bool Allocator::free_unwritten(BlockNo block) {
  if (!in_data_area({block, 1})) return false;
  const std::lock_guard lock(lock_);
  const std::uint32_t group = group_of(block);
  const auto bit = static_cast<std::uint32_t>(block.value() % kBlocksPerGroup);
  if (groups_[group].maps == nullptr || !groups_[group].maps->used.get(bit)) return false;
  groups_[group].maps->used.clear(bit, 1);
  groups_[group].maps->busy.clear(bit, 1);
  ++groups_[group].free;
  ++free_;
  ++allocatable_;
  ++loaded_allocatable_;
  mark_changed(group);
  return true;
}

Status Allocator::hold_for_replay(BlockRange range) {
  if (!in_data_area(range)) {
    return fail(Errc::kCorrupt, "the log maps blocks " + std::to_string(range.start.value()) + " + " +
                                    std::to_string(range.count) + ", which are not in the data area; run fsck.weft");
  }
  const std::lock_guard lock(lock_);
  Status status;
  for_each_part(range, [&](std::uint32_t group, std::uint32_t first, std::uint32_t count) {
    if (status) status = load(group);
    if (!status) return;
    AllocatorGroup& maps = *groups_[group].maps;
    const std::uint32_t idle = count - maps.busy.count_set(first, count);
    maps.busy.set(first, count);
    allocatable_ -= idle;
    loaded_allocatable_ -= idle;
  });
  return status;
}

// -------------------------------------------------------------------------------------------------- checkpoint

Status Allocator::prepare_freeze() {
  const std::lock_guard lock(lock_);
  return load_deferred();
}

Result<FrozenSpace> Allocator::freeze() {
  const std::lock_guard lock(lock_);
  TRY(load_deferred());
  FrozenSpace frozen;
  std::sort(changed_.begin(), changed_.end());
  frozen.groups.reserve(changed_.size());
  for (const std::uint32_t group : changed_) {
    Group& entry = groups_[group];
    FrozenGroup& copy = frozen.groups.emplace_back(group, entry.free, PageRef::make_uninitialised());
    entry.maps->used.store(copy.bitmap.bytes());
    entry.changed = false;
  }
  changed_.clear();
  frozen.pending = std::exchange(pending_, {});
  frozen.free_blocks = free_;
  return frozen;
}

std::vector<BlockRange> Allocator::thaw(FrozenSpace&& frozen) {
  const std::lock_guard lock(lock_);
  for (const BlockRange& range : frozen.pending) {
    for_each_part(range, [&](std::uint32_t group, std::uint32_t first, std::uint32_t count) {
      AllocatorGroup& maps = *groups_[group].maps;
      std::uint32_t idle = 0;
      for (std::uint32_t bit = first; bit < first + count; ++bit) {
        if (maps.used.get(bit) || !maps.busy.get(bit)) continue;  // only a damaged log maps what it has just freed
        maps.busy.clear(bit, 1);
        ++idle;
      }
      allocatable_ += idle;
      loaded_allocatable_ += idle;
    });
    pending_blocks_ -= range.count;
  }
  pending_ranges_.fetch_sub(frozen.pending.size(), std::memory_order_relaxed);
  changed_groups_.fetch_sub(frozen.groups.size(), std::memory_order_relaxed);
  drop_clean_groups(groups_.size());
  return std::move(frozen.pending);
}

// Where nobody holds on to a bitmap from before: what is dropped is read again when it is wanted.
void Allocator::drop_clean_groups(std::size_t look_at) {
  for (look_at = std::min(look_at, groups_.size()); look_at != 0 && loaded_groups_ > config_.max_loaded_groups;
       --look_at) {
    drop_hand_ = drop_hand_ + 1 < groups_.size() ? drop_hand_ + 1 : 0;
    const std::uint32_t group = drop_hand_;
    Group& entry = groups_[group];
    if (entry.maps == nullptr || entry.changed || group == group_of(metadata_cursor_) || !entry.maps->same()) continue;
    if (loaded_allocatable_ < reserved_metadata_ + entry.free) continue;  // A3
    loaded_allocatable_ -= entry.free;
    entry.maps.reset();
    --loaded_groups_;
  }
}

// ----------------------------------------------------------------------------------------------------- numbers

AllocatorSpace Allocator::space() const {
  const std::lock_guard lock(lock_);
  return {config_.end_block - config_.first_block, free_,     allocatable_, pending_blocks_,
          reserved_data_ + reserved_metadata_,     held_back_};
}

std::size_t Allocator::loaded_groups() const {
  const std::lock_guard lock(lock_);
  return loaded_groups_;
}

void Allocator::set_held_back(std::uint64_t blocks) {
  const std::lock_guard lock(lock_);
  held_back_ = blocks;
}

Result<bool> Allocator::is_used(BlockNo block) {
  const std::lock_guard lock(lock_);
  if (block.value() >= config_.block_count) return fail(Errc::kInvalid);
  TRY(load(group_of(block)));
  return groups_[group_of(block)].maps->used.get(static_cast<std::uint32_t>(block.value() % kBlocksPerGroup));
}

Status Allocator::rewrite(std::uint32_t group) {
  const std::lock_guard lock(lock_);
  TRY(load(group));
  mark_changed(group);
  return {};
}

Status Allocator::used_bitmap(std::uint32_t group, GroupBitmap& used) {
  const std::lock_guard lock(lock_);
  TRY(load(group));
  used = groups_[group].maps->used;
  return {};
}

Status Allocator::visit_free(BlockRange within, std::uint64_t min_blocks, FunctionRef<Status(BlockRange)> visit) {
  const BlockNo end =
      std::min(config_.end_block, within.count > config_.end_block.value() ? config_.end_block : within.end());
  BlockNo at = std::max(config_.first_block, within.start);
  min_blocks = std::max<std::uint64_t>(min_blocks, 1);
  while (at < end) {
    const std::uint32_t group = group_of(at);
    const std::uint64_t start = std::uint64_t{group} * kBlocksPerGroup;
    BlockRange run;
    {
      const std::lock_guard lock(lock_);
      if (groups_[group].free < std::min<std::uint64_t>(min_blocks, kBlocksPerGroup)) {
        at = BlockNo(start + kBlocksPerGroup);
        continue;
      }
      drop_clean_groups(kDroppedAtATime);
      TRY(load(group));
      const GroupBitmap& busy = groups_[group].maps->busy;
      const std::uint32_t first = busy.next_clear(static_cast<std::uint32_t>(at.value() - start));
      const std::uint64_t stop =
          std::min<std::uint64_t>(busy.next_set(first), end.value() > start ? end.value() - start : 0);
      at = BlockNo(start + std::max<std::uint64_t>(stop, first));
      if (stop <= first || stop - first < min_blocks) {
        if (first == kBlocksPerGroup) at = BlockNo(start + kBlocksPerGroup);
        continue;
      }
      // Not so much that a promise could not be kept meanwhile.
      const std::uint64_t promised = reserved_data_ + reserved_metadata_;
      const std::uint64_t spare =
          std::min(allocatable_ > promised ? allocatable_ - promised : 0,
                   loaded_allocatable_ > reserved_metadata_ ? loaded_allocatable_ - reserved_metadata_ : 0);
      const std::uint64_t count = std::min<std::uint64_t>({stop - first, kTrimChunk, spare});
      if (count == 0) continue;
      run = take(group, {first, static_cast<std::uint32_t>(count)});
      if (count == kTrimChunk) at = run.end();
    }
    Status status = visit(run);
    abandon(run);
    TRY(std::move(status));
  }
  return {};
}

}  // namespace weft::fs
