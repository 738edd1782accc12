// The worked example of fs/FORMAT.md is what a real volume has, byte for byte. WEFT_PRINT_EXAMPLE=1 prints it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "fs/aligned_buffer.h"
#include "fs/layout.h"
#include "fs/volume.h"
#include "kernel/memory_disk.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

// As `od -A x -t x1` prints it, without what is all zeros.
std::string hex(BlockDevice& device, std::uint64_t from, std::size_t count) {
  AlignedBuffer block(kBlockBytes);
  EXPECT_TRUE(device.read(from / kBlockBytes * kBlockBytes, block.bytes()));
  std::string text;
  for (std::size_t row = 0; row < count; row += 16) {
    std::string line = fmt::format("{:06x} ", from + row);
    bool zeros = true;
    for (std::size_t i = row; i < row + 16 && i < count; ++i) {
      const auto byte = std::to_integer<unsigned>(block.bytes()[from % kBlockBytes + i]);
      zeros = zeros && byte == 0;
      line += fmt::format(" {:02x}", byte);
    }
    if (!zeros) text += line + "\n";
  }
  return text;
}

TEST(FormatDocument, ItsExampleIsWhatAVolumeHas) {
  MemoryDisk disk(kMinVolumeBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk, 0, "example"));
  VolumeOptions options;
  options.background = false;
  options.clock = &test::fixed_clock();
  auto volume = Volume::open(disk, options).value();
  Transaction transaction = volume->begin(Intent::kSymlink, InodeNo(16), {}).value();
  transaction.put(Key(InodeNo(16), KeyKind::kSymlink, 0), std::as_bytes(std::span("target", 6)));
  ASSERT_TRUE(volume->make_durable(volume->commit(std::move(transaction)).value()));
  volume.reset();

  const Layout layout(test::superblock_of(disk));
  const std::string text = hex(disk, layout.superblock_slot(2).value() * kBlockBytes, 320) + "\n" +
                           hex(disk, layout.table_block(0, 0).value() * kBlockBytes, 80) + "\n" +
                           hex(disk, layout.data_start().value() * kBlockBytes, 128) +
                           hex(disk, layout.data_start().value() * kBlockBytes + kBlockBytes - 128, 128) + "\n" +
                           hex(disk, layout.log_offset_bytes(), 144);
  if (std::getenv("WEFT_PRINT_EXAMPLE") != nullptr) std::printf("%s", text.c_str());
  std::ifstream file("fs/FORMAT.md");
  ASSERT_TRUE(file) << "fs/FORMAT.md is not here: run from the top folder";
  std::stringstream document;
  document << file.rdbuf();
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_NE(document.str().find(line), std::string::npos) << "fs/FORMAT.md lacks: " << line;
  }
}

}  // namespace
}  // namespace weft::fs
