#include "fs/check/space_check.h"

#include <fmt/format.h>

#include <memory>

#include "fs/page.h"

namespace weft::fs::check {
namespace {

struct Difference {
  std::uint32_t count = 0;
  std::uint32_t first = 0;
};

// Bits set in `a` and not in `b`.
Difference in_first_only(const GroupBitmap& a, const GroupBitmap& b) {
  Difference found;
  for (std::uint32_t bit = a.next_set(0); bit < kBlocksPerGroup; bit = a.next_set(bit + 1)) {
    if (b.get(bit)) continue;
    if (found.count++ == 0) found.first = bit;
  }
  return found;
}

struct Comparison {
  const GroupBitmap& says;
  const GroupBitmap& claimed;
};

bool compare(std::uint32_t group, const Comparison& maps, bool complete, std::string_view whose, Findings& findings) {
  if (maps.says == maps.claimed) return true;
  const auto report = [&](Problem problem, const Difference& difference, std::string_view what) {
    const BlockNo first(std::uint64_t{group} * kBlocksPerGroup + difference.first);
    findings.add(problem, first,
                 fmt::format("group {}: {} block{} {} {}, from block {} on", group, difference.count,
                             difference.count == 1 ? "" : "s", what, whose, first.value()));
  };
  bool same = true;
  if (const Difference bad = in_first_only(maps.claimed, maps.says); bad.count != 0) {
    report(Problem::kUsedMarkedFree, bad, "in use marked free in");
    same = false;
  }
  if (!complete) return same;
  if (const Difference lost = in_first_only(maps.says, maps.claimed); lost.count != 0) {
    report(Problem::kFreeMarkedUsed, lost, "that nothing uses marked used in");
    same = false;
  }
  return same;
}

}  // namespace

Status check_space(GroupTable& table, const Layout& layout, const SpaceMap& claimed, bool complete, Findings& findings,
                   std::vector<std::uint32_t>& wrong_groups, FunctionRef<bool(std::uint32_t)> progress) {
  const PageRef page = PageRef::make_zeroed();
  const auto on_disk = std::make_unique<GroupBitmap>();
  const auto initial = std::make_unique<GroupBitmap>();
  for (std::uint32_t group = 0; group < layout.group_count; ++group) {
    const GroupBitmap* used = claimed.group(group);
    if (!table.is_initialised(group) && used == nullptr) continue;
    if (!progress(group)) return fail(Errc::kCancelled);
    if (used == nullptr) {
      layout.initial_bitmap(group, page.bytes());
      initial->load(page.bytes());
      used = initial.get();
    }
    if (auto status = table.load_bitmap(group, page.bytes()); !status) {
      findings.add(Problem::kBitmap, layout.bitmap_block(group, 0), status.error().message());
      wrong_groups.push_back(group);
      continue;
    }
    on_disk->load(page.bytes());
    if (!compare(group, {*on_disk, *used}, complete, "its bitmap", findings)) wrong_groups.push_back(group);
  }
  return {};
}

Status check_allocator(Allocator& allocator, const Layout& layout, const SpaceMap& claimed, Findings& findings) {
  const PageRef page = PageRef::make_zeroed();
  const auto says = std::make_unique<GroupBitmap>();
  const auto initial = std::make_unique<GroupBitmap>();
  const std::vector<std::uint32_t> free = claimed.free_counts();
  for (std::uint32_t group = 0; group < layout.group_count; ++group) {
    const GroupBitmap* used = claimed.group(group);
    if (used == nullptr) {
      layout.initial_bitmap(group, page.bytes());
      initial->load(page.bytes());
      used = initial.get();
      if (free[group] == layout.initially_free(group)) continue;
    }
    TRY(allocator.used_bitmap(group, *says));
    compare(group, {*says, *used}, true, "the bitmap that replaying the log makes", findings);
  }
  return {};
}

}  // namespace weft::fs::check
