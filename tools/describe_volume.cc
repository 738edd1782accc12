#include <fmt/format.h>

#include <ctime>

#include "fs/format_check.h"
#include "tools/command_line.h"
#include "tools/describe.h"

namespace weft::tools {

using fs::kBlockBytes;

std::string time_text(const fs::DiskTime& time) {
  const auto seconds = static_cast<std::time_t>(time.seconds.get());
  if (seconds == 0 && time.nanoseconds == 0) return "never";
  std::tm parts{};
  char text[64];
  if (::gmtime_r(&seconds, &parts) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts) == 0) {
    return fmt::format("{} seconds", seconds);
  }
  return fmt::format("{}.{:09} UTC", text, time.nanoseconds.get());
}

std::string state_text(std::uint32_t state) {
  std::string text = (state & fs::kStateMounted) != 0 ? "mounted, or was when the machine stopped" : "clean";
  if ((state & fs::kStateErrors) != 0) text += "; damage was met: run fsck.weft";
  if (const std::uint32_t unknown = state & ~(fs::kStateMounted | fs::kStateErrors); unknown != 0) {
    text += fmt::format("; unknown bits {:#x}", unknown);
  }
  return text;
}

Report describe_superblock(const fs::DiskSuperblock& superblock, std::string title) {
  Report report(std::move(title));
  std::string label(reinterpret_cast<const char*>(superblock.label), sizeof superblock.label);
  label.resize(label.find_last_not_of('\0') + 1);
  std::string seed;
  for (const std::uint8_t byte : superblock.hash_seed) seed += fmt::format("{:02x}", byte);
  std::string slots;
  for (std::size_t t = 0; t < superblock.table_blocks && t < fs::kTableSlotBytes * 8; ++t) {
    if (t == 64) {
      slots += "...";
      break;
    }
    slots += (superblock.table_slots[t / 8] >> (t % 8) & 1) != 0 ? '1' : '0';
  }
  const std::uint64_t blocks = superblock.block_count;
  report.at(0, "magic", fmt::format("{:016x}", superblock.magic.get()))
      .at(8, "crc", fmt::format("{:08x}", superblock.crc.get()))
      .at(12, "version", std::uint64_t{superblock.version})
      .at(16, "uuid", fs::uuid_text(superblock.uuid))
      .at(32, "label", label)
      .at(96, "features_compat", superblock.features_compat.get())
      .at(104, "features_ro_compat", superblock.features_ro_compat.get())
      .at(112, "features_incompat", superblock.features_incompat.get())
      .at(120, "block_count", blocks, blocks < UINT64_MAX / kBlockBytes ? format_size(blocks * kBlockBytes) : "")
      .at(128, "checkpoint", superblock.checkpoint.get())
      .at(136, "root.block", superblock.root.block.get())
      .at(144, "root.birth", superblock.root.birth.get())
      .at(152, "root_level", std::uint64_t{superblock.root_level})
      .at(156, "group_count", std::uint64_t{superblock.group_count})
      .at(160, "table_start", superblock.table_start.get())
      .at(168, "table_blocks", std::uint64_t{superblock.table_blocks})
      .at(172, "log_blocks", std::uint64_t{superblock.log_blocks},
          format_size(std::uint64_t{superblock.log_blocks} * kBlockBytes))
      .at(176, "bitmap_start", superblock.bitmap_start.get())
      .at(184, "log_start", superblock.log_start.get())
      .at(192, "log_tail_bytes", superblock.log_tail_bytes.get())
      .at(200, "log_tail_sequence", superblock.log_tail_sequence.get())
      .at(208, "log_epoch", superblock.log_epoch.get())
      .at(216, "next_lsn", superblock.next_lsn.get())
      .at(224, "next_inode", superblock.next_inode.get())
      .at(232, "inode_count", superblock.inode_count.get())
      .at(240, "free_blocks", superblock.free_blocks.get())
      .at(248, "hash_seed", seed)
      .at(264, "created", time_text(superblock.created))
      .at(276, "mounted", time_text(superblock.mounted))
      .at(288, "checked", time_text(superblock.checked))
      .at(300, "mount_count", std::uint64_t{superblock.mount_count})
      .at(304, "state", std::uint64_t{superblock.state}, state_text(superblock.state))
      .at(308, "error_count", std::uint64_t{superblock.error_count})
      .at(2048, "table_slots", slots);
  return report;
}

Report describe_group(std::uint64_t group, const fs::DiskGroup& entry) {
  const bool untouched = (entry.flags & fs::kGroupUninitialised) != 0;
  Report report(fmt::format("group {}: {} free, bitmap {}", group, entry.free_blocks.get(),
                            untouched ? std::string("never written")
                                      : fmt::format("in place {}, crc {:08x}", entry.slot, entry.bitmap_crc.get())));
  report.hidden("group", group)
      .hidden("free_blocks", std::uint64_t{entry.free_blocks})
      .hidden("bitmap_crc", std::uint64_t{entry.bitmap_crc})
      .hidden("slot", std::uint64_t{entry.slot})
      .hidden("flags", std::uint64_t{entry.flags});
  return report;
}

Report describe_group_table(const fs::DiskGroupTable& table, const fs::Layout& layout, std::string title) {
  Report report(std::move(title));
  report.at(0, "magic", fmt::format("{:08x}", table.magic.get()))
      .at(4, "crc", fmt::format("{:08x}", table.crc.get()))
      .at(8, "uuid", fs::uuid_text(table.uuid))
      .at(24, "checkpoint", table.checkpoint.get())
      .at(32, "index", table.index.get());
  std::vector<Report> groups;
  for (std::uint32_t i = 0; i < fs::kGroupsPerTableBlock; ++i) {
    // A hostile index may be anything: the sum wraps, and is then past the last group or within it; both are harmless.
    const std::uint64_t group = table.index * fs::kGroupsPerTableBlock + i;
    if (group >= layout.group_count) break;
    groups.push_back(describe_group(group, table.groups[i]));
  }
  report.list("groups", std::move(groups));
  return report;
}

Report describe_bitmap(std::span<const std::byte, kBlockBytes> bitmap, fs::BlockNo first, std::string title) {
  Report report(std::move(title));
  std::vector<Report> runs;
  std::uint64_t used = 0;
  for (std::uint32_t from = 0; from < fs::kBlocksPerGroup;) {
    const bool set = fs::bit_is_set(bitmap, from);
    std::uint32_t to = from + 1;
    while (to < fs::kBlocksPerGroup && fs::bit_is_set(bitmap, to) == set) ++to;
    if (set) used += to - from;
    const std::uint64_t start = first.value() + from;
    Report run(
        fmt::format("{:>10} ..{:>10}  {:>6}  {}", start, start + (to - from) - 1, to - from, set ? "used" : "free"));
    run.hidden("start", start).hidden("count", std::uint64_t{to - from}).hidden("used", set);
    runs.push_back(std::move(run));
    from = to;
  }
  report.add("used", used).add("free", fs::kBlocksPerGroup - used);
  report.list("runs", std::move(runs));
  return report;
}

}  // namespace weft::tools
