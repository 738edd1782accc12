// tests/crash/operations.h - one operation of a workload, done to the file system and to its model.
//
//   life -> [operations] -> FileSystem, TreeModel (tests/support/tree_twins.h)
//
// Which operation may leave which states in between, and what fsync of which inode has to wait for, is known here.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "fs/file_system.h"
#include "tests/crash/workload.h"
#include "tests/support/tree_model.h"
#include "tests/support/tree_twins.h"

namespace weft::crash {

struct Twins {
  std::unique_ptr<fs::FileSystem> fs;
  fs::test::TreeModel model;
  std::set<fs::test::TreeModel::Id> reserved;  // files of which some blocks are reserved, and unwritten
  std::vector<fs::InodeNo> held;               // open to the end
};

struct Done {
  fs::test::Answers answers;
  std::vector<fs::test::TreeModel> between;  // what its first transactions leave, where it takes several
  // Inodes whose fsync has to wait for it; true: fdatasync, too.
  std::vector<std::pair<fs::test::TreeModel::Id, bool>> touched;
  bool settles = false;  // durable when it returns
};

// `ordinal`: the operation's in the workload; what it writes no other writes.
[[nodiscard]] Done perform(Twins& twins, const Operation& operation, std::uint64_t ordinal);

}  // namespace weft::crash
