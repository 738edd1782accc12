#include "tests/support/tree_model.h"

#include <sys/stat.h>

#include <algorithm>

#include "fs/format.h"

namespace weft::fs::test {
namespace {
bool is_dir(const TreeModel::Node& node) { return S_ISDIR(node.node.mode); }
}  // namespace

TreeModel::TreeModel() {
  Node root;
  root.node = {.identity = kRoot, .mode = S_IFDIR | 0755, .links = 2, .content = {}, .xattrs = {}};
  root.parent = kRoot;
  root.inode = kRootInode;
  nodes_[kRoot] = std::move(root);
}

std::optional<TreeModel::Id> TreeModel::find(Id parent, const std::string& name) const {
  const auto& names = nodes_.at(parent).names;
  const auto at = names.find(name);
  if (at == names.end()) return std::nullopt;
  return at->second;
}

TreeModel::Code TreeModel::make(Id parent, const std::string& name, std::uint32_t mode, const std::string& target,
                                Id& made) {
  if (target.size() > kMaxSymlinkBytes) return Errc::kNameTooLong;
  if (find(parent, name)) return Errc::kExists;
  made = next_++;
  Node node;
  node.node = {.identity = made,
               .mode = mode,
               .links = S_ISDIR(mode) ? 2u : 1u,
               .size_bytes = target.size(),
               .content = target,
               .xattrs = {}};
  node.parent = S_ISDIR(mode) ? parent : 0;
  nodes_[made] = std::move(node);
  nodes_[parent].names[name] = made;
  if (S_ISDIR(mode)) ++nodes_[parent].node.links;
  return {};
}

TreeModel::Id TreeModel::make_temporary(std::uint32_t mode) {
  nodes_[next_].node = {.identity = next_, .mode = mode, .links = 0, .content = {}, .xattrs = {}};
  return next_++;
}

void TreeModel::drop(Id id) {
  if (--nodes_[id].node.links == 0) nodes_.erase(id);
}

TreeModel::Code TreeModel::link(Id file, Id parent, const std::string& name) {
  if (is_dir(nodes_.at(file))) return Errc::kNotPermitted;
  if (find(parent, name)) return Errc::kExists;
  ++nodes_[file].node.links;
  nodes_[parent].names[name] = file;
  return {};
}

TreeModel::Code TreeModel::unlink(Id parent, const std::string& name) {
  const auto id = find(parent, name);
  if (!id) return Errc::kNotFound;
  if (is_dir(nodes_.at(*id))) return Errc::kIsDirectory;
  nodes_[parent].names.erase(name);
  drop(*id);
  return {};
}

TreeModel::Code TreeModel::remove_directory(Id parent, const std::string& name) {
  const auto id = find(parent, name);
  if (!id) return Errc::kNotFound;
  if (!is_dir(nodes_.at(*id))) return Errc::kNotDirectory;
  if (!nodes_.at(*id).names.empty()) return Errc::kNotEmpty;
  nodes_[parent].names.erase(name);
  --nodes_[parent].node.links;
  nodes_.erase(*id);
  return {};
}

bool TreeModel::above(Id ancestor, Id directory) const {
  for (; directory != kRoot; directory = nodes_.at(directory).parent) {
    if (directory == ancestor) return true;
  }
  return ancestor == kRoot;
}

TreeModel::Code TreeModel::rename(Id from_parent, const std::string& from, Id to_parent, const std::string& to,
                                  std::uint32_t flags) {
  const bool no_replace = (flags & 1) != 0, exchange = (flags & 2) != 0;
  const auto source = find(from_parent, from);
  const auto target = find(to_parent, to);
  if (!source) return Errc::kNotFound;
  const bool source_dir = is_dir(nodes_.at(*source));
  const bool target_dir = target && is_dir(nodes_.at(*target));
  if (from_parent != to_parent) {
    if (source_dir && above(*source, to_parent)) return Errc::kInvalid;
    if (target_dir && above(*target, from_parent)) return exchange ? Errc::kInvalid : Errc::kNotEmpty;
  }
  if (target && no_replace) return Errc::kExists;
  if (!target && exchange) return Errc::kNotFound;
  if (target && !exchange) {
    if (source_dir && !target_dir) return Errc::kNotDirectory;
    if (!source_dir && target_dir) return Errc::kIsDirectory;
    if (target_dir && !nodes_.at(*target).names.empty()) return Errc::kNotEmpty;
  }
  if (target == source) return {};
  const auto move_directory = [&](Id id, Id old_parent, Id new_parent) {
    --nodes_[old_parent].node.links;
    ++nodes_[new_parent].node.links;
    nodes_[id].parent = new_parent;
  };
  if (exchange) {
    nodes_[from_parent].names[from] = *target;
    nodes_[to_parent].names[to] = *source;
    if (source_dir) move_directory(*source, from_parent, to_parent);
    if (target_dir) move_directory(*target, to_parent, from_parent);
    return {};
  }
  nodes_[from_parent].names.erase(from);
  if ((flags & 4) != 0) {
    Id whiteout = 0;
    static_cast<void>(make(from_parent, from, S_IFCHR, "", whiteout));
  }
  nodes_[to_parent].names[to] = *source;
  if (target_dir) {
    --nodes_[to_parent].node.links;
    nodes_.erase(*target);
  } else if (target) {
    drop(*target);
  }
  if (source_dir) move_directory(*source, from_parent, to_parent);
  return {};
}

TreeModel::Code TreeModel::write(Id file, std::uint64_t offset, const std::string& bytes) {
  SnapshotNode& node = nodes_.at(file).node;
  if (node.content.size() < offset + bytes.size()) node.content.resize(offset + bytes.size());
  node.content.replace(offset, bytes.size(), bytes);
  node.size_bytes = node.content.size();
  return {};
}

TreeModel::Code TreeModel::truncate(Id file, std::uint64_t size) {
  SnapshotNode& node = nodes_.at(file).node;
  node.content.resize(size);
  node.size_bytes = size;
  return {};
}

TreeModel::Code TreeModel::punch(Id file, std::uint64_t offset, std::uint64_t length) {
  std::string& content = nodes_.at(file).node.content;
  const std::uint64_t end = std::min<std::uint64_t>(content.size(), offset + length);
  if (offset < end)
    std::fill(content.begin() + static_cast<std::ptrdiff_t>(offset), content.begin() + static_cast<std::ptrdiff_t>(end),
              '\0');
  return {};
}

std::vector<TreeModel::Id> TreeModel::directories() const {
  std::vector<Id> out;
  for (const auto& [id, node] : nodes_) {
    if (is_dir(node)) out.push_back(id);
  }
  return out;
}

std::vector<TreeModel::Id> TreeModel::files() const {
  std::vector<Id> out;
  for (const auto& [id, node] : nodes_) {
    if (S_ISREG(node.node.mode)) out.push_back(id);
  }
  return out;
}

void TreeModel::collect(Id id, const std::string& path, SnapshotTree& out) const {
  const Node& node = nodes_.at(id);
  out[path] = node.node;
  const std::string prefix = path == "/" ? path : path + "/";
  for (const auto& [name, child] : node.names) collect(child, prefix + name, out);
}

SnapshotTree TreeModel::snapshot() const {
  SnapshotTree out;
  collect(kRoot, "/", out);
  return out;
}

}  // namespace weft::fs::test
