// tools/weft_commands.h - the subcommands of `weft`, without their command lines.
//
//   weft.cc -> [weft_info, weft_dump, weft_stat, weft_trim, weft_scrub] -> volume_view, describe; fs::FileSystem
//              [weft_heap] -> the socket of a running process (mem/control_socket.h)
//
// Those that look take any device and hand over one report after another as they find it, so that a large tree needs no
// memory. None but trim writes. An error means that nothing (more) can be shown; damage that can be shown is in the reports.
// Block the thread. Tests: tests/tools/weft_commands_test.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/scrub_ioctl.h"
#include "kernel/block_device.h"
#include "kernel/clock.h"
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

// One step, there and back as the ioctl has it.
using ScrubStepper = FunctionRef<Status(fs::fuse::ScrubArgument&)>;
struct ScrubOptions {
  std::uint64_t bytes_per_second = 0;  // at most; 0: as fast as it goes
  std::uint64_t expected_blocks = 0;   // for progress
  std::function<void(std::uint64_t done_blocks, std::uint64_t expected_blocks)> progress = nullptr;
  // Paths of inodes with findings, as far as they have any; null: findings have numbers alone.
  std::function<std::map<std::uint64_t, std::string>(const std::set<std::uint64_t>& inodes)> find_paths = nullptr;
  std::function<void(std::chrono::nanoseconds)> pause = nullptr;  // null: sleep
  Clock* clock = nullptr;                                         // null: system_clock()
};
// All steps from the first to the last, at the pace asked for; what was looked at, and each finding, in one report.
Result<Report> scrub(ScrubStepper step, const ScrubOptions& options);
// Of a mounted file system. Needs CAP_SYS_ADMIN.
Status scrub_mount(const std::string& directory, ScrubOptions options, PrintReport print);

// What a process whose heap is ours answers: "text", "json", "prometheus", "profile", "holders" or "purge" (mem/control_socket.h).
// `process_or_socket`: a process id, or the path of its socket. kNotFound: nobody is there; kUnsupported: not our heap, it has no
// socket, or it refuses; kAccessDenied: another user's; kTimedOut: it does not answer.
Result<std::string> ask_heap(const std::string& process_or_socket, std::string_view question,
                             std::chrono::seconds patience = std::chrono::seconds(10));
// The same text with the names of C++ functions ("_Z...") as people write them.
std::string demangled(const std::string& text);

}  // namespace weft::tools
