#include "kernel/lock_order.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "kernel/check.h"

namespace weft {

void HeldLocks::may_wait_for(LockRank rank, std::uint64_t order) const noexcept {
  if (rank.number == 0) return;
  for (const Held& held : held_) {
    if (held.lock == nullptr || held.rank.number < rank.number) continue;
    // No order of their own: any may be held together.
    if (held.rank.number == rank.number && (order == 0 || held.order < order)) continue;
    char what[160];
    std::snprintf(what, sizeof what, "lock order (\"%s\" %llu is asked for while \"%s\" %llu is held)", rank.name,
                  static_cast<unsigned long long>(order), held.rank.name, static_cast<unsigned long long>(held.order));
    check_failed(what, __FILE__, __LINE__);
  }
}

void HeldLocks::add(const void* lock, LockRank rank, std::uint64_t order) noexcept {
  if (rank.number == 0) return;
  auto* place = std::ranges::find(held_, nullptr, &Held::lock);
  WEFT_CHECK(place != std::end(held_));
  *place = {lock, rank, order};
  ++count_;
}

void HeldLocks::remove(const void* lock) noexcept {
  auto* place = std::ranges::find(held_, lock, &Held::lock);
  WEFT_CHECK(place != std::end(held_));  // let go by another than its holder
  *place = {};
  --count_;
}

}  // namespace weft
