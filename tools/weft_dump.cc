// tools/weft_dump.cc - `weft dump`: any block of a volume as the struct that it is, inodes and paths as their keys.
//
// Everything but inode and path shows the bytes as the last checkpoint left them; those two show what a mount would, with the log
// played in memory.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "fs/btree_node.h"
#include "fs/file_system.h"
#include "fs/format_check.h"
#include "fs/format_check_node.h"
#include "fs/group_table.h"
#include "fs/journal_replay.h"
#include "fs/log_reader.h"
#include "kernel/printable.h"
#include "tools/describe.h"
#include "tools/volume_view.h"
#include "tools/weft_commands.h"

namespace weft::tools {
namespace {

using fs::BlockNo;
using fs::kBlockBytes;
using Block = std::array<std::byte, kBlockBytes>;

Result<std::uint64_t> parse_number(const std::string& text) {
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with("0x")) {
    digits.remove_prefix(2);
    base = 16;
  }
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return fail(Errc::kInvalid, "'" + text + "' is not a number");
  }
  return number;
}

// -- One block

Report superblock_block(const VolumeView& view, const Block& block, BlockNo where, std::string title) {
  fs::DiskSuperblock superblock;
  std::memcpy(&superblock, block.data(), sizeof(superblock));
  Report report = describe_superblock(superblock, std::move(title));
  if (!fs::is_superblock(block)) {
    report.wrong("magic number or checksum is not a superblock's");
  } else if (auto good = check_superblock(superblock, where, view.device().geometry().size_bytes); !good) {
    report.wrong(good.error().message());
  }
  return report;
}

Report table_block(const VolumeView& view, const Block& block, BlockNo where, std::string title) {
  fs::DiskGroupTable table;
  std::memcpy(&table, block.data(), sizeof(table));
  Report report = describe_group_table(table, view.layout(), std::move(title));
  const std::uint64_t index = (where - view.layout().table_start) / 2;
  if (auto good = check_group_table(table, view.superblock(), view.layout(), index, where); !good) {
    report.wrong(good.error().message());
  }
  return report;
}

Report bitmap_block(VolumeView& view, const Block& block, BlockNo where, std::string title) {
  const std::uint64_t place = where - view.layout().bitmap_start;
  const std::uint64_t number = place / 2;
  const auto entry = view.group(number);
  const bool untouched = entry && (entry->flags & fs::kGroupUninitialised) != 0;
  const bool current = entry && !untouched && entry->slot == place % 2;
  title += untouched ? " (never written)" : current ? " (current)" : entry ? " (not current)" : "";
  Report report = describe_bitmap(block, BlockNo(number * fs::kBlocksPerGroup), std::move(title));
  if (!entry) {
    report.wrong(entry.error().message());
  } else if (current) {
    if (auto good = check_bitmap(block, *entry, view.layout(), number, where); !good)
      report.wrong(good.error().message());
  }
  return report;
}

bool looks_like_node(const Block& block) noexcept {
  le32 magic;
  std::memcpy(&magic, block.data(), sizeof(magic));
  return magic == fs::kNodeMagic;
}

// A node by itself, without its parent: its bounds, birth and level are taken from what it says.
Report node_block(const VolumeView& view, const Block& block, BlockNo where, std::string title) {
  fs::DiskNode node;
  std::memcpy(&node, block.data(), sizeof(node));
  Report report = describe_node(block, std::move(title));
  const fs::NodeExpectation expected{.block = where,
                                     .birth = fs::CheckpointNo(node.birth.get()),
                                     .level = node.level,
                                     .low = fs::to_key(node.low),
                                     .high = fs::to_key(node.high),
                                     .uuid = view.superblock().uuid,
                                     .first_block = view.layout().data_start(),
                                     .end_block = view.layout().data_end()};
  if (auto good = check_node(block, expected); !good) report.wrong(good.error().message());
  if (node.birth > view.superblock().checkpoint) {
    report.wrong(fmt::format("born for checkpoint {}, the newest is {}: a write that was never finished, or a leftover",
                             node.birth.get(), view.superblock().checkpoint.get()));
  }
  return report;
}

Status dump_block(VolumeView& view, BlockNo where, PrintReport print) {
  Block block;
  TRY(view.read_block(where, block));
  const fs::Layout& layout = view.layout();
  const auto within = [&](BlockNo start, std::uint64_t count) { return where >= start && where < start + count; };
  std::string title = fmt::format("block {}: {}", where.value(), view.area_of(where));
  if (where.value() < 2 || where.value() >= layout.block_count - 2) {
    print(superblock_block(view, block, where, title));
  } else if (within(layout.table_start, 2 * std::uint64_t{layout.table_blocks})) {
    print(table_block(view, block, where, title));
  } else if (within(layout.bitmap_start, 2 * std::uint64_t{layout.group_count})) {
    print(bitmap_block(view, block, where, title));
  } else if (within(layout.log_start, layout.log_blocks)) {
    fs::LogReader reader(view.device(), view.superblock().uuid, layout);
    const std::uint64_t first = (where - layout.log_start) * kBlockBytes;
    std::vector<Report> records;
    for (std::uint64_t at = first; at < first + kBlockBytes; at += fs::kLogUnitBytes) {
      if (const auto record = TRY(reader.record_at(at))) records.push_back(describe_record(at, *record, layout, false));
    }
    Report report = describe_bytes(block, title);
    print(report.list("records that begin here", std::move(records)));
  } else {
    const auto used = view.is_used(where);
    const std::string state = !used ? "" : *used ? ", used" : ", free";
    if (looks_like_node(block)) {
      print(node_block(view, block, where, fmt::format("block {}: tree node{}", where.value(), state)));
    } else {
      Report report = describe_bytes(block, fmt::format("block {}: file data{}", where.value(), state));
      if (!used) report.wrong(used.error().message());
      print(report);
    }
  }
  return {};
}

Status dump_node(const VolumeView& view, BlockNo where, PrintReport print) {
  Block block;
  TRY(view.read_block(where, block));
  print(node_block(view, block, where, fmt::format("block {} as a tree node", where.value())));
  return {};
}

// -- Areas

Status dump_superblocks(const VolumeView& view, PrintReport print) {
  for (const SuperblockSlot& slot : view.slots()) {
    const bool newest = slot.whole && slot.superblock.checkpoint == view.superblock().checkpoint;
    Report report = describe_superblock(slot.superblock, fmt::format("superblock slot {} at block {}{}", slot.slot,
                                                                     slot.block.value(), newest ? " (newest)" : ""));
    if (!slot.wrong.empty()) report.wrong(slot.wrong);
    print(report);
  }
  return {};
}

Status dump_group(VolumeView& view, std::uint64_t number, PrintReport print) {
  const fs::DiskGroup entry = TRY(view.group(number));
  const fs::Layout& layout = view.layout();
  const std::uint64_t first = number * fs::kBlocksPerGroup;
  Report report(fmt::format("group {}", number));
  const std::uint64_t index = number / fs::kGroupsPerTableBlock;
  report.add("blocks", fmt::format("{} .. {}", first, first + layout.blocks_in_group(number) - 1))
      .add("free_blocks", std::uint64_t{entry.free_blocks})
      .add("entry_in_block", layout.table_block(index, fs::table_slot(view.superblock(), index)).value())
      .add("bitmap_block", layout.bitmap_block(number, entry.slot).value(),
           (entry.flags & fs::kGroupUninitialised) != 0 ? "never written" : "")
      .add("bitmap_crc", fmt::format("{:08x}", entry.bitmap_crc.get()))
      .add("flags", std::uint64_t{entry.flags});
  Block bits;
  if (auto good = view.bitmap(number, bits); !good) report.wrong(good.error().message());
  print(report);
  return {};
}

Status dump_bitmap(VolumeView& view, std::uint64_t number, PrintReport print) {
  const fs::DiskGroup entry = TRY(view.group(number));
  Block bits;
  const Status good = view.bitmap(number, bits);
  const BlockNo where = view.layout().bitmap_block(number, entry.slot);
  if (!good) TRY(view.read_block(where, bits));
  Report report =
      describe_bitmap(bits, BlockNo(number * fs::kBlocksPerGroup),
                      (entry.flags & fs::kGroupUninitialised) != 0
                          ? fmt::format("group {}: no bitmap was ever written; this is what it would be", number)
                          : fmt::format("bitmap of group {}, block {}", number, where.value()));
  if (!good) report.wrong(good.error().message());
  print(report);
  return {};
}

Status dump_log(const VolumeView& view, bool with_changes, PrintReport print) {
  const fs::DiskSuperblock& superblock = view.superblock();
  const fs::LogPlan plan = TRY(fs::read_log(view.device(), superblock, view.layout(), true));
  Report summary("log");
  summary.add("size_bytes", view.layout().log_bytes())
      .add("start_block", view.layout().log_start.value())
      .add("tail_bytes", superblock.log_tail_bytes.get())
      .add("tail_sequence", superblock.log_tail_sequence.get())
      .add("epoch", superblock.log_epoch.get())
      .add("next_lsn", superblock.next_lsn.get())
      .add("records", std::uint64_t{plan.records.size()}, "to be replayed")
      .add("lost_records", plan.lost_records, "never acknowledged");
  if (plan.damage) summary.wrong(plan.damage->message());
  print(summary);
  fs::LogReader reader(view.device(), superblock.uuid, view.layout());
  for (const fs::LogRecordPlace& place : plan.records) {
    const auto record = TRY(reader.record_at(place.offset_bytes));
    // Somebody may be writing at the same time.
    if (!record) return fail(Errc::kAgain, fmt::format("the record at {} of the log is gone", place.offset_bytes));
    print(describe_record(place.offset_bytes, *record, view.layout(), with_changes));
  }
  return {};
}

Status dump_tree(const VolumeView& view, PrintReport print) {
  view.walk([&](const NodeVisit& visit) {
    fs::DiskNode node;
    std::memcpy(&node, visit.page.data(), sizeof(node));
    Report report(fmt::format("{:{}}block {}: level {}, {} {}, from {}", "", visit.depth * 2, visit.block.value(),
                              visit.level, node.count.get(), visit.level == 0 ? "items" : "children",
                              key_text(fs::to_key(node.low))));
    report.hidden("block", visit.block.value())
        .hidden("level", std::uint64_t{visit.level})
        .hidden("count", std::uint64_t{node.count})
        .hidden("birth", node.birth.get());
    if (!visit.wrong.empty()) report.wrong(visit.wrong);
    print(report);
    return true;
  });
  return {};
}

// Without a superblock to go by: the four places where one would be, or the bytes of a block.
Status dump_without_volume(BlockDevice& device, const std::string& what, std::uint64_t number, const Error& why,
                           PrintReport print) {
  const std::uint64_t device_bytes = device.geometry().size_bytes;
  const std::uint64_t blocks = device_bytes / kBlockBytes;
  if ((what != "superblock" && what != "block") || blocks < 4) return fail(why);
  std::vector<std::uint64_t> places = {0, 1, blocks - 2, blocks - 1};
  if (what == "block") places = {number};
  fs::AlignedBuffer buffer(kBlockBytes);
  for (const std::uint64_t place : places) {
    if (place >= blocks) return fail(Errc::kInvalid, fmt::format("the device has {} blocks", blocks));
    TRY(device.read(place * kBlockBytes, buffer.bytes()));
    fs::DiskSuperblock superblock;
    std::memcpy(&superblock, buffer.bytes().data(), sizeof(superblock));
    if (superblock.magic != fs::kSuperblockMagic) {
      print(describe_bytes(buffer.bytes(), fmt::format("block {}", place)).wrong(why.message()));
      continue;
    }
    Report report = describe_superblock(superblock, fmt::format("superblock in block {}", place));
    if (!fs::is_superblock(buffer.bytes())) report.wrong("its checksum does not match");
    if (auto good = check_superblock(superblock, BlockNo(place), device_bytes); !good)
      report.wrong(good.error().message());
    print(report);
  }
  return {};
}

// -- Inodes and paths: as a mount would see them

Result<std::unique_ptr<fs::FileSystem>> mount_in_memory(BlockDevice& device) {
  fs::FileSystemOptions options;
  options.volume.read_only = true;
  options.volume.background = false;
  return fs::FileSystem::mount(device, options);
}

Status dump_inode(fs::FileSystem& file_system, fs::InodeNo number, const std::string& title, PrintReport print) {
  const fs::Key first(number, fs::KeyKind::kInode, 0);
  const fs::Key end = fs::Key::from_raw(number.value() + 1, 0);
  std::optional<Report> report;
  std::vector<Report> items;
  TRY(file_system.volume().scan(first, end, [&](fs::Key key, std::span<const std::byte> value) {
    if (key == first && value.size() == sizeof(fs::DiskInode)) {
      fs::DiskInode inode;
      std::memcpy(&inode, value.data(), sizeof(inode));
      report = describe_inode(inode, title);
    } else {
      items.push_back(describe_item(key, value));
    }
    return true;
  }));
  if (!report) {
    if (items.empty()) return fail(Errc::kNotFound, fmt::format("there is no inode {}", number.value()));
    report = Report(title);
    report->wrong("keys of this inode exist, the inode itself does not");
  }
  report->hidden("inode", number.value());
  const fs::Key orphan(fs::kSystemObject, fs::KeyKind::kOrphan, number.value());
  if (TRY(file_system.volume().get(orphan, [](std::span<const std::byte>) {}))) {
    report->add("orphan", true, "unlinked, or a truncate under way: the next mount sees to it");
  }
  print(report->list("keys", std::move(items)));
  return {};
}

Status dump_path(fs::FileSystem& file_system, const std::string& path, PrintReport print) {
  fs::InodeNo at = fs::kRootInode;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view name = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    if (name.empty()) continue;
    const auto found = file_system.lookup(at, name);
    if (!found) return fail(Error(found.error()).with(printable(path) + ": " + printable(name)));
    at = found->inode;
    file_system.forget(at, 1);
  }
  return dump_inode(file_system, at, fmt::format("{}: inode {}", path, at.value()), print);
}

}  // namespace

Status show_dump(BlockDevice& device, const DumpOptions& options, PrintReport print) {
  constexpr const char* kUsage =
      "write one of: superblock, group N, bitmap N, log, node BLOCK, block N, inode N, path /A/B, tree";
  const std::string what = options.words.empty() ? "" : options.words[0];
  const bool wants_argument =
      what == "group" || what == "bitmap" || what == "node" || what == "block" || what == "inode" || what == "path";
  if (options.words.size() != (wants_argument ? 2U : 1U)) return fail(Errc::kInvalid, kUsage);

  if (what == "path" || what == "inode") {
    const std::uint64_t number = what == "inode" ? TRY(parse_number(options.words[1])) : 0;
    const std::unique_ptr<fs::FileSystem> file_system = TRY(mount_in_memory(device));
    if (what == "path") return dump_path(*file_system, options.words[1], print);
    return dump_inode(*file_system, fs::InodeNo(number), fmt::format("inode {}", number), print);
  }
  const std::uint64_t number = wants_argument ? TRY(parse_number(options.words[1])) : 0;
  auto opened = VolumeView::open(device);
  if (!opened) return dump_without_volume(device, what, number, opened.error(), print);
  VolumeView& view = *opened;
  if (what == "superblock") return dump_superblocks(view, print);
  if (what == "group") return dump_group(view, number, print);
  if (what == "bitmap") return dump_bitmap(view, number, print);
  if (what == "log") return dump_log(view, options.records, print);
  if (what == "node") return dump_node(view, BlockNo(number), print);
  if (what == "block") return dump_block(view, BlockNo(number), print);
  if (what == "tree") return dump_tree(view, print);
  return fail(Errc::kInvalid, kUsage);
}

}  // namespace weft::tools
