// tests/support/damaged_volume.h - a small volume to be damaged, its checksums made right again, and everything tried on it.
//
//   fuzz input -> patches of small_volume() -> mend_checksums() -> use_volume()
//
// Checksums keep out nearly all damage by chance; with them mended, what is left to protect us is that nothing on disk is
// believed before it was looked at.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/types.h"
#include "kernel/block_device.h"
#include "kernel/disk_image.h"

namespace weft::test {

// 6 MiB with one of each kind of thing in its tree (files with extents, holes and reserved blocks, directories, links of both
// kinds, attributes small and large, devices, an orphan), some of it in a checkpoint and the rest in the log, as a crash left it. The same every time.
const DiskImage& small_volume();

// Blocks of small_volume() that hold metadata: superblocks, group table, bitmap, tree nodes, log.
const std::vector<fs::BlockNo>& metadata_blocks();

// Makes the checksums of all that still has its magic number fit what it says; of the bitmap also the group's number of free blocks.
void mend_checksums(DiskImage& image);

// Mounts, looks at everything, changes something of everything, unmounts, mounts again read-only and looks again. Any
// step may fail. None may crash, hang or read or write out of bounds. True if the first mount succeeded.
bool use_volume(BlockDevice& device);

}  // namespace weft::test
