// tests/support/tree_model.h - a file system in a few maps: what the real one must be equal to.
//
// Its operations answer with the same codes. Every state that a crash may legally leave is one of those that were there after some
// operation: describe(model.snapshot()) of each is the history that an oracle looks in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernel/error.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {

class TreeModel {
 public:
  using Id = std::uint64_t;
  using Code = std::optional<Errc>;  // none: done
  static constexpr Id kRoot = 1;

  struct Node {
    SnapshotNode node;
    std::map<std::string, Id> names;  // of a directory
    Id parent = 0;                    // of a directory
    InodeNo inode;                    // in the real one
  };

  TreeModel();

  Code make(Id parent, const std::string& name, std::uint32_t mode, const std::string& target, Id& made);
  // A file without a name, until link() gives it one.
  Id make_temporary(std::uint32_t mode);
  Code link(Id file, Id parent, const std::string& name);
  Code unlink(Id parent, const std::string& name);
  Code remove_directory(Id parent, const std::string& name);
  // RENAME_* of Linux: 1 does not replace, 2 exchanges, 4 leaves a whiteout.
  Code rename(Id from_parent, const std::string& from, Id to_parent, const std::string& to, std::uint32_t flags);
  Code write(Id file, std::uint64_t offset, const std::string& bytes);
  Code truncate(Id file, std::uint64_t size);
  Code punch(Id file, std::uint64_t offset, std::uint64_t length);

  [[nodiscard]] Node& at(Id id) { return nodes_.at(id); }
  [[nodiscard]] bool exists(Id id) const { return nodes_.contains(id); }
  [[nodiscard]] std::vector<Id> directories() const;
  [[nodiscard]] std::vector<Id> files() const;
  // A name of the directory, or nothing.
  [[nodiscard]] std::optional<Id> find(Id parent, const std::string& name) const;
  [[nodiscard]] SnapshotTree snapshot() const;

 private:
  void drop(Id id);
  [[nodiscard]] bool above(Id ancestor, Id directory) const;
  void collect(Id id, const std::string& path, SnapshotTree& out) const;

  std::map<Id, Node> nodes_;
  Id next_ = 2;
};

}  // namespace weft::fs::test
