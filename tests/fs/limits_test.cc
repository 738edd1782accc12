// Every limit of the README's table, at its edge: the largest that goes and the first that does not.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <string>

#include "fs/format.h"
#include "fs/key.h"
#include "kernel/memory_disk.h"
#include "kernel/units.h"
#include "tests/support/mounted.h"
#include "tests/support/sample_tree.h"

namespace weft::fs::test {
namespace {

TEST(Limits, ANameHas255Bytes) {
  Mounted fs;
  const std::string longest(kMaxNameBytes, 'n');
  const InodeNo file = fs.file(kTop, longest);
  EXPECT_EQ(fs.find(kTop, longest), file);
  const std::string longer = longest + "n";
  EXPECT_EQ(code(fs->make_node(kRoot, kTop, longer, {.mode = S_IFREG | 0644})), Errc::kNameTooLong);
  EXPECT_EQ(code(fs->make_directory(kRoot, kTop, longer, 0755)), Errc::kNameTooLong);
  EXPECT_EQ(code(fs->link(file, kTop, longer)), Errc::kNameTooLong);
  EXPECT_EQ(code(fs->rename(kRoot, kTop, longest, kTop, longer, 0)), Errc::kNameTooLong);
  EXPECT_EQ(code(fs->lookup(kTop, longer)), Errc::kNameTooLong);
}

TEST(Limits, ASymlinkHas4095Bytes) {
  Mounted fs;
  const auto made = fs->make_symlink(kRoot, kTop, "longest", std::string(kMaxSymlinkBytes, 's'));
  ASSERT_OK(made);
  EXPECT_EQ(fs->read_symlink(made->inode).value(), std::string(kMaxSymlinkBytes, 's'));
  EXPECT_EQ(code(fs->make_symlink(kRoot, kTop, "longer", std::string(kMaxSymlinkBytes + 1, 's'))), Errc::kNameTooLong);
}

TEST(Limits, AFileHasAnExbibyte) {
  Mounted fs;
  const InodeNo file = fs.file(kTop, "large");
  fs.write(file, kMaxFileBytes - 4, "last");
  fs.remount();
  EXPECT_EQ(fs->attributes(file)->size_bytes, kMaxFileBytes);
  EXPECT_EQ(fs.read(file, kMaxFileBytes - 4), "last");
  EXPECT_EQ(fs->seek(file, 0, true).value(), round_down(kMaxFileBytes - 4, kBlockBytes));
  EXPECT_EQ(code(fs->write(file, kMaxFileBytes, to_bytes("x"), false)), Errc::kFileTooBig);
  EXPECT_EQ(code(fs->write(file, ~std::uint64_t{0} - 1, to_bytes("xyz"), false)), Errc::kFileTooBig);
  EXPECT_EQ(code(fs->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = kMaxFileBytes + 1})),
            Errc::kFileTooBig);
  EXPECT_EQ(code(fs->allocate(file, AllocateMode::kReserve, kMaxFileBytes, 1)), Errc::kFileTooBig);
  EXPECT_OK(fs->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 0}));
}

TEST(Limits, AnInodeHasTwoBillionLinks) {
  StepClock clock;
  MemoryDisk disk(16 * kMiB);
  ASSERT_OK(make_sample_volume(disk, "links", clock));
  InodeNo file;
  {
    auto fs = mount_sample(disk, clock).value();
    file = fs->make_node(kRoot, kTop, "file", {.mode = S_IFREG | 0644})->inode;
    ASSERT_OK(fs->unmount());
  }
  {
    // Nobody makes so many by hand.
    auto volume = Volume::open(disk, {.background = false, .clock = &clock}).value();
    const Key key(file, KeyKind::kInode, 0);
    DiskInode inode;
    ASSERT_OK(
        volume->get(key, [&](std::span<const std::byte> value) { std::memcpy(&inode, value.data(), sizeof inode); }));
    inode.links = kMaxLinks - 1;
    Transaction change = volume->begin(Intent::kOther, file, {.changes = 1, .value_bytes = sizeof inode}).value();
    change.put(key, as_bytes_of(inode));
    ASSERT_OK(volume->commit(std::move(change)));
    ASSERT_OK(volume->close());
  }
  auto fs = mount_sample(disk, clock).value();
  EXPECT_EQ(fs->link(file, kTop, "last")->links, kMaxLinks);
  EXPECT_EQ(code(fs->link(file, kTop, "too many")), Errc::kTooManyLinks);
  EXPECT_OK(fs->unlink(kRoot, kTop, "last"));
  EXPECT_OK(fs->link(file, kTop, "once more"));
}

TEST(Limits, AnAttributeHas64KiB) {
  Mounted fs(64 * kMiB);
  const InodeNo file = fs.file(kTop, "file");
  const std::string largest(kMaxXattrBytes, 'x');
  ASSERT_OK(fs->set_xattr(kRoot, file, "user.largest", to_bytes(largest), FileSystem::XattrMode::kEither, false));
  EXPECT_EQ(fs->get_xattr(file, "user.largest").value(), to_bytes(largest));
  EXPECT_FALSE(
      fs->set_xattr(kRoot, file, "user.larger", to_bytes(largest + "x"), FileSystem::XattrMode::kEither, false));
  const std::string name = "user." + std::string(kMaxNameBytes - 5, 'a');
  EXPECT_OK(fs->set_xattr(kRoot, file, name, to_bytes("v"), FileSystem::XattrMode::kEither, false));
  EXPECT_FALSE(fs->set_xattr(kRoot, file, name + "a", to_bytes("v"), FileSystem::XattrMode::kEither, false));
}

TEST(Limits, TheSmallestVolumeHas4MiBAndSurvivesBeingFilledAndEmptied) {
  StepClock clock;
  MemoryDisk too_small(kMinVolumeBytes - kBlockBytes);
  EXPECT_EQ(code(make_sample_volume(too_small, "small", clock)), Errc::kNoSpace);
  Mounted fs(kMinVolumeBytes);
  const std::uint64_t before = fs->stats().available_blocks;
  const std::string block(kBlockBytes, 'b');
  for (int round = 0; round < 2; ++round) {
    int files = 0;
    for (std::optional<Errc> end; !end; ++files) {
      const auto made = fs->make_node(kRoot, kTop, std::to_string(files), {.mode = S_IFREG | 0644});
      end = code(made);
      if (!made) break;
      fs->forget(made->inode, 1);
      end = code(fs->write(made->inode, 0, to_bytes(block), false));
      if (end) {
        EXPECT_EQ(*end, Errc::kNoSpace);
      }
    }
    EXPECT_GT(files, 600) << "of 1024 blocks";
    fs.remount();
    ASSERT_EQ(fs.read(fs.find(kTop, "0")), block);
    for (const std::string& name : fs.list(kTop)) {
      if (name != "." && name != "..") EXPECT_OK(fs->unlink(kRoot, kTop, name));
    }
    fs.remount();
    EXPECT_GE(fs->stats().available_blocks + 8, before);
  }
}

// The longest operations there are fit an eighth of the shortest log, or say that they do not; either way the log goes on.
TEST(Limits, AFullLogIsEmptiedAndGoesOn) {
  Mounted fs(kMinVolumeBytes);
  const InodeNo file = fs.file(kTop, "file");
  const std::uint64_t log_bytes = std::uint64_t{kMinLogBlocks} * kBlockBytes;
  const std::string name(kMaxNameBytes, 'n');
  // Each some 700 bytes: the log goes round several times.
  for (std::uint64_t written = 0; written < 4 * log_bytes; written += 700) {
    ASSERT_OK(fs->link(file, kTop, name));
    ASSERT_OK(fs->unlink(kRoot, kTop, name));
    if (written % 7000 == 0) ASSERT_OK(fs->sync());
  }
  const auto largest = fs->set_xattr(kRoot, file, "user.x", to_bytes(std::string(kMaxXattrBytes, 'x')),
                                     FileSystem::XattrMode::kEither, false);
  if (!largest) {
    EXPECT_EQ(largest.error().code(), Errc::kNoSpace);
  }
  fs.write(file, 0, "still here");
  fs.crash();
  EXPECT_EQ(fs->attributes(file)->links, 1U);
}

TEST(Limits, AVolumeOfManyTiBCostsWhatIsWrittenToIt) {
  StepClock clock;
  MemoryDisk disk(16 * kTiB);
  ASSERT_OK(make_sample_volume(disk, "huge", clock));
  const std::size_t made = disk.copy().chunks().size();
  EXPECT_LT(made * DiskImage::kChunkBytes, 8 * kMiB);
  auto fs = mount_sample(disk, clock).value();
  EXPECT_GT(fs->stats().available_blocks, 15 * kTiB / kBlockBytes);
  const InodeNo file = fs->make_node(kRoot, kTop, "file", {.mode = S_IFREG | 0644})->inode;
  ASSERT_OK(fs->write(file, 15 * kTiB, to_bytes("far out"), false));
  ASSERT_OK(fs->unmount());
  fs.reset();
  EXPECT_LT(disk.copy().chunks().size(), made + 64);
  fs = mount_sample(disk, clock, true).value();
  EXPECT_EQ(fs->attributes(file)->size_bytes, 15 * kTiB + 7);
}

}  // namespace
}  // namespace weft::fs::test
