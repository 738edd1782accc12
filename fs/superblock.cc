#include "fs/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/format_check.h"
#include "kernel/planted_bug.h"

namespace weft::fs {
namespace {

struct Slot {
  DiskSuperblock superblock;
  BlockNo where;
};

// Reads blocks into `found` where they are superblocks; device errors are kept, since other slots may do.
void look_at(BlockDevice& device, BlockNo where, std::vector<Slot>& found, std::optional<Error>& error) {
  for (const Slot& slot : found) {
    if (slot.where == where) return;
  }
  AlignedBuffer buffer(kBlockBytes);
  if (auto status = device.read(where.value() * kBlockBytes, buffer.bytes()); !status) {
    if (!error) error = std::move(status).error();
    return;
  }
  if (!is_superblock(buffer.bytes())) return;
  Slot slot;
  std::memcpy(&slot.superblock, buffer.bytes().data(), sizeof(DiskSuperblock));
  slot.where = where;
  found.push_back(slot);
}

}  // namespace

Result<FoundSuperblock> find_superblock(BlockDevice& device) {
  const std::uint64_t device_bytes = device.geometry().size_bytes;
  const std::uint64_t device_blocks = device_bytes / kBlockBytes;
  if (device_blocks < 4) {
    return fail(Errc::kWrongFormat,
                fmt::format("{}: {} bytes are too few for a Weft volume", device.name(), device_bytes));
  }
  std::vector<Slot> found;
  std::optional<Error> error;
  look_at(device, BlockNo(0), found, error);
  look_at(device, BlockNo(1), found, error);
  // The far pair: where the near one says that the volume ends, or at the end of the device when both near ones are lost.
  const std::vector<Slot> near = found;
  if (near.empty()) {
    look_at(device, BlockNo(device_blocks - 2), found, error);
    look_at(device, BlockNo(device_blocks - 1), found, error);
  }
  for (const Slot& slot : near) {
    const std::uint64_t blocks = slot.superblock.block_count;
    if (blocks < 4 || blocks > device_blocks) continue;
    for (std::uint64_t back = 2; back != 0; --back) {
      std::vector<Slot> far;
      look_at(device, BlockNo(blocks - back), far, error);
      // A leftover of another volume is not a slot of this one.
      if (!far.empty() && far.front().superblock.uuid == slot.superblock.uuid)
        look_at(device, BlockNo(blocks - back), found, error);
    }
  }
  if (found.empty()) {
    if (error) return fail(std::move(*error).with("no superblock could be read"));
    return fail(Errc::kWrongFormat, fmt::format("{}: not a Weft volume", device.name()));
  }
  const Slot* newest = &found.front();
  for (const Slot& slot : found) {
    if (slot.superblock.checkpoint > newest->superblock.checkpoint) newest = &slot;
  }
  if (auto status = check_superblock(newest->superblock, newest->where, device_bytes); !status) {
    return fail(std::move(status).error().with(device.name()));
  }
  FoundSuperblock result;
  result.superblock = newest->superblock;
  const Layout layout(result.superblock);
  for (std::uint32_t slot = 0; slot < kSuperblockSlots; ++slot) {
    const BlockNo where = layout.superblock_slot(slot);
    if (std::ranges::none_of(found, [&](const Slot& one) { return one.where == where; })) result.slot_unreadable = true;
  }
  return result;
}

Status write_superblock_to(BlockDevice& device, const DiskSuperblock& superblock, std::uint32_t slot) {
  AlignedBuffer buffer(kBlockBytes);
  DiskSuperblock sealed = superblock;
  sealed.crc = 0;
  sealed.crc = crc_with_hole(as_bytes_of(sealed), offsetof(DiskSuperblock, crc));
  std::memcpy(buffer.bytes().data(), &sealed, sizeof(sealed));
  if (planted(Bug::kSuperblockOneSlot)) slot = 0;
  return device.write(Layout(superblock).superblock_slot(slot).value() * kBlockBytes, buffer.bytes());
}

Status write_superblock(BlockDevice& device, const DiskSuperblock& superblock) {
  return write_superblock_to(device, superblock, superblock.checkpoint % kSuperblockSlots);
}

Status write_superblock_copy(BlockDevice& device, const DiskSuperblock& superblock) {
  return write_superblock_to(device, superblock, (superblock.checkpoint + 2) % kSuperblockSlots);
}

Status wipe_torn_slot(BlockDevice& device, const DiskSuperblock& next, FunctionRef<Status()> flush) {
  const BlockNo where = Layout(next).superblock_slot(next.checkpoint % kSuperblockSlots);
  AlignedBuffer buffer(kBlockBytes);
  // One that cannot be read is no reason not to go on: there are three more.
  if (!device.read(where.value() * kBlockBytes, buffer.bytes()) || is_superblock(buffer.bytes())) return {};
  // No zeros: whole sectors of a superblock are zero, and this write may be torn, too.
  std::ranges::fill(buffer.bytes(), std::byte{0xff});
  TRY(device.write(where.value() * kBlockBytes, buffer.bytes()));
  return flush();
}

BlockNo newest_superblock(const DiskSuperblock& superblock) noexcept {
  return Layout(superblock).superblock_slot(superblock.checkpoint % kSuperblockSlots);
}

BlockNo newest_superblock_copy(const DiskSuperblock& superblock) noexcept {
  return Layout(superblock).superblock_slot((superblock.checkpoint + 2) % kSuperblockSlots);
}

Status verify_superblock(BlockDevice& device, const DiskSuperblock& superblock, BlockNo where) {
  AlignedBuffer buffer(kBlockBytes);
  TRY(device.read(where.value() * kBlockBytes, buffer.bytes()));
  DiskSuperblock found;
  std::memcpy(&found, buffer.bytes().data(), sizeof(found));
  if (is_superblock(buffer.bytes()) && found.uuid == superblock.uuid && found.checkpoint == superblock.checkpoint)
    return {};
  return fail(Errc::kCorrupt, fmt::format("superblock at block {}: not that of checkpoint {}", where.value(),
                                          superblock.checkpoint.get()));
}

DiskTime disk_time(const Timespec& time) noexcept {
  DiskTime result;
  result.seconds = static_cast<std::uint64_t>(time.seconds);
  result.nanoseconds = time.nanoseconds;
  return result;
}

}  // namespace weft::fs
