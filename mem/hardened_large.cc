// mem/hardened_large.cc - see hardened_large.h.
#include "mem/hardened_large.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "kernel/spinlock.h"
#include "mem/canary.h"
#include "mem/fatal.h"
#include "mem/hardened.h"
#include "mem/large.h"
#include "mem/segment.h"
#include "mem/seldom.h"
#include "mem/system_memory.h"

namespace weft::mem::hardened {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 46;
constexpr int kMostGuards = 16384;
constinit std::atomic<int> guards{0};

std::size_t whole_pages(std::size_t size) noexcept { return (size + kPageBytes - 1) & ~(kPageBytes - 1); }

// To the end of the canary: with a page behind that ends whoever comes there, it need not have a byte.
std::size_t room_of(const Descriptor& run, std::size_t size) noexcept {
  return run.guarded && size % kPageBytes == 0 ? size : whole_pages(size + canary::kBytes);
}

void begin(Descriptor& run, std::byte* block, std::size_t size) noexcept {
  run.large.bytes = size;
  const std::size_t room = room_of(run, size);
  if (room > size) canary::write(block + room, room - size);
}

void check(const Descriptor& run, const std::byte* block) noexcept {
  const std::size_t room = room_of(run, run.large.bytes);
  if (room > run.large.bytes && !canary::holds(block + room, room - run.large.bytes))
    fatal("a block was written to beyond its end", block);
}

Descriptor& run_at(const void* block) noexcept {
  Segment& segment = *segment_with(block);
  return segment.descriptors[unit_at(segment, block)];
}

// The large block that begins in the unit of this address; nullptr: there is none of this mode.
Descriptor* find_run(const void* address) noexcept {
  Segment* segment = segment_with(address);
  if (segment == nullptr) return nullptr;
  const std::size_t unit = unit_at(*segment, address);
  if (unit >= segment->committed || segment->map[unit].load(std::memory_order_acquire) != kLargeEntry) return nullptr;
  Descriptor& run = segment->descriptors[unit];
  return run.large.heap.load(std::memory_order_relaxed) == nullptr ? &run : nullptr;
}

// Pages that go anyway as the run is freed go at once. Of a long run only the ends become inaccessible: all of its page
// tables would have to be walked twice.
void make_inaccessible(const Descriptor& run) noexcept {
  constexpr std::size_t kLong = std::size_t{2} << 20;
  constexpr std::size_t kEnd = std::size_t{64} << 10;
  std::byte* start = start_of(run);
  const std::size_t bytes = run.units * kUnitBytes;
  if (run.growth != Growth::kNone) {
    system::replace_forbidden(start, bytes);
  } else if (bytes <= kLong) {
    system::forbid(start, bytes);
  } else {
    system::forbid(start, kEnd);
    // Behind the block there may be a page that is so already, or more than one.
    const std::size_t end = room_of(run, run.large.bytes);
    system::forbid(start + end - kEnd, bytes - end + kEnd);
  }
}

class Quarantine {
 public:
  void add(Descriptor& run) noexcept {
    make_inaccessible(run);
    {
      const std::scoped_lock guard(lock_);
      waiting_[(first_ + count_++) % waiting_.size()] = &run;
      units_ += run.units;
    }
    while (Descriptor* leaves = next_to_leave()) {
      system::commit(start_of(*leaves), leaves->units * kUnitBytes);
      if (leaves->guarded) guards.fetch_sub(1, std::memory_order_relaxed);
      free_large(*leaves);
    }
  }
  Spinlock& lock() noexcept { return lock_; }

 private:
  static constexpr std::size_t kMostRuns = 16;
  static constexpr std::size_t kMostUnits = (std::size_t{16} << 20) / kUnitBytes;

  Descriptor* next_to_leave() noexcept {
    const std::scoped_lock guard(lock_);
    if (count_ < kMostRuns && (count_ < 2 || units_ <= kMostUnits)) return nullptr;
    Descriptor* leaves = waiting_[first_ % waiting_.size()];
    ++first_;
    --count_;
    units_ -= leaves->units;
    return leaves;
  }

  Spinlock lock_;
  // A few more for threads that have added one and not yet taken one out.
  std::array<Descriptor*, 1024> waiting_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::size_t units_ = 0;
};
WEFT_SELDOM constinit Quarantine quarantine;

}  // namespace

void* allocate_guarded(std::size_t size, std::size_t align, bool zero) noexcept {
  if (size > kMostBytes) return nullptr;
  const bool guarded = guards.load(std::memory_order_relaxed) < kMostGuards;
  auto* block = static_cast<std::byte*>(allocate_large(whole_pages(size + canary::kBytes) + kPageBytes, align, zero));
  if (block == nullptr) return nullptr;
  Descriptor& run = run_at(block);
  run.guarded = guarded;
  begin(run, block, size);
  if (guarded) {
    guards.fetch_add(1, std::memory_order_relaxed);
    const std::size_t room = room_of(run, size);
    system::forbid(block + room, run.units * kUnitBytes - room);
  }
  return block;
}

void* allocate_unguarded(std::size_t size) noexcept {
  if (size > kMostBytes) return nullptr;
  auto* block = static_cast<std::byte*>(allocate_growing(size + canary::kBytes));
  if (block != nullptr) begin(run_at(block), block, size);
  return block;
}

bool release_guarded(void* block, std::size_t said) noexcept {
  Segment* segment = segment_with(block);
  if (segment == nullptr) fatal("free of an address that is not the heap's", block);
  const std::size_t unit = unit_at(*segment, block);
  if (unit >= segment->committed) fatal("free of an address at which nothing is allocated", block);
  Descriptor* run = find_run(block);
  if (run == nullptr) return false;
  if (block != start_of(*run)) fatal("free of an address inside a block", block);
  if (said != kSizeUnknown && said != run->large.bytes)
    fatal("a block was deleted with another size than it has", block);
  check(*run, static_cast<std::byte*>(block));
  // From here on it is nobody's, and whoever touches it ends.
  segment->map[unit].store(0, std::memory_order_release);
  quarantine.add(*run);
  return true;
}

std::size_t size_of_guarded(const void* block) noexcept {
  const Descriptor* run = find_run(block);
  return run == nullptr ? kSizeUnknown : run->large.bytes;
}

void* resize_guarded(void* block, std::size_t size) noexcept {
  Descriptor* run = find_run(block);
  if (run == nullptr || block != start_of(*run)) return nullptr;
  auto* at = static_cast<std::byte*>(block);
  check(*run, at);
  const std::size_t old_size = run->large.bytes;
  const std::size_t old_room = room_of(*run, old_size);
  if (size > kMostBytes || size < old_size / 2) return nullptr;
  const std::size_t room = room_of(*run, size);
  if (run->guarded && room != old_room) return nullptr;
  if (old_room > old_size) canary::erase(at + old_room, old_room - old_size);
  run->large.bytes = old_room;
  void* there = resize_large(*run, room);
  if (there == nullptr) {
    begin(*run, at, old_size);
    return nullptr;
  }
  begin(run_at(there), static_cast<std::byte*>(there), size);
  return there;
}

void quarantine_before_fork() noexcept { quarantine.lock().lock(); }
void quarantine_after_fork() noexcept { quarantine.lock().unlock(); }

}  // namespace weft::mem::hardened
