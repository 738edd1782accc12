#include "tests/support/tree_snapshot.h"

#include <sys/stat.h>

#include <set>
#include <vector>

#include "kernel/crc32c.h"

namespace weft::fs::test {
namespace {

Status visit(FileSystem& fs, InodeNo inode, const std::string& path, Unreadable unreadable, SnapshotTree& out) {
  const Attributes attributes = TRY(fs.attributes(inode));
  SnapshotNode node;
  node.identity = inode.value();
  node.mode = attributes.mode;
  node.uid = attributes.uid;
  node.gid = attributes.gid;
  node.links = attributes.links;
  node.device = attributes.device;
  node.flags = attributes.flags;
  if (S_ISLNK(attributes.mode)) node.content = TRY(fs.read_symlink(inode));
  if (S_ISREG(attributes.mode)) {
    std::vector<std::byte> buffer(attributes.size_bytes + 1);
    const auto got = fs.read(inode, 0, buffer);
    if (!got && unreadable == Unreadable::kFails) return fail(Error(got.error()).with(path));
    node.unreadable = !got;
    node.content.assign(reinterpret_cast<const char*>(buffer.data()), got.value_or(0));
  }
  node.size_bytes = S_ISDIR(attributes.mode) ? 0 : attributes.size_bytes;
  const auto names = TRY(fs.list_xattrs(inode));
  for (const std::string& name : names) {
    const auto value = TRY(fs.get_xattr(inode, name));
    node.xattrs[name].assign(reinterpret_cast<const char*>(value.data()), value.size());
  }
  const bool is_directory = S_ISDIR(node.mode);
  out[path] = std::move(node);
  if (!is_directory) return {};
  std::vector<std::pair<std::string, InodeNo>> children;
  TRY(fs.read_directory(inode, 2, false, [&](const DirectoryEntry& entry) {
    children.emplace_back(entry.name, entry.inode);
    return true;
  }));
  const std::string prefix = path == "/" ? path : path + "/";
  for (const auto& [name, child] : children) {
    const auto found = TRY(fs.lookup(inode, name));
    fs.forget(found.inode, 1);
    if (found.inode != child) return fail(Errc::kCorrupt, prefix + name + ": lookup and listing disagree");
    TRY(visit(fs, child, prefix + name, unreadable, out));
  }
  const auto up = TRY(fs.lookup(inode, ".."));
  fs.forget(up.inode, 1);
  return {};
}

}  // namespace

Result<SnapshotTree> take_snapshot(FileSystem& fs, Unreadable unreadable) {
  SnapshotTree tree;
  TRY(visit(fs, kRootInode, "/", unreadable, tree));
  return tree;
}

std::string describe(const SnapshotTree& tree) {
  std::string out;
  std::map<std::uint64_t, std::size_t> first;  // identity: the line where it was met
  std::size_t line = 0;
  for (const auto& [path, node] : tree) {
    const std::size_t same = first.emplace(node.identity, line).first->second;
    char text[160];
    std::snprintf(text, sizeof text, " #%zu mode %o owner %u:%u links %u device %x flags %x size %llu", same, node.mode,
                  node.uid, node.gid, node.links, node.device, node.flags,
                  static_cast<unsigned long long>(node.size_bytes));
    out += path + text;
    if (S_ISLNK(node.mode)) out += " -> " + node.content;
    if (node.unreadable) {
      out += " content unreadable";
    } else if (S_ISREG(node.mode)) {
      std::snprintf(text, sizeof text, " content %08x", crc32c(std::as_bytes(std::span(node.content))));
      out += text;
    }
    for (const auto& [name, value] : node.xattrs) {
      std::snprintf(text, sizeof text, " %zu bytes %08x", value.size(), crc32c(std::as_bytes(std::span(value))));
      out += " [" + name + text + "]";
    }
    out += "\n";
    ++line;
  }
  return out;
}

std::uint64_t count_inodes(const SnapshotTree& tree) {
  std::set<std::uint64_t> identities;
  for (const auto& [path, node] : tree) identities.insert(node.identity);
  return identities.size();
}

}  // namespace weft::fs::test
