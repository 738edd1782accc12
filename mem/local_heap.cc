// mem/local_heap.cc - see local_heap.h.
#include "mem/local_heap.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "mem/heap_registry.h"
#include "mem/sampled_blocks.h"
#include "mem/sampling.h"
#include "mem/stack_trace.h"

namespace weft::mem {

namespace {

// Of so many units of a class in a row one slab at least is a probe.
constexpr std::uint32_t kProbeUnits = 64;
// Less than this is not worth a flush of all lists.
constexpr std::size_t kMuchUnits = (std::size_t{8} << 20) / kUnitBytes;

// Blocks for which no page was touched yet, as many as end in the same page as the first of them does.
void* carve(Descriptor& slab) noexcept {
  const std::size_t size = kClassBytes[slab.size_class];
  const std::size_t offset = slab.carved * size;
  const std::size_t page_end = (offset + size + kPageBytes - 1) & ~(kPageBytes - 1);
  const std::size_t count = std::min((page_end - offset) / size, static_cast<std::size_t>(slab.capacity - slab.carved));
  std::byte* first = start_of(slab) + offset;
  std::byte* block = first;
  for (std::size_t i = 1; i < count; ++i, block += size) link_of(block) = block + size;
  link_of(block) = nullptr;
  slab.carved = static_cast<std::uint16_t>(slab.carved + count);
  slab.used = static_cast<std::uint16_t>(slab.used + count);
  return first;
}

}  // namespace

void* LocalHeap::refill(unsigned size_class) noexcept {
  if (sampling::on() && !is_private()) [[unlikely]]
    return refill_sampled(size_class);
  return refill_plain(size_class);
}

void* LocalHeap::refill_sampled(unsigned size_class) noexcept {
  if (samples_ == nullptr) samples_ = sampling::make_heap_samples();
  if (void* block = take_sampled(size_class); block != nullptr) return block;
  void* chain = refill_plain(size_class);
  if (chain == nullptr || samples_ == nullptr || is_tracing()) return chain;
  push(size_class, chain);
  samples_->cut(size_class, list_[size_class]);
  if (void* block = pop(size_class); block != nullptr) return block;
  return take_sampled(size_class);
}

// If a slot is due. An unwinder that allocates is not sampled.
void* LocalHeap::take_sampled(unsigned size_class) noexcept {
  if (samples_ == nullptr) return nullptr;
  while (Sample* slot = samples_->take(size_class, list_[size_class])) {
    const bool is_new = slot->block == nullptr;
    if (is_tracing()) {
      sampling::give_up(*slot);
    } else if (void* block = sampling::allocate(*slot, size_class, *this); block != nullptr) {
      if (is_new) samples_->cut(size_class, list_[size_class]);
      return block;
    }
    if (void* block = pop(size_class); block != nullptr) return block;
  }
  return nullptr;
}

bool LocalHeap::hold(Sample& slot, unsigned size_class) noexcept {
  if (samples_ == nullptr) return false;
  samples_->put_back(size_class, slot, list_[size_class]);
  return true;
}

std::size_t LocalHeap::waiting_blocks(unsigned size_class) const noexcept {
  std::size_t count = 0;
  const auto add = [&](void* chain) {
    for (void* block = chain; block != nullptr; block = link_of(block)) ++count;
  };
  add(list_[size_class]);
  const Sample* slot = samples_ == nullptr ? nullptr : samples_->held(size_class);
  for (; slot != nullptr; slot = slot->below) {
    if (slot->block != nullptr) ++count;
    add(slot->rest);
  }
  return count;
}

void* LocalHeap::refill_plain(unsigned size_class) noexcept {
  const Changing changing(*this);
  ++counts_.refills;
  shrinking_ = false;
  if (is_asked_to_flush()) [[unlikely]]
    flush();
  if (queue_.load(std::memory_order_relaxed) != nullptr) {
    drain();
    if (void* block = pop(size_class); block != nullptr) return block;
  }
  Descriptor* slab = active_[size_class];
  if (slab == nullptr || slab->carved == slab->capacity) {
    slab = next_slab(size_class);
    if (slab == nullptr) return nullptr;
    activate(*slab);
  }
  void* chain = slab->slab.free;
  if (chain != nullptr) {
    slab->slab.free = nullptr;
    slab->used = slab->carved;
  } else {
    chain = carve(*slab);
  }
  list_[size_class] = link_of(chain);
  return chain;
}

Descriptor* LocalHeap::next_slab(unsigned size_class) noexcept {
  relieve();
  if (Descriptor* slab = pick(size_class); slab != nullptr) return slab;
  // Blocks of others are in it, which must not go with a mem::Heap.
  Descriptor* adopted = is_private() ? nullptr : heap_registry.adopt(size_class, *this);
  if (adopted != nullptr) {
    ++counts_.slabs_adopted;
    return adopted;
  }
  // Others wait for what is in the batches as this heap waits for memory.
  remote_batches_.flush();
  return make_slab(size_class);
}

// The fullest of the first four that has enough to be worth it.
Descriptor* LocalHeap::pick(unsigned size_class) noexcept {
  Descriptor* best = nullptr;
  int left = 4;
  for (Descriptor* slab = listed_[size_class]; slab != nullptr && left > 0; slab = slab->next, --left) {
    const int free = slab->capacity - slab->used;
    if (best == nullptr) {
      best = slab;
      continue;
    }
    const int best_free = best->capacity - best->used;
    const int enough = slab->capacity / 8;
    if (best_free < enough ? free > best_free : free >= enough && free < best_free) best = slab;
  }
  return best;
}

// With each new slab of one unit: looks at the lists of every third class whose slabs are one unit, too. If new pages would be touched, lists
// that have not changed since they were looked at, three slabs ago, give theirs back. Not those of the smallest blocks, of which there are
// too many to a slab; and not for longer slabs, which could seldom use what comes back.
void LocalHeap::reclaim() noexcept {
  const bool needed = page_runs.dirty_units() == 0;
  for (unsigned looked = 0; looked < kReclaimed / 3; ++looked) {
    const unsigned size_class = kLeastReclaimed + hand_;
    void*& seen = seen_[hand_];
    hand_ = (hand_ + 1) % kReclaimed;
    if (needed && list_[size_class] != nullptr && seen == list_[size_class]) give_back(size_class);
    seen = list_[size_class];
  }
}

Descriptor* LocalHeap::make_slab(unsigned size_class) noexcept {
  const unsigned units = slab_units(size_class);
  if (units == 1) reclaim();
  if (!charge(units)) return nullptr;
  Descriptor* slab = page_runs.allocate(units, Kind::kSlab).first;
  if (slab == nullptr) {
    discharge(units);
    return nullptr;
  }
  if (++counts_.slabs_made % 64 == 0) page_runs.tick();
  since_probe_[size_class] += units;
  if (since_probe_[size_class] >= kProbeUnits) {
    since_probe_[size_class] = 0;
    slab->probe = true;
  }
  const std::uint32_t first = slab->lead;
  for (unsigned i = 0; i < units; ++i) slab[i].lead = first;
  slab->size_class = static_cast<std::uint8_t>(size_class);
  slab->capacity = static_cast<std::uint16_t>(units * kUnitBytes / kClassBytes[size_class]);
  return slab;
}

// The list has run out, so every other active slab is full. A probe stays active no longer.
void LocalHeap::activate(Descriptor& slab) noexcept {
  const unsigned size_class = slab.size_class;
  if (slab.listed) unlist(slab);
  if (active_[size_class] != nullptr && active_[size_class]->probe) deactivate(*active_[size_class]);
  Descriptor*& newest = active_[size_class];
  if (newest == nullptr) {
    slab.prev = slab.next = &slab;
  } else {
    slab.next = newest;
    slab.prev = newest->prev;
    newest->prev->next = &slab;
    newest->prev = &slab;
  }
  newest = &slab;
  slab.active = true;
  set_entries(slab, entry_for(size_class, 0));
}

// From now on frees into it are counted. None of its blocks is in the list, so it is full, or settle() is next.
void LocalHeap::deactivate(Descriptor& slab) noexcept {
  const unsigned size_class = slab.size_class;
  slab.prev->next = slab.next;
  slab.next->prev = slab.prev;
  if (active_[size_class] == &slab) active_[size_class] = slab.next == &slab ? nullptr : slab.next;
  slab.active = false;
  set_entries(slab, entry_for(size_class, kCounted));
  link(slab, full_);
}

void LocalHeap::link(Descriptor& slab, Descriptor*& head) noexcept {
  slab.prev = nullptr;
  slab.next = head;
  if (head != nullptr) head->prev = &slab;
  head = &slab;
}

void LocalHeap::unlink(Descriptor& slab, Descriptor*& head) noexcept {
  if (slab.next != nullptr) slab.next->prev = slab.prev;
  if (slab.prev != nullptr) {
    slab.prev->next = slab.next;
  } else {
    head = slab.next;
  }
}

void LocalHeap::enlist(Descriptor& slab) noexcept {
  slab.listed = true;
  link(slab, listed_[slab.size_class]);
}

void LocalHeap::unlist(Descriptor& slab) noexcept {
  slab.listed = false;
  unlink(slab, listed_[slab.size_class]);
}

void LocalHeap::free_slab(Descriptor& slab) noexcept {
  unlist(slab);
  ++counts_.slabs_freed;
  discharge(slab.units);
  freed_units_ += slab.units;
  set_entries(slab, 0);
  page_runs.free(slab);
}

// A counted slab has more free blocks than before. One that is all free goes, unless it is the last with free blocks of its class.
// True: it went.
bool LocalHeap::settle(Descriptor& slab, bool keep_one) noexcept {
  const bool queued = (slab.slab.remote.load(std::memory_order_relaxed) & remote::kQueued) != 0;
  if (!slab.listed) {
    unlink(slab, full_);
    enlist(slab);
  }
  if (slab.used == 0 && !queued) {
    const Descriptor* head = listed_[slab.size_class];
    const bool alone = head == nullptr || (head == &slab && slab.next == nullptr);
    if (!alone || !keep_one) {
      free_slab(slab);
      return true;
    }
  }
  return false;
}

void LocalHeap::counted_changed(Descriptor& slab) noexcept {
  const Changing changing(*this);
  const unsigned size_class = slab.size_class;
  // If probes empty, the others do as well, and what waits in the list is more than will be needed.
  if (!settle(slab, !shrinking_)) return;
  // Those of other classes of which a probe is nearly empty come along: side by side it takes a fraction of the time.
  unload_where([&](unsigned c) {
    const Descriptor* other = listed_[c];
    return c == size_class || (other != nullptr && other->used > 0 && other->used <= other->capacity / 16);
  });
  // As much has gone as is left, of whatever classes: so may what waits in lists that are not used any more.
  if (freed_units_ >= std::max<std::size_t>(held_units(), kProbeUnits)) {
    flush();
    shrinking_ = true;
  } else {
    shrink_with_process();
  }
}

void LocalHeap::shrink_with_process() noexcept {
  const std::size_t live = page_runs.live_units();
  if (live + std::max(kMuchUnits, live / 5) > live_seen_) {
    live_seen_ = std::max(live_seen_, live);
    return;
  }
  live_seen_ = live;
  flush();
  shrinking_ = true;
}

namespace {

// Blocks go back to their slabs, of all chains a block in turn: where the next one lies is known only once a block was read, and most are
// long out of the cache.
void put_back(std::span<void*> chains) noexcept {
  while (!chains.empty()) {
    for (std::size_t i = chains.size(); i-- > 0;) {
      void* block = chains[i];
      if (block == nullptr) {
        chains[i] = chains.back();
        chains = chains.first(chains.size() - 1);
        continue;
      }
      chains[i] = link_of(block);
      __builtin_prefetch(chains[i], 1);
      Segment& segment = *segment_with(block);
      Descriptor& slab = slab_at(segment, unit_at(segment, block));
      link_of(block) = slab.slab.free;
      slab.slab.free = block;
      --slab.used;
    }
  }
}

}  // namespace

// The list's blocks go back to their slabs, and none of these is active any more.
void LocalHeap::unload(unsigned size_class) noexcept {
  put_back({&list_[size_class], 1});
  list_[size_class] = nullptr;
  while (Sample* slot = samples_ == nullptr ? nullptr : samples_->pop(size_class)) {
    put_back({&slot->rest, 1});
    sampling::give_up(*slot);
  }
  while (active_[size_class] != nullptr) {
    Descriptor& slab = *active_[size_class];
    deactivate(slab);
    if (slab.used < slab.capacity) settle(slab, false);
  }
}

template <typename Choose>
void LocalHeap::unload_where(const Choose& choose) noexcept {
  std::array<void*, kClasses> chains;
  std::size_t count = 0;
  const auto chosen = [&](unsigned c) { return active_[c] != nullptr && choose(c); };
  for (unsigned c = 0; c < kClasses; ++c) {
    if (chosen(c)) chains[count++] = std::exchange(list_[c], nullptr);
  }
  put_back(std::span(chains).first(count));
  for (unsigned c = 0; c < kClasses; ++c) {
    if (chosen(c)) unload(c);
  }
}

// All that is free of a class, as far as it is whole slabs.
void LocalHeap::give_back(unsigned size_class) noexcept {
  if (active_[size_class] != nullptr || (samples_ != nullptr && samples_->held(size_class) != nullptr))
    unload(size_class);
  for (Descriptor *slab = listed_[size_class], *next = nullptr; slab != nullptr; slab = next) {
    next = slab->next;
    if (slab->used == 0) settle(*slab, false);
  }
}

void LocalHeap::flush() noexcept {
  const Changing changing(*this);
  freed_units_ = 0;
  flush_asked_.store(false, std::memory_order_relaxed);
  remote_batches_.flush();
  drain();
  unload_where([](unsigned) { return true; });
  for (unsigned c = 0; c < kClasses; ++c) give_back(c);
}

bool LocalHeap::charge(std::size_t units) noexcept {
  if (held_units_.fetch_add(units, std::memory_order_relaxed) + units <= ~beyond_limit_) [[likely]]
    return true;
  discharge(units);
  return false;
}

}  // namespace weft::mem
