// Volumes that somebody made so that whoever mounts them hangs or runs out of memory: every checksum right, every node well formed,
// and values in them that no program of ours would write. tests/fuzz/values_fuzz.cc goes on from here by chance.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/check/check.h"
#include "fs/format.h"
#include "fs/key.h"
#include "fs/name_hash.h"
#include "fs/superblock.h"
#include "fs/volume.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

void put(Mounted& m, Key key, std::span<const std::byte> value) {
  auto transaction = m->volume().begin(Intent::kOther, key.owner(), {.changes = 1, .value_bytes = kMaxValueBytes});
  ASSERT_OK(transaction);
  transaction->put(key, value);
  ASSERT_OK(m->volume().commit(std::move(*transaction)));
}

// What inode `number` says of itself from the next mount on.
void forge(Mounted& m, InodeNo number, const std::function<void(DiskInode&)>& edit) {
  const Key key(number, KeyKind::kInode, 0);
  DiskInode record{};
  ASSERT_OK(m->volume().get(
      key, [&](std::span<const std::byte> value) { std::memcpy(&record, value.data(), sizeof record); }));
  edit(record);
  put(m, key, as_bytes_of(record));
}

void put_name(Mounted& m, InodeNo directory, std::uint64_t offset, std::string_view name, InodeNo inode) {
  const DiskDirent head{
      .inode = inode.value(), .type = S_IFREG >> 12, .name_length = static_cast<std::uint8_t>(name.size())};
  std::vector<std::byte> value(sizeof head + name.size());
  std::memcpy(value.data(), &head, sizeof head);
  std::memcpy(value.data() + sizeof head, name.data(), name.size());
  put(m, Key(directory, KeyKind::kDirent, offset), value);
}

// Repaired, it is a sound volume.
void expect_repairable(Mounted& m) {
  ASSERT_OK(m->unmount());
  m.fs.reset();
  check::CheckOptions repair;
  repair.repair = true;
  ASSERT_OK(check::check_volume(m.disk, repair));
  const auto again = check::check_volume(m.disk, {});
  ASSERT_OK(again);
  EXPECT_TRUE(again->findings.empty()) << again->findings.front().message;
}

TEST(HostileImage, AMoveIntoDirectoriesThatAreEachOthersParentsIsRefused) {
  for (unsigned length = 2; length <= 7; ++length) {
    SCOPED_TRACE("a circle of " + std::to_string(length));
    Mounted m;
    std::vector<InodeNo> circle;
    for (unsigned i = 0; i < length; ++i) {
      circle.push_back(m.directory(i == 0 ? kTop : circle.back(), "d"));
    }
    InodeNo lowest = circle.back();
    for (unsigned i = 0; i < 3; ++i) lowest = m.directory(lowest, "below");  // a way that leads into the circle
    const InodeNo moved = m.directory(kTop, "moved");
    const InodeNo other = m.directory(lowest, "other");
    forge(m, circle.front(), [&](DiskInode& record) { record.parent = circle.back().value(); });
    m.remount();
    EXPECT_EQ(code(m->rename(kRoot, kTop, "moved", lowest, "moved", 0)), Errc::kCorrupt);
    EXPECT_EQ(code(m->rename(kRoot, kTop, "moved", circle.front(), "moved", 0)), Errc::kCorrupt);
    EXPECT_EQ(code(m->rename(kRoot, kTop, "moved", lowest, "other", static_cast<unsigned>(RenameFlag::kExchange))),
              Errc::kCorrupt);
    EXPECT_EQ(m.find(kTop, "moved"), moved);
    EXPECT_EQ(m.find(lowest, "other"), other);
    expect_repairable(m);
  }
}

TEST(HostileImage, ADirectoryWithinItselfCanBeListedAndLeft) {
  Mounted m;
  const InodeNo outer = m.directory(kTop, "outer");
  const InodeNo inner = m.directory(outer, "inner");
  put_name(m, inner, 1 << 8, "outer", outer);
  put_name(m, inner, 2 << 8, "root", kTop);
  m.remount();
  EXPECT_EQ(m.list(inner).size(), 4U);
  // Moving the outer one into the inner one is refused whichever way it is reached.
  EXPECT_EQ(code(m->rename(kRoot, kTop, "outer", inner, "loop", 0)), Errc::kInvalid);
  expect_repairable(m);
}

TEST(HostileImage, NamesThatLeadElsewhereAreNotListed) {
  using namespace std::string_view_literals;
  for (const std::string_view name : {"../../etc/passwd"sv, "a/b"sv, "."sv, ".."sv, "a\0b"sv, "/"sv}) {
    SCOPED_TRACE(name);
    Mounted m;
    const InodeNo directory = m.directory(kTop, "d");
    const InodeNo file = m.file(directory, "sound");
    put_name(m, directory, 1 << 8, name, file);
    m.remount();
    std::vector<std::string> seen;
    const Status listed = m->read_directory(directory, 0, false, [&](const DirectoryEntry& entry) {
      seen.emplace_back(entry.name);
      return true;
    });
    EXPECT_EQ(code(listed), Errc::kCorrupt);
    EXPECT_EQ(seen, (std::vector<std::string>{".", ".."}));
    EXPECT_EQ(m.find(directory, "sound"), file);
    expect_repairable(m);
  }
}

TEST(HostileImage, AFullBucketOfNamesIsNoSpaceForOneMoreAndNothingElse) {
  Mounted m;
  const InodeNo directory = m.directory(kTop, "d");
  const InodeNo file = m.file(directory, "other");
  const NameHash hash(find_superblock(m.disk)->superblock.hash_seed);
  const std::uint64_t bucket = hash.dirent_hash("wanted") << 8;
  for (std::uint64_t i = 0; i < 256; ++i) put_name(m, directory, bucket + i, "taken " + std::to_string(i), file);
  m.remount();
  EXPECT_EQ(code(m->make_node(kRoot, directory, "wanted", {.mode = S_IFREG | 0600})), Errc::kNoSpace);
  EXPECT_EQ(code(m->lookup(directory, "wanted")), Errc::kNoSpace) << "the kernel looks before it makes";
  EXPECT_EQ(m.find(directory, "other"), file);
  EXPECT_EQ(m.list(directory).size(), 2U + 1 + 256);
}

TEST(HostileImage, SizesThatCannotBeAreReadAsZerosOrRefusedAndCutOff) {
  for (const std::uint64_t size : {kMaxFileBytes + 1, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    for (const std::uint64_t blocks : {std::uint64_t{0}, ~std::uint64_t{0}}) {
      SCOPED_TRACE(std::to_string(size) + " bytes, " + std::to_string(blocks) + " blocks");
      Mounted m;
      const InodeNo file = m.file(kTop, "f");
      m.write(file, 0, "content");
      forge(m, file, [&](DiskInode& record) {
        record.size_bytes = size;
        record.data_blocks = blocks;
      });
      m.remount();
      std::vector<std::byte> buffer(100'000);
      for (const std::uint64_t at : {std::uint64_t{0}, kMaxFileBytes - 5, size - 5, size - 1, size / 2}) {
        const auto got = m->read(file, at, buffer);
        EXPECT_LE(got.value_or(0), buffer.size());
      }
      static_cast<void>(m->seek(file, 0, true));
      static_cast<void>(m->seek(file, 0, false));
      static_cast<void>(m->seek(file, size - 1, false));
      EXPECT_EQ(code(m->write(file, size - 1, to_bytes("xy"), false)), Errc::kFileTooBig);
      EXPECT_EQ(code(m->write(file, 0, to_bytes("xy"), false, true)), Errc::kFileTooBig) << "append";
      static_cast<void>(m->allocate(file, AllocateMode::kPunchHole, 0, kMaxFileBytes));
      const InodeNo copy = m.file(kTop, "copy");
      static_cast<void>(m->copy_range(file, size - 5000, copy, 0, 5000));
      ASSERT_OK(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 0}));
      EXPECT_EQ(m.attributes(file).size_bytes, 0U);
      ASSERT_OK(m->unlink(kRoot, kTop, "f"));
      expect_repairable(m);
    }
  }
}

TEST(HostileImage, ASymlinkOfAnyLengthIsReadNoFurtherThanOneMayBe) {
  Mounted m;
  const auto made = m->make_symlink(kRoot, kTop, "link", std::string(2000, 'x'));
  ASSERT_OK(made);
  const std::vector<std::byte> chunk(kSymlinkChunkBytes, std::byte('x'));
  for (std::uint64_t i = 0; i < 300; ++i) put(m, Key(made->inode, KeyKind::kSymlink, i), chunk);
  forge(m, made->inode, [](DiskInode& record) { record.size_bytes = 300 * kSymlinkChunkBytes; });
  m->forget(made->inode, 1);
  m.remount();
  EXPECT_EQ(code(m->read_symlink(made->inode)), Errc::kCorrupt);
  expect_repairable(m);
}

TEST(HostileImage, AListOfAttributesThatNobodyCouldTakeIsNotGathered) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  const auto name = [](int i) { return "user." + std::string(240, 'n') + std::to_string(1000 + i); };
  const auto set = [&](int i) {
    ASSERT_OK(m->set_xattr(kRoot, file, name(i), to_bytes("v"), FileSystem::XattrMode::kCreate, false));
  };
  for (int i = 0; i < 262; ++i) set(i);
  const auto listed = m->list_xattrs(file);
  ASSERT_OK(listed);
  EXPECT_EQ(listed->size(), 262U) << "65,500 bytes with their zeros, of 65,536 that listxattr(2) can give";
  set(262);
  EXPECT_EQ(code(m->list_xattrs(file)), Errc::kOutOfRange);
  EXPECT_OK(m->get_xattr(file, name(262)));
}

TEST(HostileImage, OrphansThatAreNoneAreLeftAsTheyAre) {
  Mounted m;
  const InodeNo directory = m.directory(kTop, "d");
  const InodeNo file = m.file(directory, "f");
  m.write(file, 0, "content");
  for (const InodeNo number : {kTop, directory, file, InodeNo(999'999)}) {
    put(m, Key(kSystemObject, KeyKind::kOrphan, number.value()), {});
  }
  ASSERT_OK(m->sync());
  m.crash();
  EXPECT_EQ(m.read(file), "content");
  EXPECT_EQ(m.list(directory).size(), 3U);
  expect_repairable(m);
}

TEST(HostileImage, WhereAllInodeNumbersAreGivenTheVolumeIsFullAndCanBeMountedAgain) {
  Mounted m;
  const InodeNo file = m.file(kTop, "there");
  ASSERT_OK(m->unmount());
  m.fs.reset();
  DiskSuperblock superblock = find_superblock(m.disk)->superblock;
  superblock.next_inode = kMaxInodeNo - 1;
  for (std::uint32_t slot = 0; slot < kSuperblockSlots; ++slot) {
    ASSERT_OK(write_superblock_to(m.disk, superblock, slot));
  }
  m.mount();
  EXPECT_EQ(m.file(kTop, "last").value(), kMaxInodeNo - 1);
  EXPECT_EQ(code(m->make_node(kRoot, kTop, "one more", {.mode = S_IFREG | 0600})), Errc::kNoSpace);
  m.write(file, 0, "content");
  ASSERT_OK(m->rename(kRoot, kTop, "there", kTop, "moved", 0));
  m.remount();
  EXPECT_EQ(m.read(m.find(kTop, "moved")), "content");
  EXPECT_EQ(code(m->make_node(kRoot, kTop, "one more", {.mode = S_IFREG | 0600})), Errc::kNoSpace);
}

}  // namespace
}  // namespace weft::fs::test
