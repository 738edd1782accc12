// tools/weft_commands.h - the subcommands of `weft`, without their command lines.
//
//   weft.cc -> [weft_info, weft_dump, weft_stat, weft_trim] -> volume_view, describe; fs::FileSystem
//
// Those that look take any device and hand over one report after another as they find it, so that a large tree needs no
// memory. None but trim writes. An error means that nothing (more) can be shown; damage that can be shown is in the reports.
// Block the thread. Tests: tests/tools/weft_commands_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel/block_device.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"
#include "tools/report.h"

namespace weft::tools {

using PrintReport = FunctionRef<void(const Report&)>;

// Label, sizes, state, what the log holds, superblock slots.
Status show_info(BlockDevice& device, PrintReport print);

// `words`: what to show and its arguments: "superblock", "group N", "bitmap N", "log", "node BLOCK", "block N", "inode N",
// "path /a/b", "tree". kInvalid with a sentence for anything else.
struct DumpOptions {
  std::vector<std::string> words;
  bool records = false;  // of "log": each record's transactions and changes
};
Status show_dump(BlockDevice& device, const DumpOptions& options, PrintReport print);

// Space by kind, free extents by size, height of the tree.
Status show_stat(BlockDevice& device, PrintReport print);
// Of a mounted file system: what statfs(2) and the kernel's table of mounts say.
Status show_mount_stat(const std::string& directory, PrintReport print);

struct TrimOptions {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = ~std::uint64_t{0};
  std::uint64_t minimum_bytes = 0;
};
// Bytes discarded. Of a mount by the FITRIM ioctl, of a device by mounting it for the moment, in this process alone.
Result<std::uint64_t> trim_mount(const std::string& directory, const TrimOptions& options);
Result<std::uint64_t> trim_device(BlockDevice& device, const TrimOptions& options);

}  // namespace weft::tools
