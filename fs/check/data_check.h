// fs/check/data_check.h - reads all data of all files and compares it with its checksums.
//
//   check (when asked) -> [data_check] -> findings, one a run of bad blocks, with the file's path
//
// What is lost is nowhere else, so there is nothing to repair: reading those blocks goes on to fail. Parks on the device. Memory: 4 MiB.
// Tests: tests/fs/check/data_check_test.cc.
#pragma once

#include "fs/check/checked_volume.h"

namespace weft::fs::check {

// After examine(), of a tree that is whole. kCancelled as `progress` says.
Status check_data(CheckedVolume& volume, BlockDevice& device, const Progress& progress);

// "/a/b", by one of the inode's names; empty if there is none.
std::string path_of(CheckedVolume& volume, InodeNo inode);

}  // namespace weft::fs::check
