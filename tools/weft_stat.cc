// tools/weft_stat.cc - `weft stat`: where the space of a volume went, and how scattered what is free lies.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "fs/btree_node.h"
#include "fs/journal_replay.h"
#include "tools/command_line.h"
#include "tools/describe.h"
#include "tools/volume_view.h"
#include "tools/weft_commands.h"

namespace weft::tools {
namespace {

using fs::kBlockBytes;

struct TreeCounts {
  std::uint64_t nodes = 0;
  std::uint64_t used_bytes = 0;  // of leaves: slots and values
  std::uint64_t leaves = 0;
  std::uint64_t items = 0;
  std::uint64_t data_blocks = 0;
  std::uint64_t unwritten_blocks = 0;
  std::uint64_t extents = 0;
  std::uint64_t files = 0, directories = 0, symlinks = 0, others = 0, orphans = 0;
  std::string first_wrong;
  std::uint64_t wrong = 0;
};

void count_item(fs::Key key, std::span<const std::byte> value, TreeCounts& counts) {
  ++counts.items;
  if (key.kind() == fs::KeyKind::kOrphan) ++counts.orphans;
  if (key.kind() == fs::KeyKind::kExtent) {
    fs::DiskExtent extent;  // check_node() has looked at its size
    std::memcpy(&extent, value.data(), sizeof(extent));
    ++counts.extents;
    counts.data_blocks += extent.length;
    if ((extent.flags & fs::kExtentUnwritten) != 0) counts.unwritten_blocks += extent.length;
  }
  if (key.kind() == fs::KeyKind::kInode && value.size() == sizeof(fs::DiskInode)) {
    fs::DiskInode inode;
    std::memcpy(&inode, value.data(), sizeof(inode));
    switch (inode.mode & S_IFMT) {
      case S_IFREG: ++counts.files; break;
      case S_IFDIR: ++counts.directories; break;
      case S_IFLNK: ++counts.symlinks; break;
      default: ++counts.others;
    }
  }
}

TreeCounts count_tree(const VolumeView& view) {
  TreeCounts counts;
  view.walk([&](const NodeVisit& visit) {
    ++counts.nodes;
    if (!visit.wrong.empty()) {
      if (counts.wrong++ == 0) counts.first_wrong = visit.wrong;
      return true;
    }
    if (visit.level != 0) return true;
    std::array<std::byte, kBlockBytes> page;  // NodePage edits, too, and so wants it writable
    std::memcpy(page.data(), visit.page.data(), page.size());
    const fs::NodePage node(page.data());
    ++counts.leaves;
    counts.used_bytes += node.used_bytes();
    for (std::uint32_t i = 0; i < node.count(); ++i) count_item(node.leaf_key(i), node.value(i), counts);
    return true;
  });
  return counts;
}

// Free extents by size: class n holds those of 2^n .. 2^(n+1) - 1 blocks. An extent does not end at a group's border.
struct FreeSpace {
  std::array<std::uint64_t, 48> extents{};
  std::array<std::uint64_t, 48> blocks{};
  std::uint64_t total_blocks = 0, total_extents = 0, largest = 0;
  std::uint64_t unreadable_groups = 0;
  std::string first_wrong;

  void add(std::uint64_t run) {
    if (run == 0) return;
    const auto size_class = static_cast<std::size_t>(std::bit_width(run) - 1);
    ++extents[size_class];
    blocks[size_class] += run;
    total_blocks += run;
    ++total_extents;
    largest = std::max(largest, run);
  }
};

FreeSpace count_free(VolumeView& view) {
  FreeSpace space;
  std::array<std::byte, kBlockBytes> bits;
  std::uint64_t run = 0;
  for (std::uint64_t group = 0; group < view.layout().group_count; ++group) {
    if (auto good = view.bitmap(group, bits); !good) {
      if (space.unreadable_groups++ == 0) space.first_wrong = good.error().message();
      space.add(std::exchange(run, 0));
      continue;
    }
    for (std::uint32_t at = 0; at < fs::kBlocksPerGroup;) {
      // A word at a time where all of it is alike: a volume of many TiB has millions.
      std::uint64_t word = 0;
      std::memcpy(&word, bits.data() + at / 8, sizeof(word));
      if (word == 0) {
        run += 64;
      } else if (word == ~std::uint64_t{0}) {
        space.add(std::exchange(run, 0));
      } else {
        for (unsigned bit = 0; bit < 64; ++bit) {
          if ((word >> bit & 1) == 0)
            ++run;
          else
            space.add(std::exchange(run, 0));
        }
      }
      at += 64;
    }
  }
  space.add(run);
  return space;
}

std::string share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? "" : fmt::format("{:5.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// A field of /proc/self/mountinfo: \040 and its like stand for blanks.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      const auto digit = [&](std::size_t at) { return static_cast<unsigned>(text[at] - '0') & 7U; };
      out += static_cast<char>(digit(i + 1) << 6 | digit(i + 2) << 3 | digit(i + 3));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct MountFacts {
  std::string type, source, options;
};

// The last mount at `directory`, which is the one on top.
MountFacts facts_of_mount(const std::string& directory) {
  MountFacts facts;
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::string word, where, options;
    words >> word >> word >> word >> word >> where >> options;
    if (unescape(where) != directory) continue;
    while (words >> word && word != "-") {}
    facts.options = options;
    words >> facts.type >> word;
    facts.source = unescape(word);
  }
  return facts;
}

}  // namespace

Status show_stat(BlockDevice& device, PrintReport print) {
  VolumeView view = TRY(VolumeView::open(device));
  const fs::DiskSuperblock& superblock = view.superblock();
  const fs::LogPlan plan = TRY(fs::read_log(device, superblock, view.layout(), true));
  const TreeCounts tree = count_tree(view);
  const FreeSpace free = count_free(view);
  const std::uint64_t all = superblock.block_count;

  Report report(device.name());
  const auto space = [&](const char* name, std::uint64_t blocks) {
    report.add(name, blocks * kBlockBytes,
               fmt::format("{:>10}  {}", format_size(blocks * kBlockBytes), share(blocks, all)));
  };
  const std::uint64_t fixed = view.layout().fixed_blocks() - view.layout().log_blocks;
  space("total_bytes", all);
  space("data_bytes", tree.data_blocks);
  space("tree_bytes", tree.nodes);
  space("log_bytes", view.layout().log_blocks);
  space("tables_bytes", fixed);
  space("free_bytes", free.total_blocks);
  report
      .add("inodes", superblock.inode_count.get(),
           fmt::format("{} files, {} directories, {} symbolic links, {} others", tree.files, tree.directories,
                       tree.symlinks, tree.others))
      .add("orphans", tree.orphans, "unlinked, yet to be freed")
      .add("extents", tree.extents,
           tree.files == 0
               ? ""
               : fmt::format("{:.2f} a file", static_cast<double>(tree.extents) / static_cast<double>(tree.files)))
      .add("unwritten_bytes", tree.unwritten_blocks * kBlockBytes, "reserved, reads as zeros; part of data")
      .add("tree_height", std::uint64_t{superblock.root_level} + 1)
      .add("tree_nodes", tree.nodes)
      .add("tree_items", tree.items)
      .add("leaf_fill_percent", tree.leaves == 0 ? 0 : 100 * tree.used_bytes / (tree.leaves * fs::kLeafSpace))
      .add("free_extents", free.total_extents)
      .add("largest_free_bytes", free.largest * kBlockBytes, format_size(free.largest * kBlockBytes));
  std::vector<Report> classes;
  for (std::size_t n = 0; n < free.extents.size(); ++n) {
    if (free.extents[n] == 0) continue;
    const std::uint64_t least = kBlockBytes << n;
    Report line(fmt::format("{:>8} and more: {:>8} extents, {:>10}  {}", format_size(least), free.extents[n],
                            format_size(free.blocks[n] * kBlockBytes), share(free.blocks[n], free.total_blocks)));
    line.hidden("least_bytes", least).hidden("extents", free.extents[n]).hidden("bytes", free.blocks[n] * kBlockBytes);
    classes.push_back(std::move(line));
  }
  report.list("free_by_size", std::move(classes));
  if (!plan.records.empty()) {
    report.add("log_records", std::uint64_t{plan.records.size()}, "changes behind the checkpoint, not counted here");
  }
  if (plan.damage) report.wrong(plan.damage->message());
  if (tree.wrong != 0)
    report.wrong(fmt::format("{} tree nodes cannot be read; the first: {}", tree.wrong, tree.first_wrong));
  if (free.unreadable_groups != 0) {
    report.wrong(fmt::format("{} bitmaps cannot be read; the first: {}", free.unreadable_groups, free.first_wrong));
  }
  // A volume at rest fits together to the block.
  const std::uint64_t used = tree.data_blocks + tree.nodes + view.layout().fixed_blocks();
  if (tree.wrong == 0 && free.unreadable_groups == 0 && used + free.total_blocks != all) {
    report.wrong(fmt::format("{} blocks are used and {} free, of {}: run fsck.weft", used, free.total_blocks, all));
  }
  print(report);
  return {};
}

Status show_mount_stat(const std::string& directory, PrintReport print) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail(Error::from_errno(errno, directory));
  struct statfs space{};
  const int failed = ::fstatfs(fd, &space) != 0 ? errno : 0;
  char label[FSLABEL_MAX] = {};
  const bool labelled = ::ioctl(fd, FS_IOC_GETFSLABEL, label) == 0;
  ::close(fd);
  if (failed != 0) return fail(Error::from_errno(failed, directory));
  const MountFacts facts = facts_of_mount(directory);
  if (facts.type.empty()) return fail(Errc::kInvalid, directory + " is not a mount point");
  if (facts.type != "weft" && !facts.type.ends_with(".weft")) {
    return fail(Errc::kWrongFormat, directory + " is a mount of type " + facts.type + ", not of Weft");
  }
  Report report(directory);
  const auto unit = static_cast<std::uint64_t>(space.f_frsize);
  const auto bytes = [&](const char* name, std::uint64_t blocks) {
    report.add(name, blocks * unit, format_size(blocks * unit));
  };
  report.add("type", facts.type).add("source", facts.source).add("options", facts.options);
  if (labelled) report.add("label", std::string(label, ::strnlen(label, sizeof label)));
  bytes("total_bytes", space.f_blocks);
  bytes("used_bytes", space.f_blocks - space.f_bfree);
  bytes("free_bytes", space.f_bfree);
  bytes("available_bytes", space.f_bavail);
  report.add("inodes_used", static_cast<std::uint64_t>(space.f_files - space.f_ffree))
      .add("inodes_free", static_cast<std::uint64_t>(space.f_ffree), "at most; they come from the same space");
  print(report);
  return {};
}

}  // namespace weft::tools
