// tests/support/tree_twins.h - what a test does to a file system and to its model (tree_model.h) alike, and what each answered.
//
//   random_test, ops_fuzz, tests/crash, fault_* -> [tree_twins] -> FileSystem, TreeModel
//
// References to inodes are given back at once: what has a name stays.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fs/file_system.h"
#include "kernel/result.h"
#include "tests/support/tree_model.h"

namespace weft::fs::test {

// The error's code, or nothing: EXPECT_EQ(code(fs.unlink(...)), Errc::kNotFound) reads well.
template <typename T>
TreeModel::Code code(const Result<T>& result) {
  if (result) return std::nullopt;
  return result.error().code();
}

// Where a path leads; slashes separate, "" and "/" are the root.
Result<InodeNo> find(FileSystem& fs, std::string_view path);
std::optional<TreeModel::Id> find(const TreeModel& model, std::string_view path);

struct Answers {
  TreeModel::Code real;
  TreeModel::Code model;
};

// A name that is, or may come to be, in a directory of both.
struct TwinName {
  TreeModel::Id parent = 0;
  InodeNo directory;
  std::string name;
};

// By the type in `node.mode`. `made` is the model's, and knows its inode; only where both succeeded.
Answers make(FileSystem& fs, TreeModel& model, const TwinName& at, const NewNode& node, const std::string& target,
             TreeModel::Id& made);
Answers link(FileSystem& fs, TreeModel& model, TreeModel::Id file, InodeNo inode, const TwinName& at);
Answers unlink(FileSystem& fs, TreeModel& model, const TwinName& at);
Answers remove_directory(FileSystem& fs, TreeModel& model, const TwinName& at);
Answers rename(FileSystem& fs, TreeModel& model, const TwinName& from, const TwinName& to, std::uint32_t flags);

}  // namespace weft::fs::test
