#include "tests/support/tree_twins.h"

#include <sys/stat.h>

#include <algorithm>

namespace weft::fs::test {
namespace {

const Caller kSomebody{};

// Calls visit(part) for each part of a path until it answers false.
template <typename F>
void for_each_part(std::string_view path, F&& visit) {
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end != 0 && !visit(path.substr(0, end))) return;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
}

}  // namespace

Result<InodeNo> find(FileSystem& fs, std::string_view path) {
  Result<InodeNo> at = kRootInode;
  for_each_part(path, [&](std::string_view part) {
    const auto found = fs.lookup(*at, part);
    if (found) fs.forget(found->inode, 1);
    at = found ? Result<InodeNo>(found->inode) : fail(found.error());
    return at.has_value();
  });
  return at;
}

std::optional<TreeModel::Id> find(const TreeModel& model, std::string_view path) {
  std::optional<TreeModel::Id> at = TreeModel::kRoot;
  for_each_part(path, [&](std::string_view part) {
    at = model.find(*at, std::string(part));
    return at.has_value();
  });
  return at;
}

Answers make(FileSystem& fs, TreeModel& model, const TwinName& at, const NewNode& node, const std::string& target,
             TreeModel::Id& made) {
  const auto real = S_ISDIR(node.mode)   ? fs.make_directory(kSomebody, at.directory, at.name, node.mode & 07777)
                    : S_ISLNK(node.mode) ? fs.make_symlink(kSomebody, at.directory, at.name, target)
                                         : fs.make_node(kSomebody, at.directory, at.name, node);
  const TreeModel::Code wanted = model.make(at.parent, at.name, node.mode, target, made);
  if (real) fs.forget(real->inode, 1);
  if (real && !wanted) model.at(made).inode = real->inode;
  return {code(real), wanted};
}

Answers link(FileSystem& fs, TreeModel& model, TreeModel::Id file, InodeNo inode, const TwinName& at) {
  const auto real = fs.link(inode, at.directory, at.name);
  if (real) fs.forget(real->inode, 1);
  return {code(real), model.link(file, at.parent, at.name)};
}

Answers unlink(FileSystem& fs, TreeModel& model, const TwinName& at) {
  return {code(fs.unlink(kSomebody, at.directory, at.name)), model.unlink(at.parent, at.name)};
}

Answers remove_directory(FileSystem& fs, TreeModel& model, const TwinName& at) {
  return {code(fs.remove_directory(kSomebody, at.directory, at.name)), model.remove_directory(at.parent, at.name)};
}

Answers rename(FileSystem& fs, TreeModel& model, const TwinName& from, const TwinName& to, std::uint32_t flags) {
  return {code(fs.rename(kSomebody, from.directory, from.name, to.directory, to.name, flags)),
          model.rename(from.parent, from.name, to.parent, to.name, flags)};
}

}  // namespace weft::fs::test
