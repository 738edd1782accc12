// Whole images: any metadata block of a small volume patched, checksums mended, then mounted, walked, changed, unmounted.
//
// Input: (which metadata block u16, offset u16, length - 1 u8, content)*.
#include <algorithm>

#include "kernel/check.h"
#include "kernel/memory_disk.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/damaged_volume.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  using namespace weft;
  fuzz::keep_quiet();
  fuzz::FuzzInput input(data, size_bytes);
  DiskImage image = test::small_volume();
  const auto& blocks = test::metadata_blocks();
  while (!input.empty()) {
    const std::uint64_t block = blocks[input.take<std::uint16_t>() % blocks.size()].value();
    const std::uint64_t offset = input.take<std::uint16_t>() % fs::kBlockBytes;
    const auto content = input.take_bytes(input.take<std::uint8_t>() % 32 + 1);
    image.write(block * fs::kBlockBytes + offset, content.first(std::min(content.size(), fs::kBlockBytes - offset)));
  }
  test::mend_checksums(image);
  MemoryDisk disk(std::move(image));
  const bool mounted = test::use_volume(disk);
  WEFT_CHECK(mounted || size_bytes != 0);  // else no input gets anywhere
  return 0;
}
