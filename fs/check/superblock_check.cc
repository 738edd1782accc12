#include "fs/check/superblock_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fs/aligned_buffer.h"
#include "fs/format_check.h"
#include "fs/layout.h"

namespace weft::fs::check {
namespace {

bool same_where_it_never_changes(const DiskSuperblock& a, const DiskSuperblock& b) {
  const auto zero = [](std::uint8_t byte) { return byte == 0; };
  return a.magic == kSuperblockMagic && a.version == b.version && a.uuid == b.uuid && a.block_count == b.block_count &&
         a.group_count == b.group_count && a.table_start == b.table_start && a.table_blocks == b.table_blocks &&
         a.bitmap_start == b.bitmap_start && a.log_start == b.log_start && a.log_blocks == b.log_blocks &&
         std::memcmp(a.hash_seed, b.hash_seed, sizeof(a.hash_seed)) == 0 && std::ranges::all_of(a.reserved, zero);
}

}  // namespace

Status check_superblocks(BlockDevice& device, const DiskSuperblock& newest, Findings& findings,
                         std::vector<std::string>& notes) {
  const Layout layout(newest);
  AlignedBuffer buffer(kBlockBytes);
  for (std::uint32_t slot = 0; slot < kSuperblockSlots; ++slot) {
    const BlockNo where = layout.superblock_slot(slot);
    const auto damaged = [&](std::string_view what) {
      findings.add(Problem::kSuperblockSlot, where,
                   fmt::format("superblock copy {} in block {} {}", slot, where.value(), what));
    };
    if (auto status = device.read(where.value() * kBlockBytes, buffer.bytes()); !status) {
      damaged("cannot be read: " + status.error().message());
      continue;
    }
    DiskSuperblock found;
    std::memcpy(&found, buffer.bytes().data(), sizeof(found));
    if (!is_superblock(buffer.bytes())) {
      if (same_where_it_never_changes(found, newest)) {
        notes.push_back(fmt::format("superblock copy {} in block {} was torn by a power cut; others are whole", slot,
                                    where.value()));
      } else {
        damaged("is not a superblock");
      }
      continue;
    }
    if (!(found.uuid == newest.uuid)) {
      damaged("belongs to another volume, " + uuid_text(found.uuid));
    } else if (auto status = check_superblock(found, where, device.geometry().size_bytes); !status) {
      damaged("cannot be: " + status.error().message());
    }
  }
  return {};
}

}  // namespace weft::fs::check
