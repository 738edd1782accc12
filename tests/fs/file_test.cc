#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "fs/aligned_buffer.h"
#include "kernel/metrics.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

std::string pattern(std::size_t size, unsigned seed = 1) {
  std::string out(size, '\0');
  std::uint64_t state = seed * 0x9e3779b97f4a7c15;
  for (char& byte : out) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<char>(state >> 56);
  }
  return out;
}

TEST(File, WhatIsWrittenIsReadBackAtAnyOffsetAndLength) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  std::string expected;
  for (const auto& [offset, length] :
       {std::pair{0, 10}, {5, 10}, {4090, 12}, {8192, 4096}, {100, 9000}, {20000, 1}, {12288, 8192}, {0, 4096}}) {
    const std::string bytes = pattern(length, offset + 7);
    m.write(file, offset, bytes);
    expected.resize(std::max<std::size_t>(expected.size(), offset + length));
    expected.replace(offset, length, bytes);
    ASSERT_EQ(m.read(file), expected) << offset;
    ASSERT_EQ(m.read(file, 4095, 3), expected.substr(std::min<std::size_t>(4095, expected.size()), 3));
  }
  EXPECT_EQ(m.attributes(file).size_bytes, expected.size());
  m.remount();
  EXPECT_EQ(m.read(file), expected);
  EXPECT_EQ(m.read(file, expected.size()), "");
  EXPECT_EQ(m.read(file, expected.size() + 100000), "");
}

TEST(File, AlignedMemoryGoesStraightToTheDevice) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  AlignedBuffer buffer(1 << 21);
  const std::string bytes = pattern(buffer.size());
  std::memcpy(buffer.bytes().data(), bytes.data(), bytes.size());
  EXPECT_EQ(m->write(file, 4096, buffer.bytes(), false).value(), buffer.size());
  std::memset(buffer.bytes().data(), 0, buffer.size());
  EXPECT_EQ(m->read(file, 4096, buffer.bytes()).value(), buffer.size());
  EXPECT_EQ(std::memcmp(buffer.bytes().data(), bytes.data(), bytes.size()), 0);
  EXPECT_EQ(m.attributes(file).sectors, buffer.size() / 512);
}

TEST(File, HolesReadAsZerosAndTakeNoSpace) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, std::uint64_t{1} << 40, "far");
  EXPECT_EQ(m.attributes(file).size_bytes, (std::uint64_t{1} << 40) + 3);
  EXPECT_EQ(m.attributes(file).sectors, 8u);
  EXPECT_EQ(m.read(file, 12345, 10000), std::string(10000, '\0'));
  EXPECT_EQ(code(m->write(file, kMaxFileBytes, to_bytes("x"), false)), Errc::kFileTooBig);
  EXPECT_EQ(code(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = kMaxFileBytes + 1})),
            Errc::kFileTooBig);
  m.write(file, kMaxFileBytes - 1, "x");
  EXPECT_EQ(m.read(file, kMaxFileBytes - 1), "x");
}

TEST(File, SeekStepsOverAHoleOfAnyLengthAtOnce) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  constexpr std::uint64_t kFar = std::uint64_t{1} << 59;
  m.write(file, 0, "near");
  m.write(file, kFar, "far");
  EXPECT_EQ(m->seek(file, 4096, true).value(), kFar);
  EXPECT_EQ(m->seek(file, 1 << 30, true).value(), kFar);
  EXPECT_EQ(m->seek(file, 0, false).value(), 4096u);
  EXPECT_EQ(m->seek(file, kFar, false).value(), kFar + 3);
  AttributeChange change;
  change.fields = AttributeChange::kSize;
  change.size_bytes = std::uint64_t{1} << 58;
  ASSERT_TRUE(m->set_attributes({}, file, change));
  EXPECT_EQ(m->seek(file, 4096, true).error(), Errc::kNoSuchOffset);
}

// Node visits: what a file of a thousand times as many extents would take a thousand times longer for shows here.
TEST(File, WhatLooksForAPlaceInAFileOfManyExtentsLooksAroundThatPlaceOnly) {
  constexpr std::uint64_t kExtents = 3000;
  Mounted m(64 * kMiB);
  const InodeNo file = m.file(kTop, "f");
  for (std::uint64_t i = 0; i < kExtents; ++i) m.write(file, 2 * i * kBlockBytes, std::string(kBlockBytes, 'x'));
  Counter& hits = default_metrics().counter("fs.node_cache.hits", "");
  std::uint64_t before = hits.value();
  const auto visits = [&] { return hits.value() - std::exchange(before, hits.value()); };
  for (std::uint64_t i = 0; i < 100; ++i) {
    const std::uint64_t at = 2 * i * kBlockBytes;
    EXPECT_EQ(m->seek(file, at, false).value(), at + kBlockBytes);
    EXPECT_EQ(m->seek(file, at + kBlockBytes, true).value(), at + 2 * kBlockBytes);
  }
  EXPECT_LE(visits(), 200u * 8);
  // All holes, sixteen a transaction.
  ASSERT_OK(m->allocate(file, AllocateMode::kReserve, 0, 2 * kExtents * kBlockBytes));
  EXPECT_EQ(m.attributes(file).sectors, 2 * kExtents * 8);
  EXPECT_LE(visits(), 2 * kExtents);
  EXPECT_EQ(m->seek(file, 0, false).value(), kBlockBytes) << "reserved is not written";
}

TEST(File, ShorteningAndLengtheningShowsZeros) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, 0, pattern(20000));
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 5000}));
  EXPECT_EQ(m.attributes(file).sectors, 16u);
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 20000}));
  EXPECT_EQ(m.read(file), pattern(20000).substr(0, 5000) + std::string(15000, '\0'));
  m.write(file, 30000, "x");
  EXPECT_EQ(m.read(file, 20000), std::string(10000, '\0') + "x");
}

TEST(File, ATruncateOfManyExtentsIsFinishedInSteps) {
  Mounted m(64 * kMiB);
  const InodeNo file = m.file(kTop, "f");
  for (int i = 0; i < 300; ++i) m.write(file, std::uint64_t(i) * 8192, pattern(4096, i));
  const std::uint64_t free = m->volume().space().free_blocks;
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 100}));
  EXPECT_EQ(m.attributes(file).sectors, 8u);
  EXPECT_GE(m->volume().space().free_blocks, free + 250);
  EXPECT_EQ(m.read(file), pattern(4096, 0).substr(0, 100));
  for (int i = 0; i < 300; ++i) m.write(file, std::uint64_t(i) * 8192, pattern(4096, i));
  const std::uint64_t inodes = m->volume().space().inode_count;
  ASSERT_OK(m->unlink(kRoot, kTop, "f"));
  EXPECT_EQ(m->volume().space().inode_count, inodes - 1);
  EXPECT_EQ(code(m->attributes(file)), Errc::kStale);
}

TEST(File, ReservedSpaceReadsAsZerosAndIsWrittenWhereItLies) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  ASSERT_OK(m->allocate(file, AllocateMode::kReserveKeepSize, 0, 1 << 20));
  EXPECT_EQ(m.attributes(file).size_bytes, 0u);
  EXPECT_EQ(m.attributes(file).sectors, 2048u);
  ASSERT_OK(m->allocate(file, AllocateMode::kReserve, 0, 1 << 20));
  EXPECT_EQ(m.attributes(file).size_bytes, 1u << 20);
  EXPECT_EQ(m.read(file), std::string(1 << 20, '\0'));
  ASSERT_OK(m->sync());
  m.write(file, 8192, pattern(40000));
  EXPECT_EQ(m.attributes(file).sectors, 2048u);
  EXPECT_EQ(m.read(file, 0, 100000), std::string(8192, '\0') + pattern(40000) + std::string(100000 - 48192, '\0'));
  ASSERT_OK(m->sync());
  m.crash();
  EXPECT_EQ(m.read(file, 0, 100000), std::string(8192, '\0') + pattern(40000) + std::string(100000 - 48192, '\0'));
  m.write(file, 8192, pattern(40000, 2));
  EXPECT_EQ(m.read(file, 8192, 40000), pattern(40000, 2));
  m.remount();
  EXPECT_EQ(m.read(file, 8192, 40000), pattern(40000, 2));
}

TEST(File, PunchAndZeroRangeLeaveZerosAndTheRest) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  std::string expected = pattern(50000);
  m.write(file, 0, expected);
  ASSERT_OK(m->allocate(file, AllocateMode::kPunchHole, 5000, 20000));
  std::fill_n(expected.begin() + 5000, 20000, '\0');
  EXPECT_EQ(m.read(file), expected);
  EXPECT_EQ(m.attributes(file).sectors, (13 - 4) * 8u);
  ASSERT_OK(m->allocate(file, AllocateMode::kPunchHole, 100, 50));
  std::fill_n(expected.begin() + 100, 50, '\0');
  ASSERT_OK(m->allocate(file, AllocateMode::kZeroRange, 45000, 10000));
  expected.resize(55000);
  std::fill_n(expected.begin() + 45000, 10000, '\0');
  EXPECT_EQ(m.read(file), expected);
  EXPECT_EQ(code(m->allocate(file, AllocateMode::kReserve, 0, 0)), Errc::kInvalid);
  EXPECT_EQ(code(m->allocate(kTop, AllocateMode::kReserve, 0, 1)), Errc::kIsDirectory);
}

TEST(File, SeekFindsDataAndHoles) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, 8192, pattern(8192));
  m.write(file, 40960, "end");
  EXPECT_EQ(m->seek(file, 0, true).value(), 8192u);
  EXPECT_EQ(m->seek(file, 9000, true).value(), 9000u);
  EXPECT_EQ(m->seek(file, 0, false).value(), 0u);
  EXPECT_EQ(m->seek(file, 9000, false).value(), 16384u);
  EXPECT_EQ(m->seek(file, 16384, true).value(), 40960u);
  EXPECT_EQ(m->seek(file, 40961, false).value(), 40963u);
  EXPECT_EQ(code(m->seek(file, 40963, true)), Errc::kNoSuchOffset);
  ASSERT_OK(m->allocate(file, AllocateMode::kReserve, 0, 8192));
  EXPECT_EQ(m->seek(file, 0, true).value(), 8192u);
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 1 << 20}));
  EXPECT_EQ(code(m->seek(file, 45056, true)), Errc::kNoSuchOffset);
}

TEST(File, CopyRangeCopies) {
  Mounted m;
  const InodeNo a = m.file(kTop, "a");
  const InodeNo b = m.file(kTop, "b");
  m.write(a, 0, pattern(3000000));
  EXPECT_EQ(m->copy_range(a, 1000, b, 77, 5000000).value(), 2999000u);
  EXPECT_EQ(m.read(b, 77, 3000000), pattern(3000000).substr(1000));
  EXPECT_EQ(code(m->copy_range(a, 0, a, 10, 100)), Errc::kInvalid);
}

TEST(File, CopiesWithinAFileEndWhereItEndedBefore) {
  Mounted m;
  const InodeNo a = m.file(kTop, "a");
  m.write(a, 0, pattern(8192));
  EXPECT_EQ(m->copy_range(a, 600, a, 9000, 8192).value(), 7592u);
  EXPECT_EQ(m.attributes(a).size_bytes, 16592u);
  EXPECT_EQ(m->copy_range(a, 16592, a, 0, 10).value(), 0u);
}

TEST(File, AppendsGoToTheEnd) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  EXPECT_OK(m->write(file, 0, to_bytes("one"), false, true));
  EXPECT_OK(m->write(file, 0, to_bytes("two"), false, true));
  EXPECT_EQ(m.read(file), "onetwo");
}

TEST(File, AppendOnlyAndImmutableFilesKeepTheirData) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, 0, pattern(5000));
  ASSERT_OK(m->set_flags(kRoot, file, kInodeAppendOnly));
  EXPECT_EQ(code(m->write(file, 0, to_bytes("x"), false)), Errc::kNotPermitted);
  EXPECT_OK(m->write(file, 0, to_bytes("x"), false, true));
  EXPECT_EQ(code(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 0})),
            Errc::kNotPermitted);
  EXPECT_EQ(code(m->allocate(file, AllocateMode::kPunchHole, 0, 4096)), Errc::kNotPermitted);
  ASSERT_OK(m->set_flags(kRoot, file, kInodeImmutable));
  EXPECT_EQ(code(m->write(file, 0, to_bytes("x"), false, true)), Errc::kNotPermitted);
  EXPECT_EQ(code(m->set_flags({.uid = 1}, file, 0)), Errc::kNotPermitted);
}

TEST(File, WritingTakesSetIdBitsAndCapabilities) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f", 0106755);
  ASSERT_OK(m->set_xattr(kRoot, file, "security.capability", to_bytes("cap"), FileSystem::XattrMode::kEither, false));
  EXPECT_OK(m->get_xattr(file, "security.capability"));
  m.write(file, 0, "x");
  EXPECT_EQ(m.attributes(file).mode, 0106755u);
  EXPECT_EQ(code(m->get_xattr(file, "security.capability")), Errc::kNoData);
  EXPECT_OK(m->write(file, 0, to_bytes("x"), true));
  EXPECT_EQ(m.attributes(file).mode, 0100755u);
}

TEST(File, ChangesOfDataMoveTheTimesUnlessTheCallerKeepsThem) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  const InodeNo source = m.file(kTop, "source");
  m.write(source, 0, pattern(20'000));
  const std::vector<std::function<void(std::uint64_t)>> changes = {
      [&](std::uint64_t at) { m.write(file, at, pattern(10'000)); },
      [&](std::uint64_t at) { EXPECT_OK(m->allocate(file, AllocateMode::kReserveKeepSize, at + 100'000, 50'000)); },
      [&](std::uint64_t at) { EXPECT_OK(m->allocate(file, AllocateMode::kReserve, at + 100'000, 50'000)); },
      [&](std::uint64_t at) { EXPECT_OK(m->allocate(file, AllocateMode::kPunchHole, at + 4096, 4096)); },
      [&](std::uint64_t at) { EXPECT_OK(m->copy_range(source, 0, file, at, 20'000)); },
  };
  for (const auto& change : changes) {
    const Attributes before = m.attributes(file);
    change(0);
    const Attributes after = m.attributes(file);
    EXPECT_GT(after.modified, before.modified);
    EXPECT_GT(after.changed, before.changed);
  }
  m->leave_data_times_to_caller();
  for (const auto& change : changes) {
    const Attributes before = m.attributes(file);
    change(1 << 20);
    const Attributes after = m.attributes(file);
    EXPECT_EQ(after.modified, before.modified);
    EXPECT_EQ(after.changed, before.changed);
    EXPECT_GT(after.version, before.version);
  }
}

TEST(File, FilesWithoutCopyOnWriteAreOverwrittenInPlace) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  ASSERT_OK(m->set_flags(kRoot, file, kInodeNoCow));
  m.write(file, 0, pattern(100000));
  const std::uint64_t free = m->volume().space().free_blocks;
  m.write(file, 4096, pattern(8192, 3));
  m.write(file, 50, pattern(10, 4));
  EXPECT_EQ(m->volume().space().free_blocks, free);
  std::string expected = pattern(100000);
  expected.replace(4096, 8192, pattern(8192, 3));
  expected.replace(50, 10, pattern(10, 4));
  EXPECT_EQ(m.read(file), expected);
  ASSERT_OK(m->allocate(file, AllocateMode::kReserve, 100000, 50000));
  m.write(file, 120000, "tail");
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = AttributeChange::kSize, .size_bytes = 6000}));
  m.remount();
  EXPECT_EQ(m.read(file), expected.substr(0, 6000));
  EXPECT_EQ(code(m->set_flags(kRoot, file, 0)), Errc::kInvalid);
}

TEST(File, RottenDataIsAnErrorAndNamed) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, 0, pattern(4096));
  m.remount();
  // The only block of the disk that holds the pattern.
  AlignedBuffer block(4096);
  const auto expected = to_bytes(pattern(4096));
  std::uint64_t offset = 0;
  for (; offset < m.disk.geometry().size_bytes; offset += 4096) {
    ASSERT_OK(m.disk.read(offset, block.bytes()));
    if (std::ranges::equal(block.bytes(), expected)) break;
  }
  m.disk.rot(offset, 4096);
  std::vector<std::byte> into(4096);
  const auto got = m->read(file, 0, into);
  EXPECT_EQ(code(got), Errc::kChecksum);
  EXPECT_NE(got.error().message().find("inode " + std::to_string(file.value())), std::string::npos);
}

TEST(File, ReadingOrWritingWhatHasNoDataIsRefused) {
  Mounted m;
  std::vector<std::byte> buffer(10);
  EXPECT_EQ(code(m->read(kTop, 0, buffer)), Errc::kIsDirectory);
  EXPECT_EQ(code(m->write(kTop, 0, buffer, false)), Errc::kIsDirectory);
  EXPECT_EQ(code(m->read(InodeNo(999), 0, buffer)), Errc::kStale);
}

TEST(File, AFullVolumeRefusesCleanlyAndCanBeEmptied) {
  Mounted m(16 * kMiB);
  const std::uint64_t before = m->volume().space().available_blocks;
  std::vector<std::string> names;
  const std::string bytes = pattern(256 * 1024);
  std::optional<Errc> refused;
  for (int i = 0; i < 1000 && !refused; ++i) {
    names.push_back("f" + std::to_string(i));
    const auto made = m->make_node(kRoot, kTop, names.back(), {.mode = 0100644});
    if (!made) {
      refused = code(made);
      names.pop_back();
      break;
    }
    m->forget(made->inode, 1);
    const auto wrote = m->write(made->inode, 0, to_bytes(bytes), false);
    if (!wrote) refused = code(wrote);
  }
  EXPECT_EQ(refused, Errc::kNoSpace);
  EXPECT_GT(names.size(), 20u);
  EXPECT_EQ(m.read(m.find(kTop, "f0")), bytes);
  m.remount();
  for (const std::string& name : names) ASSERT_OK(m->unlink(kRoot, kTop, name));
  ASSERT_OK(m->volume().checkpoint());
  ASSERT_OK(m->volume().checkpoint());
  EXPECT_GE(m->volume().space().available_blocks + 16, before);
  m.write(m.file(kTop, "again"), 0, bytes);
}

TEST(File, ManyThreadsWriteOneFileAtOnce) {
  Mounted m(64 * kMiB);
  const InodeNo file = m.file(kTop, "f");
  constexpr int kThreads = 8, kBlocks = 64;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      AlignedBuffer buffer(4096);
      for (int i = 0; i < kBlocks; ++i) {
        std::memset(buffer.bytes().data(), 'a' + t, 4096);
        EXPECT_OK(m->write(file, std::uint64_t(i * kThreads + t) * 4096, buffer.bytes(), false));
        AlignedBuffer got(8192);
        EXPECT_OK(m->read(file, std::uint64_t(i * kThreads) * 4096, got.bytes()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string expected;
  for (int i = 0; i < kBlocks; ++i) {
    for (int t = 0; t < kThreads; ++t) expected += std::string(4096, static_cast<char>('a' + t));
  }
  EXPECT_EQ(m.read(file, 0, 4 << 20), expected);
  EXPECT_EQ(m.attributes(file).sectors, kThreads * kBlocks * 8u);
}

}  // namespace
}  // namespace weft::fs::test
