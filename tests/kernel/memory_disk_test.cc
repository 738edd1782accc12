#include "kernel/memory_disk.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "kernel/units.h"

namespace weft {
namespace {

struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes{};
};

Page filled(int value) {
  Page page;
  page.bytes.fill(static_cast<std::byte>(value));
  return page;
}

TEST(MemoryDisk, ReadsBackWhatWasWritten) {
  MemoryDisk disk(1 * kMiB);
  ASSERT_TRUE(disk.write(8192, filled(3).bytes));
  ASSERT_TRUE(disk.flush());
  Page page;
  ASSERT_TRUE(disk.read(8192, page.bytes));
  EXPECT_EQ(page.bytes, filled(3).bytes);
  ASSERT_TRUE(disk.discard(8192, 4096));
  ASSERT_TRUE(disk.read(8192, page.bytes));
  EXPECT_EQ(page.bytes, Page().bytes);
}

TEST(MemoryDisk, VectorsLieOneAfterTheOther) {
  MemoryDisk disk(1 * kMiB);
  Page one = filled(1);
  Page two = filled(2);
  const std::array<iovec, 2> vectors{iovec{one.bytes.data(), 512}, iovec{two.bytes.data(), 1024}};
  const BlockIo io{BlockOp::kWrite, 512, 1536, vectors};
  ASSERT_TRUE(disk.run({&io, 1}));
  Page back;
  ASSERT_TRUE(disk.read(0, back.bytes));
  EXPECT_EQ(back.bytes[511], std::byte{0});
  EXPECT_EQ(back.bytes[1023], std::byte{1});
  EXPECT_EQ(back.bytes[2047], std::byte{2});
  EXPECT_EQ(back.bytes[2048], std::byte{0});
}

TEST(MemoryDisk, RequestThatMakesNoSenseIsRefusedAndTouchesNothing) {
  MemoryDisk disk(1 * kMiB, 4096, "little");
  Page page = filled(1);
  EXPECT_EQ(disk.write(512, page.bytes).error(), Errc::kInvalid);
  EXPECT_EQ(disk.write(1 * kMiB, page.bytes).error(), Errc::kInvalid);
  EXPECT_EQ(disk.write(~0ULL - 4095, page.bytes).error(), Errc::kInvalid);
  EXPECT_EQ(disk.write(0, std::span(page.bytes).first(512)).error(), Errc::kInvalid);
  const iovec vector{page.bytes.data(), 4096};
  const BlockIo mismatch{BlockOp::kWrite, 0, 8192, {&vector, 1}};
  const auto status = disk.run({&mismatch, 1});
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("little"), std::string::npos) << status.error().message();
  disk.set_read_only(true);
  EXPECT_EQ(disk.write(0, page.bytes).error(), Errc::kReadOnly);
  EXPECT_EQ(disk.copy().hash(), 0U);
}

TEST(MemoryDisk, FirstErrorOfSeveralIsToldAndTheOthersAreDone) {
  MemoryDisk disk(1 * kMiB);
  Page page = filled(1);
  const iovec vector{page.bytes.data(), 4096};
  const std::array<BlockIo, 3> requests{BlockIo{BlockOp::kWrite, 100, 4096, {&vector, 1}},
                                        BlockIo{BlockOp::kWrite, 2 * kMiB, 4096, {&vector, 1}},
                                        BlockIo{BlockOp::kWrite, 4096, 4096, {&vector, 1}}};
  const auto status = disk.run(requests);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("offset 100"), std::string::npos) << status.error().message();
  Page back;
  ASSERT_TRUE(disk.read(4096, back.bytes));
  EXPECT_EQ(back.bytes, page.bytes);
}

TEST(MemoryDisk, GoesOnFromACopy) {
  MemoryDisk disk(1 * kMiB);
  ASSERT_TRUE(disk.write(0, filled(1).bytes));
  MemoryDisk other(disk.copy());
  ASSERT_TRUE(disk.write(0, filled(2).bytes));
  Page page;
  ASSERT_TRUE(other.read(0, page.bytes));
  EXPECT_EQ(page.bytes, filled(1).bytes);
}

}  // namespace
}  // namespace weft
