// tests/fs/fault_steps.h - a workload of every operation: what is called, and what it makes of the tree.
//
//   fault_*_test -> fault_world -> [fault_steps] -> FileSystem, TreeModel
//
// Each step says what it makes of the tree and, where it is several transactions, what they leave in between.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/file_system.h"
#include "kernel/disk_image.h"
#include "tests/support/mounted.h"
#include "tests/support/tree_twins.h"

namespace weft::fs::test {

// What one transaction makes of the tree; an error where the tree is not such that it could.
using Effect = std::function<TreeModel::Code(TreeModel&)>;

struct FaultStep {
  const char* name;
  std::function<Status(FileSystem&)> run;
  std::vector<Effect> effects = {};  // of its transactions, in order
  bool durable = false;              // when it succeeds nothing before it can be lost,
  std::string about = {};            // or, where it is of one file, nothing before that file's last change
  std::vector<Effect> partly = {};   // what there may be of it where space gave out
};

// Every operation that there is at least once, on what populated_volume() holds.
const std::vector<FaultStep>& fault_steps();

// 12 MiB, unmounted: directories, files of all kinds, a tree of several levels.
struct PopulatedVolume {
  DiskImage image;
  TreeModel model;
};
const PopulatedVolume& populated_volume();

// Small caches, so that all comes from the disk again and again; no fibers of its own.
FileSystemOptions fault_options(Clock& clock);

std::string parent_of(std::string_view path);
std::string name_of(std::string_view path);

}  // namespace weft::fs::test
