#include "fs/reference_counts.h"

#include <algorithm>
#include <utility>

namespace weft::fs {
namespace {

constexpr std::size_t kLeastSlots = 16;

bool too_full(std::size_t count, std::size_t slots) { return count * 20 > slots * 17; }
// Half of what makes it grow, so that it does not go to and fro.
bool too_empty(std::size_t count, std::size_t slots) { return slots > kLeastSlots && count * 20 < slots * 9; }
std::size_t slots_for(std::size_t count) { return std::max(kLeastSlots, count * 10 / 7); }

}  // namespace

// Multiplication spreads numbers that follow each other; its upper half scales to any number of slots (Lemire 2016).
std::size_t ReferenceCounts::place_of(std::uint64_t inode) const noexcept {
  const std::uint64_t mixed = (inode ^ inode >> 32) * 0x9e3779b97f4a7c15u;
  return static_cast<std::size_t>(static_cast<unsigned __int128>(mixed) * slots_.size() >> 64);
}

std::size_t ReferenceCounts::find(InodeNo inode) const noexcept {
  std::size_t slot = place_of(inode.value());
  while (slots_[slot].references != 0 && slots_[slot].inode != inode.value()) slot = next(slot);
  return slot;
}

void ReferenceCounts::resize(std::size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.references != 0) slots_[find(InodeNo(slot.inode))] = slot;
  }
}

void ReferenceCounts::add(InodeNo inode, std::uint64_t references) {
  if (references == 0) return;
  if (too_full(count_ + 1, slots_.size())) resize(slots_for(count_ + 1));
  Slot& slot = slots_[find(inode)];
  if (slot.references == 0) ++count_;
  slot.inode = inode.value();
  slot.references += references;
}

std::uint64_t ReferenceCounts::take(InodeNo inode, std::uint64_t references) {
  if (count_ == 0) return 0;
  std::size_t hole = find(inode);
  Slot& slot = slots_[hole];
  slot.references -= std::min(references, slot.references);
  if (slot.references != 0) return slot.references;
  if (slot.inode != inode.value()) return 0;  // there was none
  // What stands behind the hole and belongs before or into it moves there.
  for (std::size_t at = next(hole); slots_[at].references != 0; at = next(at)) {
    const std::size_t home = place_of(slots_[at].inode);
    const bool stays = hole < at ? home > hole && home <= at : home > hole || home <= at;
    if (stays) continue;
    slots_[hole] = slots_[at];
    hole = at;
  }
  slots_[hole] = {};
  --count_;
  if (too_empty(count_, slots_.size())) resize(slots_for(count_));
  return 0;
}

}  // namespace weft::fs
