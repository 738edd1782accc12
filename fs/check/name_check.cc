#include "fs/check/name_check.h"

#include <dirent.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <unordered_map>
#include <vector>

namespace weft::fs::check {
namespace {

std::string_view word_for(std::uint8_t type) noexcept {
  switch (type) {
    case DT_REG: return "file";
    case DT_DIR: return "directory";
    case DT_LNK: return "symlink";
    case DT_CHR: return "character device";
    case DT_BLK: return "block device";
    case DT_FIFO: return "pipe";
    case DT_SOCK: return "socket";
    default: return "thing of no known type";
  }
}

class NameCheck {
 public:
  NameCheck(TreeFacts& facts, Findings& findings) : facts_(facts), findings_(findings) {}

  void run() {
    std::ranges::sort(facts_.names, [](const NameRef& a, const NameRef& b) {
      return a.target != b.target         ? a.target < b.target
             : a.directory != b.directory ? a.directory < b.directory
                                          : a.place < b.place;
    });
    parents_.assign(facts_.inodes.size(), 0);
    match();
    for (std::size_t i = 0; i < facts_.inodes.size(); ++i) count_links(i);
    find_loops();
    check_orphans();
    check_root();
  }

 private:
  bool is_orphan(std::uint64_t number) const { return std::ranges::binary_search(facts_.orphans, number); }

  // Goes along inodes and names, both by number.
  void match() {
    names_.assign(facts_.inodes.size(), 0);
    auto name = facts_.names.begin();
    const auto end = facts_.names.end();
    for (std::size_t i = 0; i < facts_.inodes.size(); ++i) {
      InodeState& inode = facts_.inodes[i];
      for (; name != end && name->target < inode.number; ++name) no_target(*name);
      const auto first = name;
      while (name != end && name->target == inode.number) ++name;
      const std::span<const NameRef> names(first, name);
      names_[i] = static_cast<std::uint32_t>(names.size());
      for (const NameRef& one : names) {
        if (one.type() == inode.type) continue;
        findings_
            .add(Problem::kNameType, InodeNo(inode.number),
                 fmt::format("directory {}: its name of inode {} says {}, but that is a {}", one.directory,
                             inode.number, word_for(one.type()), word_for(inode.type)))
            .fixes.push_back({.kind = Fix::Kind::kSetType, .key = one.key(), .number = inode.type, .bytes = {}});
      }
      if (inode.type == DT_DIR) match_directory(i, names);
    }
    for (; name != end; ++name) no_target(*name);
  }

  void no_target(const NameRef& name) {
    findings_
        .add(Problem::kNameTarget, InodeNo(name.directory),
             fmt::format("directory {}: has a name of inode {}, which does not exist; the name is removed",
                         name.directory, name.target))
        .fixes.push_back(erase_of(name.key()));
  }

  void match_directory(std::size_t index, std::span<const NameRef> names) {
    InodeState& inode = facts_.inodes[index];
    const bool is_root = inode.number == kRootInode.value();
    const NameRef* kept = nullptr;
    for (const NameRef& name : names) {
      if (!is_root && (kept == nullptr || (name.directory == inode.parent && kept->directory != inode.parent)))
        kept = &name;
    }
    for (const NameRef& name : names) {
      if (&name == kept) continue;
      findings_
          .add(Problem::kSecondName, InodeNo(inode.number),
               is_root ? fmt::format("directory {}: has a name of the root directory, which is removed", name.directory)
                       : fmt::format("directory {}: is in directory {} and in {}; the second name is removed",
                                     inode.number, kept->directory, name.directory))
          .fixes.push_back(erase_of(name.key()));
    }
    if (is_root) {
      if (!inode.made_up && inode.parent != inode.number) set_parent(inode, inode.number);
      return;
    }
    if (kept == nullptr) return;
    parents_[index] = kept->directory;
    if (!inode.made_up && inode.parent != kept->directory) set_parent(inode, kept->directory);
    if (InodeState* parent = find_inode(facts_, kept->directory)) ++parent->directories;
  }

  void set_parent(const InodeState& inode, std::uint64_t parent) {
    findings_
        .add(Problem::kParent, InodeNo(inode.number),
             fmt::format("directory {}: says that it is in directory {}, but it is in {}", inode.number, inode.parent,
                         parent))
        .fixes.push_back(set_field(InodeNo(inode.number), InodeField::kParent, parent));
  }

  void count_links(std::size_t index) {
    const InodeState& inode = facts_.inodes[index];
    const InodeNo number(inode.number);
    const bool is_root = number == kRootInode;
    if (names_[index] == 0 && !is_root) {
      // Unlinked and yet to be freed, unless things can still be reached through it.
      if (is_orphan(inode.number) && inode.links == 0 && !inode.made_up && !inode.has_names) return;
      findings_
          .add(Problem::kUnreachable, number,
               fmt::format("inode {}: a {} without a name; it goes to lost+found", inode.number, word_for(inode.type)))
          .fixes.push_back({.kind = Fix::Kind::kReconnect,
                            .key = Key(number, KeyKind::kInode, 0),
                            .number = inode.type,
                            .bytes = {}});
      return;
    }
    if (inode.made_up) return;
    const std::uint32_t links = inode.type == DT_DIR ? 2 + inode.directories : names_[index];
    if (inode.links == links) return;
    findings_
        .add(Problem::kLinkCount, number,
             fmt::format("inode {}: says that it has {} links, but has {}", inode.number, inode.links, links))
        .fixes.push_back(set_field(number, InodeField::kLinks, links));
  }

  // From every directory up to one that is known to lead to the root, or to nowhere. A walk that meets itself is a loop.
  void find_loops() {
    std::vector<std::uint32_t> walked(facts_.inodes.size(), 0);  // number of the walk that came by
    std::uint32_t walk = 0;
    for (std::size_t i = 0; i < facts_.inodes.size(); ++i) {
      if (parents_[i] == 0 || walked[i] != 0) continue;
      ++walk;
      for (std::size_t at = i;;) {
        if (walked[at] == walk) {
          loop_at(at);
          break;
        }
        if (walked[at] != 0) break;
        walked[at] = walk;
        if (parents_[at] == 0) break;
        const InodeState* parent = find_inode(facts_, parents_[at]);
        if (parent == nullptr) break;
        at = static_cast<std::size_t>(parent - facts_.inodes.data());
      }
    }
  }

  void loop_at(std::size_t index) {
    const InodeState& inode = facts_.inodes[index];
    for (const NameRef& name : std::ranges::equal_range(facts_.names, inode.number, {}, &NameRef::target)) {
      if (name.directory != parents_[index]) continue;
      findings_
          .add(Problem::kLoop, InodeNo(inode.number),
               fmt::format("directory {}: is below itself; its name in directory {} is removed", inode.number,
                           name.directory))
          .fixes.push_back(erase_of(name.key()));
      return;
    }
  }

  void check_orphans() {
    for (const std::uint64_t number : facts_.orphans) {
      const Fix erase = erase_of(Key(kSystemObject, KeyKind::kOrphan, number));
      const InodeState* inode = find_inode(facts_, number);
      if (inode == nullptr) {
        findings_
            .add(Problem::kOrphan, InodeNo(number),
                 fmt::format("inode {}: does not exist and is marked as to be freed", number))
            .fixes.push_back(erase);
        continue;
      }
      // With links it says that a truncate is under way. Without, mounting would free what has a name.
      const std::size_t index = static_cast<std::size_t>(inode - facts_.inodes.data());
      const bool named = names_[index] != 0 || number == kRootInode.value();
      const bool reconnected = names_[index] == 0 && (inode->links != 0 || inode->has_names || inode->made_up);
      if (!reconnected && !(named && inode->links == 0)) continue;
      findings_
          .add(Problem::kOrphan, InodeNo(number),
               fmt::format("inode {}: is marked as to be freed, and {}", number, named ? "has a name" : "is not empty"))
          .fixes.push_back(erase);
    }
  }

  void check_root() {
    if (find_inode(facts_, kRootInode.value()) != nullptr) return;  // as a directory: item_check sees to that
    Finding& finding = findings_.add(Problem::kRoot, kRootInode, "the root directory is missing");
    finding.fixes.push_back({.kind = Fix::Kind::kMakeRoot, .key = Key(kRootInode, KeyKind::kInode, 0), .bytes = {}});
  }

  TreeFacts& facts_;
  Findings& findings_;
  std::vector<std::uint64_t> parents_;  // of directories, by index: where their name is; 0: none
  std::vector<std::uint32_t> names_;    // of each inode
};

}  // namespace

InodeState* find_inode(TreeFacts& facts, std::uint64_t number) {
  const auto found = std::ranges::lower_bound(facts.inodes, number, {}, &InodeState::number);
  return found != facts.inodes.end() && found->number == number ? &*found : nullptr;
}

void check_names(TreeFacts& facts, Findings& findings) { NameCheck(facts, findings).run(); }

}  // namespace weft::fs::check
