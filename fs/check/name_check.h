// fs/check/name_check.h - whether names and inodes fit each other: every inode has its names, every directory one, none is below itself.
//
//   item_check -> [name_check] -> findings
//
// Sorts the names by target and goes along inodes and names together; then follows parents up from every directory, each once.
// Not thread-safe, never parks. Tests: tests/fs/check/repair_test.cc.
#pragma once

#include "fs/check/finding.h"
#include "fs/check/item_check.h"

namespace weft::fs::check {

// Changes the order of facts.names and fills in InodeState::directories.
void check_names(TreeFacts& facts, Findings& findings);

// By binary search; null if there is none.
InodeState* find_inode(TreeFacts& facts, std::uint64_t number);

}  // namespace weft::fs::check
