// Log records: the log of a small volume that was not unmounted, patched, checksums mended, then replayed.
//
// Input: (offset in the first 64 KiB of the log u16, length - 1 u8, content)*.
#include "fs/format.h"
#include "fs/layout.h"
#include "kernel/memory_disk.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/sound.h"
#include "tests/support/damaged_volume.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  using namespace weft;
  fuzz::keep_quiet();
  fuzz::FuzzInput input(data, size_bytes);
  DiskImage image = test::small_volume();
  static const fs::Layout layout = [&] {
    fs::DiskSuperblock superblock;
    image.read(0, std::as_writable_bytes(std::span(&superblock, 1)));
    return fs::Layout(superblock);
  }();
  while (!input.empty()) {
    const std::uint64_t offset = input.take<std::uint16_t>();
    const auto content = input.take_bytes(input.take<std::uint8_t>() % 32 + 1);
    image.write(layout.log_offset_bytes() + offset, content);
  }
  test::mend_checksums(image);
  MemoryDisk disk(image);
  test::use_volume(disk);
  MemoryDisk unused(std::move(image));
  fuzz::repair_and_use(unused);
  return 0;
}
