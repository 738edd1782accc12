// tests/support/tree_snapshot.h - all that people can see of a file system, as lines of text: equal texts, equal trees.
//
// One line a path, sorted: type and mode, owner, links, size, flags, target, xattrs, the hash of the content. Times are left out, so
// that a model need not know them; which paths share an inode shows by the number of the first of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "fs/file_system.h"

namespace weft::fs::test {

struct SnapshotNode {
  std::uint64_t identity = 0;  // the same for paths that are one inode
  std::uint32_t mode = 0, uid = 0, gid = 0, links = 0, device = 0, flags = 0;
  std::uint64_t size_bytes = 0;  // of files and symlinks
  std::string content;           // or target
  bool unreadable = false;       // its content
  std::map<std::string, std::string> xattrs;
};

// Paths, "/" first.
using SnapshotTree = std::map<std::string, SnapshotNode>;

// A file that cannot be read: the error of all, or noted in its place.
enum class Unreadable : std::uint8_t { kFails, kShown };
Result<SnapshotTree> take_snapshot(FileSystem& fs, Unreadable unreadable = Unreadable::kFails);
std::string describe(const SnapshotTree& tree);

// Inodes in the tree: what Volume::space() should count.
std::uint64_t count_inodes(const SnapshotTree& tree);

}  // namespace weft::fs::test
