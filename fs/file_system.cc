#include "fs/file_system.h"

#include <utility>
#include <vector>

#include "fs/file_system_core.h"
#include "fs/file_truncate.h"
#include "kernel/planted_bug.h"

namespace weft::fs {
namespace {

// What a crash left: truncates half done are ended before anybody comes in, unlinked inodes go to the reclaimer.
Status recover_orphans(FileSystemCore& fs) {
  if (fs.volume->read_only() || planted(Bug::kOrphanForgotten)) return {};
  const std::vector<InodeNo> orphans = TRY(list_orphans(*fs.volume));
  for (const InodeNo number : orphans) {
    fs.reclaimer.wait_for_room();
    auto got = fs.inodes.get(number);
    if (!got) continue;  // an orphan key without an inode is fsck's
    const InodeRef inode = TRY(std::move(got));
    if (inode->record().links == 0) {
      // Dropping the last pin reclaims it, or leaves it to who holds it: perhaps by O_TMPFILE, which the caller knows.
      inode->linkable = fs.options.takes_over;
      continue;
    }
    std::unique_lock guard(inode->content);
    inode->truncate_pending = true;
    TRY(finish_truncate(fs, *inode));
  }
  return {};
}

// Times of access that nothing else has carried to the volume.
Status write_access_times(FileSystemCore& fs) {
  Status status;
  fs.inodes.for_each([&](Inode& inode) {
    if (status) status = write_access_time(fs, inode);
  });
  // A full volume or log is no reason not to unmount.
  if (!status && status.error() == Errc::kNoSpace) return {};
  return status;
}

}  // namespace

FileSystem::FileSystem(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

FileSystem::~FileSystem() = default;

Result<std::unique_ptr<FileSystem>> FileSystem::mount(BlockDevice& device, const FileSystemOptions& options) {
  auto volume = TRY(Volume::open(device, options.volume));
  std::unique_ptr<FileSystem> mounted(new FileSystem(std::make_unique<Parts>(std::move(volume), options)));
  const InodeRef root = TRY(mounted->parts_->inodes.get(kRootInode));
  if (!is_directory(root->record()))
    return fail(Errc::kCorrupt, device.name() + ": the root is not a directory; run fsck.weft");
  TRY(recover_orphans(*mounted->parts_));
  return mounted;
}

Status FileSystem::unmount() {
  FileSystemCore& fs = *parts_;
  fs.reclaimer.drain();
  Status status;
  if (!fs.volume->read_only()) status = write_access_times(fs);
  Status closed = fs.volume->close();
  return status ? closed : status;
}

FileSystemStats FileSystem::stats() const noexcept {
  // Inodes come from the same space as everything else; about so many would fit into a free block.
  constexpr std::uint64_t kInodesPerBlock = 8;
  const VolumeSpace space = parts_->volume->space();
  const std::uint64_t free_inodes = space.available_blocks * kInodesPerBlock;
  return {.total_blocks = space.total_blocks,
          .free_blocks = space.free_blocks,
          .available_blocks = space.available_blocks,
          .inodes = space.inode_count + free_inodes,
          .free_inodes = free_inodes};
}

Result<std::uint64_t> FileSystem::trim(std::uint64_t offset, std::uint64_t length_bytes, std::uint64_t min_bytes) {
  const std::uint64_t first = offset / kBlockBytes;
  const std::uint64_t end = (offset + length_bytes < offset ? ~std::uint64_t{0} : offset + length_bytes) / kBlockBytes;
  return parts_->volume->trim(BlockNo(first), end - first, (min_bytes + kBlockBytes - 1) / kBlockBytes);
}

Volume& FileSystem::volume() noexcept { return *parts_->volume; }

}  // namespace weft::fs
