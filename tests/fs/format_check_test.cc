// Log records and transactions out of hostile bytes; superblocks are in superblock_test.cc.
#include "fs/format_check.h"

#include <gtest/gtest.h>

#include "kernel/random.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

TEST(FormatCheck, HostileTransactionsAreRefused) {
  const Layout layout = Layout::plan(4096, 64);
  const auto map = [&](std::uint64_t block, std::uint32_t length, std::uint32_t flags, std::size_t checksums,
                       std::uint64_t offset) {
    test::RawChange change;
    change.kind = ChangeKind::kMap;
    change.key = Key(InodeNo(20), KeyKind::kExtent, offset);
    DiskExtent extent{};
    extent.block = block;
    extent.length = length;
    extent.flags = flags;
    test::append_bytes(change.value, extent);
    change.value.resize(change.value.size() + checksums * 4);
    return test::raw_transaction(std::span(&change, 1));
  };
  EXPECT_TRUE(check_transaction(map(1000, 2, 0, 2, 0), layout));
  EXPECT_TRUE(check_transaction(map(1000, 200, kExtentUnwritten, 0, 0), layout));
  EXPECT_FALSE(check_transaction(map(1000, 2, 0, 1, 0), layout));
  EXPECT_FALSE(check_transaction(map(1000, 0, 0, 0, 0), layout));
  EXPECT_FALSE(check_transaction(map(1000, 2, 4, 2, 0), layout));
  EXPECT_FALSE(check_transaction(map(0, 2, 0, 2, 0), layout));
  EXPECT_FALSE(check_transaction(map(layout.log_start.value(), 1, 0, 1, 0), layout));
  EXPECT_FALSE(check_transaction(map(4093, 2, 0, 2, 0), layout)) << "runs into a superblock slot";
  EXPECT_FALSE(check_transaction(map(~std::uint64_t{0}, 1, 0, 1, 0), layout));
  EXPECT_FALSE(check_transaction(map(1000, kMaxPlainBlocks + 1, kExtentUnwritten, 0, 0), layout));
  EXPECT_FALSE(check_transaction(map(1000, 2, 0, 2, kMaxKeyOffset), layout));

  test::RawChange put;
  put.key = Key(InodeNo(kMaxInodeNo - 1), KeyKind::kInode, 0);
  EXPECT_TRUE(check_transaction(test::raw_transaction(std::span(&put, 1)), layout));
  put.key = Key(InodeNo(kMaxInodeNo), KeyKind::kInode, 0);
  EXPECT_FALSE(check_transaction(test::raw_transaction(std::span(&put, 1)), layout)) << "no orphan's key could name it";

  const std::uint64_t seed = 11;
  RecordProperty("seed", std::to_string(seed));
  Random random(seed);
  const std::vector<std::byte> good = map(1000, 2, 0, 2, 0);
  for (int i = 0; i < 50'000; ++i) {  // must neither crash nor read past the end (the sanitizers watch)
    std::vector<std::byte> bad = good;
    bad.resize(random.between(0, bad.size()));
    for (std::uint64_t n = random.below(4); n != 0 && !bad.empty(); --n)
      bad[random.below(bad.size())] = std::byte(random.below(256));
    (void)check_transaction(bad, layout);
  }
}

}  // namespace
}  // namespace weft::fs
