// mem/page_runs.cc - see page_runs.h.
#include "mem/page_runs.h"

#include <algorithm>
#include <bit>
#include <mutex>
#include <new>

#include "mem/keep_errno.h"
#include "mem/line.h"
#include "mem/purge_thread.h"
#include "mem/system_memory.h"

namespace weft::mem {

constinit PageRuns page_runs;
constinit PageRuns::UnitLimits PageRuns::limits;

namespace {

// Runs of one bin differ in length from 32 units on: so many are looked at before the next bin is taken.
constexpr int kSearch = 8;
// Runs longer than this are used from the end.
constexpr std::size_t kRoomy = 64;
// 16 TiB. More than machines have; a run has 32 bits for its units, and its bits in `dirty` are touched one by one.
constexpr std::size_t kMostUnits = std::size_t{1} << 30;

template <typename Visit>
void each_word(std::size_t first, std::size_t units, const Visit& visit) noexcept {
  for (std::size_t unit = first, end = first + units; unit < end;) {
    const std::size_t bit = unit % 64;
    const std::size_t count = std::min(64 - bit, end - unit);
    const std::uint64_t mask = (count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1) << bit;
    visit(unit / 64, mask);
    unit += count;
  }
}

// The end of the last stretch of [begin, end) in which bits are `dirty`, or begin.
std::size_t last_with(const Segment& segment, std::size_t begin, std::size_t end, bool dirty) noexcept {
  while (end > begin) {
    std::uint64_t word = segment.dirty[(end - 1) / 64];
    if (!dirty) word = ~word;
    word <<= 63 - (end - 1) % 64;
    if (word != 0) return std::max(begin, end - static_cast<std::size_t>(std::countl_zero(word)));
    end = (end - 1) / 64 * 64;
  }
  return begin;
}

// How many units of a run come before its first dirty one.
std::size_t first_dirty(const Descriptor& run) noexcept {
  const Segment& segment = segment_of(run);
  const std::size_t begin = unit_of(run);
  std::size_t unit = begin;
  std::uint64_t word = segment.dirty[unit / 64] >> unit % 64;
  while (word == 0 && unit < begin + run.units) {
    unit = (unit / 64 + 1) * 64;
    word = segment.dirty[unit / 64];
  }
  return std::min<std::size_t>(unit + static_cast<std::size_t>(std::countr_zero(word)) - begin, run.units);
}

// Where in a run to begin when there is a choice: on what is dirty, and in a long one at the end of it, or of all, because what
// lies before may be about to grow.
std::size_t best_skip(const Descriptor& run, std::size_t units) noexcept {
  const std::size_t most = run.units - units;
  if (!run.listed) return run.units > kRoomy ? most : 0;
  if (run.units <= kRoomy) return std::min(first_dirty(run), most);
  const std::size_t begin = unit_of(run);
  const std::size_t end = last_with(segment_of(run), begin, begin + run.units, true) - begin;
  return end - std::min(end, units);
}

}  // namespace

std::size_t PageRuns::bin_of(std::size_t units) noexcept {
  if (units <= 32) return units - 1;
  const auto e = static_cast<unsigned>(std::bit_width(units)) - 1;
  return 32 + (e - 5) * 4 + ((units >> (e - 2)) & 3);
}

void PageRuns::count_live(std::ptrdiff_t units) noexcept {
  live_units_ += static_cast<std::size_t>(units);
  peak_units_ = std::max<std::size_t>(peak_units_, live_units_);
  // A little below, so that what goes up and down at the limit passes it once.
  if (above_soft_ && live_units_ <= limits.soft - limits.soft / 16) above_soft_ = false;
}

// Below the lower of both limits.
std::size_t PageRuns::below_limits() const noexcept {
  const std::size_t limit = std::min<std::size_t>(limits.soft, limits.hard);
  return limit - std::min<std::size_t>(limit, live_units_);
}
std::size_t PageRuns::budget() const noexcept { return std::min(policy_.budget(live_units_), below_limits()); }
bool PageRuns::due() const noexcept { return policy_.due(dirty_units_, live_units_) || dirty_units_ > below_limits(); }

bool PageRuns::refuses(std::size_t more_units) noexcept {
  if (live_units_ + more_units <= limits.hard) [[likely]]
    return false;
  ++hard_refusals_;
  return true;
}

// A limit has to be looked after.
bool PageRuns::strained() const noexcept {
  return dirty_units_ > below_limits() || (live_units_ > limits.soft && !above_soft_);
}

void PageRuns::obey_limits() noexcept {
  std::size_t keep = 0;
  bool first_pass = false;
  {
    const std::scoped_lock guard(lock_);
    if (live_units_ > limits.soft && !above_soft_) {
      above_soft_ = true;
      ++soft_passes_;
      first_pass = soft_passes_ == 1;
    }
    keep = below_limits();
  }
  if (first_pass) {
    const KeepErrno keep_errno;
    Line line;
    line.add("weft heap: more than the soft limit of ").add_number(limits.soft * kUnitBytes).add(" bytes is in use");
    line.write_out();
  }
  purge_to(keep);
}

void PageRuns::set_limits(std::size_t soft_units, std::size_t hard_units) noexcept {
  {
    const std::scoped_lock guard(lock_);
    limits.soft = soft_units;
    limits.hard = hard_units;
    above_soft_ = false;
  }
  obey_limits();
}

// Clears their bits, and says how many were set.
std::size_t PageRuns::take_dirty(Segment& segment, std::size_t first, std::size_t units) noexcept {
  std::size_t count = 0;
  each_word(first, units, [&](std::size_t word, std::uint64_t mask) {
    count += static_cast<std::size_t>(std::popcount(segment.dirty[word] & mask));
    segment.dirty[word] &= ~mask;
  });
  dirty_units_ -= count;
  low_water_ = std::min<std::size_t>(low_water_, dirty_units_);
  return count;
}

void PageRuns::insert(Segment& segment, std::size_t first, std::size_t units) noexcept {
  Descriptor& run = segment.descriptors[first];
  const auto index = static_cast<std::uint16_t>(&segment - segments);
  run.kind = Kind::kFree;
  run.segment = index;
  run.units = static_cast<std::uint32_t>(units);
  Descriptor& last = segment.descriptors[first + units - 1];
  if (&last != &run) last.kind = Kind::kFree;
  last.segment = index;
  last.lead = static_cast<std::uint32_t>(first);
  run.listed = last_with(segment, first, first + units, true) > first;
  Bins& bins = bins_of(run);
  const std::size_t bin = bin_of(units);
  run.prev = nullptr;
  run.next = bins.heads[bin];
  if (run.next != nullptr) run.next->prev = &run;
  bins.heads[bin] = &run;
  bins.filled[bin / 64] |= std::uint64_t{1} << bin % 64;
}

void PageRuns::remove(Descriptor& run) noexcept {
  Bins& bins = bins_of(run);
  const std::size_t bin = bin_of(run.units);
  if (run.next != nullptr) run.next->prev = run.prev;
  if (run.prev != nullptr) {
    run.prev->next = run.next;
  } else {
    bins.heads[bin] = run.next;
    if (run.next == nullptr) bins.filled[bin / 64] &= ~(std::uint64_t{1} << bin % 64);
  }
  Segment& segment = segment_of(run);
  // Neither end may look free any more to a neighbour.
  segment.descriptors[unit_of(run) + run.units - 1].kind = Kind::kNone;
  run.kind = Kind::kNone;
}

// Free units become a run, one with its free neighbours.
void PageRuns::insert_joined(Segment& segment, std::size_t first, std::size_t units) noexcept {
  if (first > 0 && segment.descriptors[first - 1].kind == Kind::kFree) {
    Descriptor& before = segment.descriptors[segment.descriptors[first - 1].lead];
    units += before.units;
    first -= before.units;
    remove(before);
  }
  if (first + units < segment.frontier && segment.descriptors[first + units].kind == Kind::kFree) {
    Descriptor& after = segment.descriptors[first + units];
    units += after.units;
    remove(after);
  }
  insert(segment, first, units);
}

// Units that were in use: dirty from now on, unless their pages are gone.
void PageRuns::release(Segment& segment, std::size_t first, std::size_t units, bool clean) noexcept {
  if (!clean) {
    each_word(first, units, [&](std::size_t word, std::uint64_t mask) { segment.dirty[word] |= mask; });
    dirty_units_ += units;
  }
  count_live(-static_cast<std::ptrdiff_t>(units));
  policy_.released(units);
  insert_joined(segment, first, units);
}

Descriptor* PageRuns::find(const Bins& bins, std::size_t units) noexcept {
  std::size_t bin = bin_of(units);
  if (units > 32) {
    int left = kSearch;
    for (Descriptor* run = bins.heads[bin]; run != nullptr && left > 0; run = run->next, --left) {
      if (run->units >= units) return run;
    }
    ++bin;
  }
  std::uint64_t word = bins.filled[bin / 64] & (~std::uint64_t{0} << bin % 64);
  for (std::size_t at = bin / 64;;) {
    if (word != 0) return bins.heads[at * 64 + static_cast<std::size_t>(std::countr_zero(word))];
    if (++at == bins.filled.size()) return nullptr;
    word = bins.filled[at];
  }
}

// Past the end of what was ever used; a free run that lies there is part of it.
Descriptor* PageRuns::from_frontier(std::size_t units) noexcept {
  if (units > kMostUnits) return nullptr;
  const std::size_t count = segment_count.load(std::memory_order_relaxed);
  Segment* segment = nullptr;
  std::size_t first = 0;
  for (std::size_t i = count; i > 0 && segment == nullptr; --i) {
    Segment& each = segments[i - 1];
    const bool trailing = each.frontier > 0 && each.descriptors[each.frontier - 1].kind == Kind::kFree;
    first = trailing ? each.descriptors[each.frontier - 1].lead : each.frontier;
    if (each.units - first >= units && commit_to(each, first + units)) segment = &each;
  }
  if (segment == nullptr) {
    segment = add_segment(units);
    first = 0;
    if (segment == nullptr) return nullptr;
  }
  if (first < segment->frontier) remove(segment->descriptors[first]);
  segment->frontier = std::max(segment->frontier, first + units);
  // Not in a bin: used at once.
  Descriptor& run = segment->descriptors[first];
  run.segment = static_cast<std::uint16_t>(segment - segments);
  // The run that lay there may be the longer one: find() does not look at all.
  run.units = static_cast<std::uint32_t>(segment->frontier - first);
  run.listed = last_with(*segment, first, segment->frontier, true) > first;
  return &run;
}

// Of a run that is in no bin, `units` from `skip` on; what lies before and behind becomes free again.
PageRuns::Run PageRuns::use(Descriptor& run, std::size_t skip, std::size_t units, Kind kind) noexcept {
  Segment& segment = segment_of(run);
  const std::size_t begin = unit_of(run);
  const std::size_t whole = run.units;
  if (skip > 0) insert(segment, begin, skip);
  if (skip + units < whole) insert(segment, begin + skip + units, whole - skip - units);
  const std::size_t dirty = take_dirty(segment, begin + skip, units);
  Descriptor& first = segment.descriptors[begin + skip];
  ::new (&first) Descriptor{.kind = kind,
                            .segment = static_cast<std::uint16_t>(&segment - segments),
                            .units = static_cast<std::uint32_t>(units),
                            .lead = static_cast<std::uint32_t>(begin + skip),
                            .slab = {}};
  count_live(static_cast<std::ptrdiff_t>(units));
  policy_.took(units);
  if (dirty < units) policy_.took_clean(units - dirty, live_units_ + dirty_units_);
  return {.first = &first, .zero = dirty == 0};
}

// A run of at least so many units, in no bin any more. `listed` still says whether it is dirty. nullptr: no memory.
Descriptor* PageRuns::take(std::size_t units) noexcept {
  Descriptor* run = find(dirty_bins_, units);
  if (run == nullptr) run = find(clean_bins_, units);
  if (run == nullptr) return from_frontier(units);
  remove(*run);
  return run;
}

PageRuns::Run PageRuns::allocate_locked(std::size_t units, Kind kind, std::size_t align_bytes) noexcept {
  const std::size_t slack = align_bytes / kUnitBytes - 1;
  Descriptor* run = take(units + slack);
  if (run == nullptr) return {};
  std::size_t skip = 0;
  if (slack > 0) {
    const auto at = reinterpret_cast<std::uintptr_t>(start_of(*run));
    skip = (((at + align_bytes - 1) & ~(align_bytes - 1)) - at) / kUnitBytes;
  } else {
    skip = best_skip(*run, units);
  }
  return use(*run, skip, units, kind);
}

bool PageRuns::remove_if_empty(Segment& segment) noexcept {
  if (!is_removable(segment) || segment.frontier == 0) return false;
  Descriptor& run = segment.descriptors[0];
  if (run.kind != Kind::kFree || run.units != segment.frontier) return false;
  const std::size_t units = run.units;
  remove(run);
  take_dirty(segment, 0, units);
  remove_segment(segment);
  return true;
}

bool PageRuns::remove_empty_segments() noexcept {
  const std::scoped_lock guard(lock_);
  bool removed = false;
  for (std::size_t i = segment_count.load(std::memory_order_relaxed); i > 1; --i)
    removed = remove_if_empty(segments[i - 1]) || removed;
  return removed;
}

template <typename Take>
PageRuns::Run PageRuns::within_limits(std::size_t units, const Take& take) noexcept {
  Run run;
  {
    const std::scoped_lock guard(lock_);
    if (refuses(units)) return {};
    run = take();
    if (!strained() && run.first != nullptr) [[likely]]
      return run;
  }
  // What is missing may be address space in which nothing is.
  if (run.first == nullptr && remove_empty_segments()) {
    const std::scoped_lock guard(lock_);
    run = take();
  }
  obey_limits();
  return run;
}

PageRuns::Run PageRuns::allocate(std::size_t units, Kind kind, std::size_t align_bytes) noexcept {
  return within_limits(units, [&] { return allocate_locked(units, kind, std::max(align_bytes, kUnitBytes)); });
}

PageRuns::Run PageRuns::allocate_with_room(std::size_t units, std::size_t room, Kind kind) noexcept {
  return within_limits(units, [&] {
    // As much before: somebody may be growing there.
    Descriptor* long_run = find(clean_bins_, units + 2 * room);
    if (long_run != nullptr) {
      remove(*long_run);
    } else {
      long_run = from_frontier(units + 2 * room);
    }
    return long_run != nullptr ? use(*long_run, room, units, kind) : allocate_locked(units, kind, kUnitBytes);
  });
}

// After a run became free: what is too much goes now, the rest when nobody has used it for a while.
void PageRuns::freed(bool purges) noexcept {
  if (purges) purge_if_due();
  if (dirty_units_ > purge_thread::kWorthWakingUnits) purge_thread::wake();
}

void PageRuns::free(Descriptor& first, bool clean) noexcept {
  bool purges = false;
  {
    const std::scoped_lock guard(lock_);
    const std::size_t units = first.units;
    first.kind = Kind::kNone;
    release(segment_of(first), unit_of(first), units, clean);
    purges = due();
  }
  freed(purges);
}

bool PageRuns::grow(Descriptor& first, std::size_t units) noexcept {
  {
    const std::scoped_lock guard(lock_);
    if (refuses(units - first.units) || !grow_locked(first, units)) return false;
    if (!strained()) [[likely]]
      return true;
  }
  obey_limits();
  return true;
}

bool PageRuns::grow_locked(Descriptor& first, std::size_t units) noexcept {
  Segment& segment = segment_of(first);
  const std::size_t begin = unit_of(first);
  const std::size_t end = begin + first.units;
  const std::size_t more = units - first.units;
  std::size_t there = 0;
  Descriptor* after = nullptr;
  if (end < segment.frontier) {
    after = &segment.descriptors[end];
    if (after->kind != Kind::kFree) return false;
    there = after->units;
  }
  if (there < more) {
    if (end + there != segment.frontier || !commit_to(segment, begin + units)) return false;
    segment.frontier = begin + units;
  }
  if (after != nullptr) remove(*after);
  if (there > more) insert(segment, begin + units, there - more);
  const std::size_t dirty = take_dirty(segment, end, more);
  first.units = static_cast<std::uint32_t>(units);
  count_live(static_cast<std::ptrdiff_t>(more));
  policy_.took(more);
  policy_.took_clean(more - dirty, live_units_ + dirty_units_);
  return true;
}

void PageRuns::shrink(Descriptor& first, std::size_t units) noexcept {
  bool purges = false;
  {
    const std::scoped_lock guard(lock_);
    const std::size_t rest = first.units - units;
    if (rest == 0) return;
    first.units = static_cast<std::uint32_t>(units);
    release(segment_of(first), unit_of(first) + units, rest, false);
    purges = due();
  }
  freed(purges);
}

// Runs that are away, and the stretches of them whose pages go.
struct PageRuns::PurgeRound {
  std::array<system::Range, system::kMaxPurgeRanges> ranges;
  std::size_t range_count = 0;
  std::array<Descriptor*, system::kMaxPurgeRanges> runs;
  std::size_t run_count = 0;
  std::size_t units = 0;
};

// Takes the longest dirty runs, and of them the ends first, until what is left is within the budget or the round is full. False: nothing
// to purge.
bool PageRuns::collect(PurgeRound& round, std::size_t keep_units) noexcept {
  for (std::size_t bin = kBins; bin-- > 0;) {
    while (dirty_units_ > keep_units && dirty_bins_.heads[bin] != nullptr) {
      // A run has one range at least, so there is room for the run as well.
      if (round.range_count == round.ranges.size()) return true;
      Descriptor& run = *dirty_bins_.heads[bin];
      Segment& segment = segment_of(run);
      const std::size_t first = unit_of(run);
      remove(run);
      for (std::size_t end = first + run.units;
           end > first && dirty_units_ > keep_units && round.range_count < round.ranges.size();) {
        const std::size_t to = last_with(segment, first, end, true);
        const std::size_t from =
            std::max(last_with(segment, first, to, false), to - std::min(to, dirty_units_ - keep_units));
        if (from < to)
          round.ranges[round.range_count++] = {.start = segment.address(from), .bytes = (to - from) * kUnitBytes};
        round.units += take_dirty(segment, from, to - from);
        end = from;
      }
      run.kind = Kind::kBusy;
      round.runs[round.run_count++] = &run;
    }
  }
  return round.run_count > 0;
}

std::size_t PageRuns::purge_to(std::size_t keep_units) noexcept {
  std::size_t gone = 0;
  for (bool more = true; more;) {
    PurgeRound round;
    {
      const std::scoped_lock guard(lock_);
      if (!collect(round, keep_units)) break;
    }
    system::purge(round.ranges.data(), round.range_count);
    gone += round.units;
    const std::scoped_lock guard(lock_);
    policy_.purged(round.units);
    for (std::size_t i = 0; i < round.run_count; ++i) {
      Descriptor& run = *round.runs[i];
      run.kind = Kind::kNone;
      insert_joined(segment_of(run), unit_of(run), run.units);
    }
    more = dirty_units_ > keep_units;
  }
  return gone;
}

std::size_t PageRuns::purge_unused() noexcept {
  std::size_t keep = 0;
  {
    const std::scoped_lock guard(lock_);
    keep = dirty_units_ - low_water_;
    low_water_ = dirty_units_;
    if (keep == dirty_units_) return 0;
  }
  return purge_to(keep);
}

void PageRuns::purge_if_due() noexcept {
  tick();
  std::size_t keep = 0;
  {
    const std::scoped_lock guard(lock_);
    if (!due()) return;
    keep = budget();
  }
  purge_to(keep);
}

void PageRuns::forget_demand() noexcept {
  const std::scoped_lock guard(lock_);
  policy_ = PurgePolicy{};
}

std::size_t PageRuns::tick() noexcept {
  const unsigned long now = system::now_ms();
  std::size_t keep = 0;
  {
    const std::scoped_lock guard(lock_);
    if (!policy_.tick(now, live_units_) || dirty_units_ == 0) return 0;
    keep = std::min(budget(), dirty_units_ * 3 / 4);
  }
  return purge_to(keep);
}

}  // namespace weft::mem
