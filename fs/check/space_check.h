// fs/check/space_check.h - bitmaps and group table against the blocks that the tree says are in use.
//
//   checked_volume -> [space_check] -> findings, groups whose bitmaps are to be written anew
//
// Parks on the device. Tests: tests/fs/check/space_check_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "fs/check/finding.h"
#include "fs/check/space_map.h"
#include "fs/group_table.h"
#include "fs/layout.h"

namespace weft::fs::check {

// `complete`: `claimed` is all that is in use; if not (part of the tree is lost), blocks that nobody claims are passed over.
// `progress` is called with each group and may end it (kCancelled).
Status check_space(GroupTable& table, const Layout& layout, const SpaceMap& claimed, bool complete, Findings& findings,
                   std::vector<std::uint32_t>& wrong_groups, FunctionRef<bool(std::uint32_t)> progress);

// The same question of what the next checkpoint would write. Memory only, but for bitmaps that are not loaded.
Status check_allocator(Allocator& allocator, const Layout& layout, const SpaceMap& claimed, Findings& findings);

}  // namespace weft::fs::check
