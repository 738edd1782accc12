#include "fs/fuse/stale_blocks.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/fs/fuse/requests.h"

namespace weft::fs::fuse {
namespace {

TEST(StaleBlocks, TellsOfEachFileOnceHoweverOftenItWasWritten) {
  StaleBlocks stale;
  test::KeptAnswers kernel;
  stale.tell(kernel);
  EXPECT_TRUE(kernel.answers.empty());
  for (int i = 0; i < 3; ++i) {
    stale.note(InodeNo(7));
    stale.note(InodeNo(9));
  }
  stale.tell(kernel);
  std::set<std::uint64_t> told;
  for (const std::string& message : kernel.answers) {
    fuse_out_header header;
    fuse_notify_inval_inode_out what;
    ASSERT_EQ(message.size(), sizeof header + sizeof what);
    std::memcpy(&header, message.data(), sizeof header);
    std::memcpy(&what, message.data() + sizeof header, sizeof what);
    EXPECT_EQ(header.unique, 0U);
    EXPECT_EQ(header.error, FUSE_NOTIFY_INVAL_INODE);
    EXPECT_LT(what.off, 0) << "its pages stay";
    told.insert(what.ino);
  }
  EXPECT_EQ(kernel.answers.size(), 2U);
  EXPECT_EQ(told, (std::set<std::uint64_t>{7, 9}));
  stale.tell(kernel);
  EXPECT_EQ(kernel.answers.size(), 2U) << "nothing new";
}

TEST(StaleBlocks, RemembersABoundedNumberOfFiles) {
  StaleBlocks stale;
  test::KeptAnswers kernel;
  for (std::uint64_t i = 0; i < 100'000; ++i) stale.note(InodeNo(2 + i));
  stale.tell(kernel);
  EXPECT_EQ(kernel.answers.size(), std::size_t{1} << 16);
}

}  // namespace
}  // namespace weft::fs::fuse
