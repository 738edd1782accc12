// Repair: a small volume with anything wrong, checksums mended or not, perhaps mounted and used for a while; then fsck repairs it, and
// from there on it is a sound volume: a second look finds nothing, it mounts, takes everything, and is sound still.
//
// Input: flags (u8: 1 mend checksums, 2 use it first), then (which metadata block u16, offset u16, length - 1 u8, content)*.
#include <algorithm>

#include "kernel/memory_disk.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/sound.h"
#include "tests/support/damaged_volume.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  using namespace weft;
  using fs::kBlockBytes;
  fuzz::keep_quiet();
  fuzz::FuzzInput input(data, size_bytes);
  const auto flags = input.take<std::uint8_t>();
  DiskImage image = test::small_volume();
  const auto& blocks = test::metadata_blocks();
  while (!input.empty()) {
    const std::uint64_t block = blocks[input.take<std::uint16_t>() % blocks.size()].value();
    const std::uint64_t offset = input.take<std::uint16_t>() % kBlockBytes;
    const auto content = input.take_bytes(input.take<std::uint8_t>() % 32 + 1);
    image.write(block * kBlockBytes + offset, content.first(std::min(content.size(), kBlockBytes - offset)));
  }
  if ((flags & 1) != 0) test::mend_checksums(image);
  MemoryDisk disk(std::move(image));
  if ((flags & 2) != 0) static_cast<void>(test::use_volume(disk));

  fuzz::repair_and_use(disk);
  return 0;
}
