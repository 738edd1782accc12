#include "fs/reference_counts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "kernel/random.h"

namespace weft::fs {
namespace {

TEST(ReferenceCounts, CountsLikeAMapWhateverComesAndGoes) {
  Random random(1);
  ReferenceCounts counts;
  std::map<std::uint64_t, std::uint64_t> model;
  for (int step = 0; step < 200'000; ++step) {
    // Numbers that follow each other, as inodes do, and some far away; it fills up, empties and fills up again.
    const std::uint64_t inode = 1 + random.below(3000) * (random.below(10) == 0 ? 0x1'0000'0001u : 1);
    const std::uint64_t references = 1 + random.below(3);
    if (random.below(10) < (step / 50'000 % 2 == 0 ? 7u : 3u)) {
      counts.add(InodeNo(inode), references);
      model[inode] += references;
    } else {
      std::uint64_t left = 0;
      if (const auto at = model.find(inode); at != model.end()) {
        left = at->second -= std::min(references, at->second);
        if (left == 0) model.erase(at);
      }
      ASSERT_EQ(counts.take(InodeNo(inode), references), left);
    }
    ASSERT_EQ(counts.count(), model.size());
    ASSERT_EQ(counts.has(InodeNo(inode)), model.contains(inode));
  }
  for (const auto& [inode, references] : model) ASSERT_EQ(counts.take(InodeNo(inode), references), 0u);
  EXPECT_EQ(counts.count(), 0u);
}

TEST(ReferenceCounts, TakesLittleMoreThanTwentyBytesAnInodeAndGivesThemBack) {
  ReferenceCounts counts;
  for (std::uint64_t inode = 2; inode < 100'002; ++inode) {
    counts.add(InodeNo(inode), 1);
    if (counts.count() > 1000) {
      ASSERT_LE(counts.bytes(), counts.count() * 24) << counts.count();
    }
  }
  for (std::uint64_t inode = 2; inode < 100'002; ++inode) counts.take(InodeNo(inode), 1);
  EXPECT_EQ(counts.count(), 0u);
  EXPECT_LE(counts.bytes(), 1024u);
}

TEST(ReferenceCounts, ASweepComesByEveryInode) {
  ReferenceCounts counts;
  std::set<std::uint64_t> expected;
  for (std::uint64_t inode = 2; inode < 1002; ++inode) {
    counts.add(InodeNo(inode), inode);
    expected.insert(inode);
  }
  std::size_t hand = 5;
  std::set<std::uint64_t> seen;
  for (std::size_t swept = 0; swept < counts.slots(); swept += 100)
    counts.sweep(hand, 100, [&](InodeNo inode) { return seen.insert(inode.value()), true; });
  EXPECT_EQ(seen, expected);
}

}  // namespace
}  // namespace weft::fs
