// The data of files against its checksums: what has rotted is named by path and block.
#include <cstring>

#include "fs/aligned_buffer.h"
#include "fs/check/data_check.h"
#include "fs/file_map.h"
#include "tests/fs/check/block_damage.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/check/damages.h"

namespace weft::fs::test {
namespace {

TEST(DataCheck, NamesTheFileAndTheBlocksThatHaveRotted) {
  BlockNo block;
  const DiskImage image = [&] {
    Mounted m(16 * kMiB);
    const InodeNo below = m.directory(m.directory(kTop, "a"), "b");
    const InodeNo file = m.file(below, "c");
    m.write(file, 0, std::string(2'000'000, 'x'));
    m.write(m.file(kTop, "other"), 0, "short");
    EXPECT_OK(m->allocate(file, AllocateMode::kReserveKeepSize, 3'000'000, 100'000));
    const auto pieces = find_pieces_locked(m->volume(), file, FileBlock(300), 1);
    EXPECT_OK(pieces);
    block = pieces->front().blocks.start;
    EXPECT_OK(m->unmount());
    return m.disk.copy();
  }();
  MemoryDisk disk(image);
  const auto whole = check::check_volume(disk, {.data = true, .progress = {}});
  ASSERT_OK(whole);
  EXPECT_TRUE(whole->clean()) << text_of(*whole);

  AlignedBuffer zeros(2 * kBlockBytes);
  std::memset(zeros.bytes().data(), 0, zeros.size());
  ASSERT_OK(disk.write(block.value() * kBlockBytes, zeros.bytes()));
  EXPECT_EQ(problems_of(disk.copy()), "") << "only who reads the data sees it";
  const auto rotten = check::check_volume(disk, {.repair = true, .data = true, .progress = {}});
  ASSERT_OK(rotten);
  EXPECT_EQ(text_of(*rotten), "data-checksum: /a/b/c: 2 blocks from block 300 of the file on (block " +
                                  std::to_string(block.value()) + " of the volume) are not what was written\n");
  EXPECT_EQ(rotten->uncorrected, 1u);
}

// The path goes to a terminal.
TEST(DataCheck, NamesAFileOfAHostileNameWithoutDoingWhatItSays) {
  MemoryDisk disk(sound_volume().image);
  garble_data(disk, sound_volume().hostile, 0);
  const auto rotten = check::check_volume(disk, {.data = true, .progress = {}});
  ASSERT_OK(rotten);
  EXPECT_TRUE(text_of(*rotten).starts_with(
      R"(data-checksum: /\x1b]0;owned\x07\x0a"\\\xff\xc2\x9b: 1 block from block 0 of the file on)"))
      << text_of(*rotten);
}

}  // namespace
}  // namespace weft::fs::test
