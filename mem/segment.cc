// mem/segment.cc - see segment.h.
#include "mem/segment.h"

#include <algorithm>
#include <bit>

#include "mem/hardened.h"
#include "mem/seldom.h"
#include "mem/system_memory.h"

namespace weft::mem {

constinit std::uintptr_t first_base = std::uintptr_t{1} << 63;
constinit std::size_t first_units = 0;
constinit std::atomic<std::uintptr_t>* first_map = nullptr;
constinit std::atomic<std::uint8_t>* first_states = nullptr;
WEFT_SELDOM_BEYOND_FIRST constinit Segment segments[kMaxSegments];
constinit std::atomic<std::size_t> segment_count{0};

namespace {

constexpr std::size_t kHugeBytes = std::size_t{2} << 20;
constexpr std::size_t kWholeUnits = (std::size_t{1} << 40) / kUnitBytes;
constexpr std::size_t kFirstStep = (std::size_t{8} << 20) / kUnitBytes;
constexpr std::size_t kLargestStep = (std::size_t{64} << 20) / kUnitBytes;

constexpr std::size_t round_up(std::size_t n, std::size_t to) noexcept { return (n + to - 1) / to * to; }

constexpr std::size_t kStatesOfUnit = kUnitBytes / kMinAlign;

struct Layout {
  std::size_t map_bytes, dirty_bytes, descriptor_bytes, state_bytes, whole_bytes;
};
Layout layout_of(std::size_t units) noexcept {
  Layout layout{.map_bytes = round_up(units * sizeof(std::uintptr_t), kPageBytes),
                .dirty_bytes = round_up((units + 63) / 64 * 8, kPageBytes),
                .descriptor_bytes = round_up(units * sizeof(Descriptor), kPageBytes),
                .state_bytes = hardened::on() ? round_up(units * kStatesOfUnit, kPageBytes) : 0,
                .whole_bytes = 0};
  // The data is aligned within; what is left over is never touched.
  const std::size_t alignment = units * kUnitBytes >= 16 * kHugeBytes ? kHugeBytes : kUnitBytes;
  layout.whole_bytes = layout.map_bytes + layout.dirty_bytes + layout.descriptor_bytes + layout.state_bytes +
                       units * kUnitBytes + alignment;
  return layout;
}

// An eighth of the limit at a time, so that the rest of the process keeps room for its own mappings.
std::size_t wished_units(std::size_t needed) noexcept {
  const std::size_t limit = system::address_space_limit();
  if (limit == SIZE_MAX) return std::max(needed, kWholeUnits);
  return std::max(needed, std::clamp(limit / 8 / kUnitBytes, kFirstStep / 2, kWholeUnits));
}

bool commit_part(void* array, std::size_t from, std::size_t to, std::size_t whole) noexcept {
  // Bytes of the array; its first pages are there already.
  const std::size_t first = round_up(from, kPageBytes);
  const std::size_t last = std::min(round_up(to, kPageBytes), whole);
  return first >= last || system::commit(static_cast<std::byte*>(array) + first, last - first);
}

bool commit_exactly(Segment& segment, std::size_t end) noexcept {
  const std::size_t from = segment.committed;
  const Layout layout = layout_of(segment.units);
  if (!commit_part(segment.map, from * sizeof(std::uintptr_t), end * sizeof(std::uintptr_t), layout.map_bytes) ||
      !commit_part(segment.dirty, from / 8, (end + 63) / 64 * 8, layout.dirty_bytes) ||
      !commit_part(segment.descriptors, from * sizeof(Descriptor), end * sizeof(Descriptor), layout.descriptor_bytes) ||
      !commit_part(segment.states, from * kStatesOfUnit, end * kStatesOfUnit, layout.state_bytes) ||
      !system::commit(segment.address(from), (end - from) * kUnitBytes)) {
    return false;
  }
  segment.committed = end;
  return true;
}

void unreserve_between(const void* array, std::size_t from, std::size_t to) noexcept {
  if (from < to) system::unreserve(static_cast<std::byte*>(const_cast<void*>(array)) + from, to - from);
}

// The address space that was never used goes back, of the arrays as well.
void cut_to_committed(Segment& segment) noexcept {
  const Layout before = layout_of(segment.units);
  const Layout after = layout_of(segment.committed);
  const std::size_t units = segment.units;
  segment.units = static_cast<std::size_t>(segment.committed);
  segment.reserved = nullptr;
  if (&segment == segments) std::atomic_ref(first_units).store(segment.units, std::memory_order_relaxed);
  unreserve_between(segment.map, after.map_bytes, before.map_bytes);
  unreserve_between(segment.dirty, after.dirty_bytes, before.dirty_bytes);
  unreserve_between(segment.descriptors, after.descriptor_bytes, before.descriptor_bytes);
  unreserve_between(segment.base, segment.units * kUnitBytes, units * kUnitBytes);
}

}  // namespace

bool commit_to(Segment& segment, std::size_t end) noexcept {
  if (end <= segment.committed) return true;
  if (end > segment.units) return false;
  // Of a mapping that is there already the kernel asks no more whether it is within the limit.
  if (segment.units * kUnitBytes > system::address_space_limit()) {
    cut_to_committed(segment);
    return false;
  }
  const std::size_t step = std::clamp<std::size_t>(segment.committed / 2, kFirstStep, kLargestStep);
  const std::size_t wished = std::min<std::size_t>(std::max(end, segment.committed + step), segment.units);
  return commit_exactly(segment, wished) || (wished > end && commit_exactly(segment, end));
}

Segment* add_segment(std::size_t needed) noexcept {
  const std::size_t count = segment_count.load(std::memory_order_relaxed);
  std::size_t index = 0;
  while (index < count && segments[index].units > 0) ++index;
  if (index == kMaxSegments || needed > (std::size_t{1} << 47) / kUnitBytes) return nullptr;
  std::size_t units = wished_units(needed);
  void* start = nullptr;
  while ((start = system::reserve(layout_of(units).whole_bytes)) == nullptr) {
    if (units == needed) return nullptr;
    units = std::max(units / 2, needed);
  }
  const Layout layout = layout_of(units);
  Segment& segment = segments[index];
  auto* at = static_cast<std::byte*>(start);
  segment.reserved = start;
  segment.reserved_bytes = layout.whole_bytes;
  segment.map = reinterpret_cast<std::atomic<std::uintptr_t>*>(at);
  segment.dirty = reinterpret_cast<std::uint64_t*>(at + layout.map_bytes);
  segment.descriptors = reinterpret_cast<Descriptor*>(at + layout.map_bytes + layout.dirty_bytes);
  std::byte* after = reinterpret_cast<std::byte*>(segment.descriptors) + layout.descriptor_bytes;
  if (layout.state_bytes > 0) segment.states = reinterpret_cast<std::atomic<std::uint8_t>*>(after);
  const std::size_t alignment = units * kUnitBytes >= 16 * kHugeBytes ? kHugeBytes : kUnitBytes;
  segment.base =
      reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(after) + layout.state_bytes, alignment));
  segment.committed = 0;
  segment.frontier = 0;
  segment.units = units;
  if (!commit_to(segment, needed)) {
    segment.units = 0;
    system::unreserve(start, layout.whole_bytes);
    return nullptr;
  }
  if (index == count) segment_count.store(index + 1, std::memory_order_release);
  if (index == 0) {
    std::atomic_ref(first_states).store(segment.states, std::memory_order_relaxed);
    std::atomic_ref(first_map).store(segment.map, std::memory_order_relaxed);
    std::atomic_ref(first_units).store(units, std::memory_order_relaxed);
    std::atomic_ref(first_base).store(reinterpret_cast<std::uintptr_t>(segment.base.load()), std::memory_order_release);
  }
  return &segment;
}

void remove_segment(Segment& segment) noexcept {
  // Nobody has a block of it, so whoever looks it up now hears that the address is not ours.
  segment.units = 0;
  segment.committed = 0;
  segment.frontier = 0;
  system::unreserve(segment.reserved, segment.reserved_bytes);
  segment.reserved = nullptr;
}

Segment* segment_with(const void* address) noexcept {
  const std::size_t count = segment_count.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i) {
    Segment& segment = segments[i];
    const std::size_t units = segment.units;
    const std::byte* base = segment.base;
    const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(base);
    // Both were of one segment, and not of another in its place.
    if (offset < units * kUnitBytes && segment.units == units && segment.base == base) return &segment;
  }
  return nullptr;
}

}  // namespace weft::mem
