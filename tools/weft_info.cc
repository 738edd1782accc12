// tools/weft_info.cc - `weft info`: a volume in a few lines.
#include <fmt/format.h>

#include "fs/format_check.h"
#include "fs/journal_replay.h"
#include "tools/command_line.h"
#include "tools/describe.h"
#include "tools/volume_view.h"
#include "tools/weft_commands.h"

namespace weft::tools {
namespace {

using fs::kBlockBytes;

std::string blocks_text(std::uint64_t blocks) { return format_size(blocks * kBlockBytes); }

Report slot_line(const SuperblockSlot& slot, std::uint64_t newest) {
  std::string words = slot.whole ? fmt::format("checkpoint {}{}", slot.superblock.checkpoint.get(),
                                               slot.superblock.checkpoint == newest ? ", newest" : "")
                                 : "nothing whole";
  if (!slot.wrong.empty()) words += ": " + slot.wrong;
  Report report(fmt::format("slot {} at block {}: {}", slot.slot, slot.block.value(), words));
  report.hidden("slot", std::uint64_t{slot.slot}).hidden("block", slot.block.value()).hidden("whole", slot.whole);
  if (slot.whole) report.hidden("checkpoint", slot.superblock.checkpoint.get());
  return report;
}

// "clean", or what a mount would have to do first.
std::string state_of(const fs::DiskSuperblock& superblock, const fs::LogPlan& plan) {
  std::string text;
  if (plan.damage) {
    text = "damaged";
  } else if ((superblock.state & fs::kStateMounted) == 0) {
    text = "clean";
  } else {
    text = "in use, or not cleanly unmounted and needs recovery, which the next mount does";
  }
  if ((superblock.state & fs::kStateErrors) != 0) text += "; damage was met: run fsck.weft";
  return text;
}

}  // namespace

Status show_info(BlockDevice& device, PrintReport print) {
  const VolumeView view = TRY(VolumeView::open(device));
  const fs::DiskSuperblock& superblock = view.superblock();
  const fs::LogPlan plan = TRY(fs::read_log(device, superblock, view.layout(), true));
  std::uint64_t pending = 0;
  for (const fs::LogRecordPlace& record : plan.records) pending += record.transactions;

  Report report(device.name());
  std::string label(reinterpret_cast<const char*>(superblock.label), sizeof superblock.label);
  label.resize(label.find_last_not_of('\0') + 1);
  const std::uint64_t blocks = superblock.block_count;
  report.add("label", label)
      .add("uuid", fs::uuid_text(superblock.uuid))
      .add("version", std::uint64_t{superblock.version})
      .add("features_compat", superblock.features_compat.get())
      .add("features_ro_compat", superblock.features_ro_compat.get())
      .add("features_incompat", superblock.features_incompat.get())
      .add("state", state_of(superblock, plan))
      .add("size_bytes", blocks * kBlockBytes, blocks_text(blocks))
      .add("free_bytes", superblock.free_blocks * kBlockBytes, blocks_text(superblock.free_blocks))
      .add("block_bytes", std::uint64_t{kBlockBytes})
      .add("blocks", blocks)
      .add("groups", std::uint64_t{superblock.group_count}, "of 128 MiB")
      .add("inodes", superblock.inode_count.get())
      .add("next_inode", superblock.next_inode.get())
      .add("checkpoint", superblock.checkpoint.get())
      .add("root_block", superblock.root.block.get(), fmt::format("tree of {} levels", superblock.root_level + 1))
      .add("log_bytes", view.layout().log_bytes(), format_size(view.layout().log_bytes()))
      .add("log_start", superblock.log_start.get(), "block")
      .add("log_tail_bytes", superblock.log_tail_bytes.get())
      .add("log_records", std::uint64_t{plan.records.size()},
           fmt::format("{} transactions not in the checkpoint", pending))
      .add("created", time_text(superblock.created))
      .add("mounted", time_text(superblock.mounted), "last, for writing")
      .add("checked", time_text(superblock.checked))
      .add("mount_count", std::uint64_t{superblock.mount_count}, "since it was checked")
      .add("error_count", std::uint64_t{superblock.error_count}, "since it was checked");
  std::vector<Report> slots;
  for (const SuperblockSlot& slot : view.slots()) slots.push_back(slot_line(slot, superblock.checkpoint));
  report.list("superblocks", std::move(slots));
  if (plan.damage) report.wrong(plan.damage->message());
  print(report);
  return {};
}

}  // namespace weft::tools
