// Transactions as Volume::begin() gives them out: what they set aside, what they give back, what the volume shows of them.
#include "fs/transaction.h"

#include <gtest/gtest.h>

#include "kernel/memory_disk.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

constexpr InodeNo kFile{20};

struct TransactionTest : ::testing::Test {
  MemoryDisk disk{16 << 20};
  std::unique_ptr<Volume> volume;
  void SetUp() override {
    ASSERT_TRUE(test::make_fixed_volume(disk));
    volume = Volume::open(disk, {.background = false}).value();
  }
  Transaction begin(const TransactionNeeds& needs) { return volume->begin(Intent::kWrite, kFile, needs).value(); }
  std::uint64_t available() { return volume->space().available_blocks; }
  std::string get(Key key) {
    std::string value = "none";
    EXPECT_TRUE(volume->get(key, [&](std::span<const std::byte> bytes) {
      value.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }));
    return value;
  }
  static std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
};

TEST_F(TransactionTest, ChangesAreSeenTogetherWhenItCommitsAndNotBefore) {
  Transaction transaction = begin({.changes = 2});
  EXPECT_TRUE(transaction.empty());
  transaction.put(test::test_key(1), bytes_of("one"));
  transaction.put(test::test_key(2), bytes_of("two"));
  EXPECT_FALSE(transaction.empty());
  EXPECT_EQ(get(test::test_key(1)), "none");
  ASSERT_TRUE(volume->commit(std::move(transaction)));
  EXPECT_EQ(get(test::test_key(1)), "one");
  EXPECT_EQ(get(test::test_key(2)), "two");
}

TEST_F(TransactionTest, LaterChangeOfAKeyWinsWithinATransaction) {
  Transaction transaction = begin({.changes = 3});
  transaction.put(test::test_key(1), bytes_of("one"));
  transaction.erase(test::test_key(1));
  transaction.put(test::test_key(1), bytes_of("again"));
  ASSERT_TRUE(volume->commit(std::move(transaction)));
  EXPECT_EQ(get(test::test_key(1)), "again");
}

TEST_F(TransactionTest, DroppedItNeverHappenedAndAllIsGivenBack) {
  const std::uint64_t before = available();
  {
    Transaction transaction = begin({.changes = 2, .data_blocks = 50});
    EXPECT_LE(available(), before - 50);
    const BlockRange blocks = transaction.allocate(BlockNo{}, 20).value();
    transaction.put(test::test_key(1), bytes_of("one"));
    transaction.map(kFile, FileBlock(0), blocks, kExtentUnwritten, {}, false);
  }
  EXPECT_EQ(available(), before);
  EXPECT_EQ(get(test::test_key(1)), "none");
}

TEST_F(TransactionTest, AllocatedBlocksAreItsOwnAndThoseItDidNotMapAreFreeAgainAfterIt) {
  const std::uint64_t free_before = volume->space().free_blocks;
  Transaction first = begin({.changes = 2, .data_blocks = 64});
  Transaction second = begin({.changes = 2, .data_blocks = 64});
  const BlockRange mine = first.allocate(BlockNo{}, 40).value();
  const BlockRange theirs = second.allocate(mine.start, 40).value();
  EXPECT_TRUE(theirs.start >= mine.end() || theirs.end() <= mine.start);
  ASSERT_GE(mine.count, 10u);
  // The middle of the run; what is on either side goes back.
  first.map(kFile, FileBlock(0), {mine.start + 2, 5}, kExtentUnwritten, {}, false);
  ASSERT_TRUE(volume->commit(std::move(first)));
  ASSERT_TRUE(volume->checkpoint());
  EXPECT_LE(volume->space().free_blocks, free_before - 5);
  EXPECT_GE(volume->space().free_blocks, free_before - 5 - 8) << "5 of data, and what the tree took";
  Transaction third = begin({.changes = 1, .data_blocks = 2});
  EXPECT_EQ(third.allocate(mine.start, 2)->start, mine.start) << "the two blocks before those that were mapped";
}

TEST_F(TransactionTest, LongRunBecomesAsManyExtentsAsItTakes) {
  constexpr std::uint64_t kBlocks = 2 * kMaxChecksummedBlocks + 10;
  Transaction transaction = begin({.changes = 3, .value_bytes = 4096, .data_blocks = kBlocks});
  const BlockRange blocks = transaction.allocate(BlockNo{}, kBlocks).value();
  ASSERT_EQ(blocks.count, kBlocks) << "an empty volume has such a run";
  const std::vector<std::uint32_t> sums(kBlocks, 7);
  transaction.map(kFile, FileBlock(100), blocks, 0, sums, false);
  ASSERT_TRUE(volume->commit(std::move(transaction)));
  std::vector<std::pair<std::uint64_t, std::uint32_t>> extents;  // file block, length
  ASSERT_TRUE(volume->scan(Key(kFile, KeyKind::kExtent, 0), Key(kFile, KeyKind::kOrphan, 0),
                           [&](Key key, std::span<const std::byte> value) {
                             DiskExtent extent;
                             std::memcpy(&extent, value.data(), sizeof extent);
                             EXPECT_EQ(extent.block, blocks.start.value() + key.offset() - 100);
                             EXPECT_EQ(value.size(), sizeof extent + extent.length * 4);
                             extents.emplace_back(key.offset(), extent.length);
                             return true;
                           }));
  EXPECT_EQ(extents, (std::vector<std::pair<std::uint64_t, std::uint32_t>>{{100, 128}, {228, 128}, {356, 10}}));
}

TEST_F(TransactionTest, EmptyOneCommitsAsNothing) {
  const Lsn before = volume->committed();
  const std::uint64_t space = available();
  EXPECT_EQ(volume->commit(begin({.data_blocks = 10})), before);
  EXPECT_EQ(available(), space);
}

using TransactionDeathTest = TransactionTest;

TEST_F(TransactionDeathTest, MoreThanItAskedForIsABug) {
  EXPECT_DEATH(
      {
        Transaction transaction = begin({.changes = 1});
        transaction.put(test::test_key(1), bytes_of("one"));
        transaction.put(test::test_key(2), bytes_of("two"));
      },
      "internal error");
  EXPECT_DEATH(
      {
        Transaction transaction = begin({.changes = 1});
        static_cast<void>(transaction.allocate(BlockNo{}, 1));
      },
      "internal error");
}

TEST_F(TransactionDeathTest, ExtentsArePutByMapAlone) {
  EXPECT_DEATH(
      {
        Transaction transaction = begin({.changes = 1});
        transaction.put(Key(kFile, KeyKind::kExtent, 0), bytes_of("extent"));
      },
      "internal error");
  EXPECT_DEATH(
      {
        Transaction transaction = begin({.changes = 1});
        const std::uint32_t one_sum = 0;
        transaction.map(kFile, FileBlock(0), {BlockNo(1000), 2}, 0, std::span(&one_sum, 1), false);
      },
      "internal error");
}

}  // namespace
}  // namespace weft::fs
