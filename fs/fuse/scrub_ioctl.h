// fs/fuse/scrub_ioctl.h - one step of a scrub as an ioctl on any file or directory of a mount: for root.
//
//   tools/weft_scrub.cc -> ioctl(2) -> kernel -> [scrub_ioctl] ioctl.cc -> fs/scrub.h
//
// FUSE's restricted ioctls carry one structure of the size that is in the command's number, there and back, 16 KiB at most. So a scrub
// is many calls, each of which says where the next begins; the server keeps nothing of it. The numbers are those of the machine,
// which both ends are on.
#pragma once

#include <sys/ioctl.h>

#include <array>
#include <cstdint>

namespace weft::fs::fuse {

struct ScrubFindingArgument {
  std::uint32_t problem;  // ScrubProblem
  std::uint32_t count;    // of blocks
  std::uint64_t inode;    // 0: none
  std::uint64_t file_block;
  std::uint64_t block;
};

struct ScrubArgument {
  std::uint64_t phase, object, tag;  // in: where to begin (zeros: the start); out: where to go on
  std::uint64_t max_blocks;          // in
  // Out:
  std::uint32_t done;
  std::uint32_t findings;  // in `list`; `errors` counts also those that it has no room for
  std::uint64_t metadata_blocks, data_blocks, unchecked_blocks, files, errors;
  std::array<ScrubFindingArgument, 96> list;
};
static_assert(sizeof(ScrubArgument) == 80 + 96 * 32);

inline constexpr unsigned long kScrub = _IOWR('W', 1, ScrubArgument);

}  // namespace weft::fs::fuse
