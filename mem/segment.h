// mem/segment.h - reserved address space, and the flat map from any address in it to what lies there. Internal.
//
// One segment of 1 TiB holds everything, unless the address space is limited (RLIMIT_AS) or the kernel refuses: then there are
// several smaller ones, and only the first is found by the short way. A limit that is set later is seen when the heap grows next: then
// the segment gives back the address space that it has not used. One that is empty goes back when a request finds no room. Of a segment nothing is touched before it is used:
//
//     | map: 8 bytes a unit | dirty: 1 bit | descriptors: 64 bytes | states: 1 KiB, in hardened mode | data: 16 KiB, aligned to 2 MiB |
//
// A map entry is the address of the owning LocalHeap | size class | kCounted for a slab, kLargeEntry for the first unit of a
// large block, and 0 for everything else. free() needs no more than that: a pointer that is not ours is known by one
// comparison, and no byte of the program's pages is read to find out.
// Locks   segments are added under the lock of PageRuns; the map is read without.
// Tests: tests/mem/page_runs_test.cc, tests/mem/exhaustion_test.cc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mem/counter.h"
#include "mem/descriptor.h"

namespace weft::mem {

inline constexpr std::uintptr_t kLargeEntry = 1;
inline constexpr std::uintptr_t kClassMask = 0x7f;
inline constexpr std::uintptr_t kCounted = 0x80;
inline constexpr std::uintptr_t kTagMask = 0xff;  // heaps are aligned to 256
// Of a slab of the hardened mode whose blocks are plain (marked_block.h).
inline constexpr std::uintptr_t kPlainEntry = std::uintptr_t{1} << 63;
inline constexpr std::uintptr_t kOwnerMask = ~(kTagMask | kPlainEntry);

struct Segment {
  std::atomic<std::byte*> base = nullptr;  // of the data
  Counter units;                           // reserved; 0: given back, until another takes its place
  std::atomic<std::uintptr_t>* map = nullptr;
  Descriptor* descriptors = nullptr;
  std::uint64_t* dirty = nullptr;               // units of free runs that may have pages
  std::atomic<std::uint8_t>* states = nullptr;  // of each 16 bytes (hardened_slabs.h); nullptr in the fast mode
  // Under the lock of PageRuns.
  void* reserved = nullptr;  // all of it; nullptr once a part has gone back, or all
  std::size_t reserved_bytes = 0;
  Counter committed;         // units, from the first
  std::size_t frontier = 0;  // units from here on were never used

  std::byte* address(std::size_t unit) const noexcept { return base + unit * kUnitBytes; }
};

inline constexpr std::size_t kMaxSegments = 1024;

// What free() looks at: the first segment. Until there is one, every address is far outside. Written once, with the first block of the
// process, the base last; read as plain words, because atomic ones cost free() three instructions of sixteen. Who has a block
// of ours to free sees them; to others any mixture says "not in the first segment", which is then looked up properly.
// (Three variables and no structure: its address would be one instruction more.)
[[gnu::visibility("hidden")]] extern constinit std::uintptr_t first_base;
[[gnu::visibility("hidden")]] extern constinit std::size_t first_units;
[[gnu::visibility("hidden")]] extern constinit std::atomic<std::uintptr_t>* first_map;

// Of the same segment, in hardened mode.
[[gnu::visibility("hidden")]] extern constinit std::atomic<std::uint8_t>* first_states;

extern constinit Segment segments[kMaxSegments];
extern constinit std::atomic<std::size_t> segment_count;

// Adds a segment with room for a run of `units`, as large as may be. nullptr: no address space. Caller has the lock.
Segment* add_segment(std::size_t units) noexcept;
// Not the first, which free() looks at, and none that has given back a part of itself.
inline bool is_removable(const Segment& segment) noexcept {
  return &segment != segments && segment.reserved != nullptr;
}
// Its address space goes back. Nothing of it is in use or in a bin. Caller has the lock.
void remove_segment(Segment& segment) noexcept;
// Makes the units below `end` usable. False: the kernel refuses.
bool commit_to(Segment& segment, std::size_t end) noexcept;

// The segment with this address, or nullptr. O(1) in the first, else linear in their number.
Segment* segment_with(const void* address) noexcept;

inline Segment& segment_of(const Descriptor& of) noexcept { return segments[of.segment]; }
inline std::size_t unit_of(const Descriptor& of) noexcept {
  return static_cast<std::size_t>(&of - segment_of(of).descriptors);
}
inline std::byte* start_of(const Descriptor& of) noexcept { return segment_of(of).address(unit_of(of)); }
inline std::size_t unit_at(const Segment& segment, const void* address) noexcept {
  return static_cast<std::size_t>(static_cast<const std::byte*>(address) - segment.base) >> kUnitShift;
}

// The slab with this unit; its map entry says that it is one.
inline Descriptor& slab_at(Segment& segment, std::size_t unit) noexcept {
  return segment.descriptors[segment.descriptors[unit].lead];
}
// The large block that begins at this address of ours.
inline Descriptor* run_at(const void* block) noexcept {
  Segment& segment = *segment_with(block);
  return &segment.descriptors[unit_at(segment, block)];
}
// Whom a slab belongs to, as of now.
inline LocalHeap* owner_of(const Descriptor& slab) noexcept {
  const std::uintptr_t entry = segment_of(slab).map[unit_of(slab)].load(std::memory_order_acquire);
  return reinterpret_cast<LocalHeap*>(entry & kOwnerMask);
}
inline void set_entries(const Descriptor& slab, std::uintptr_t entry) noexcept {
  std::atomic<std::uintptr_t>* map = segment_of(slab).map + unit_of(slab);
  for (std::size_t i = 0; i < slab.units; ++i) map[i].store(entry, std::memory_order_release);
}

}  // namespace weft::mem
