#include "kernel/open_device.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "kernel/aligned_buffer.h"
#include "kernel/posix_disk.h"
#include "kernel/units.h"

namespace weft {
namespace {

struct OpenDeviceIn : testing::TestWithParam<const char*> {
  std::string directory = std::string(GetParam()) + "/weft_open_device_" + std::to_string(getpid());
  std::string path = directory + "/disk";
  void SetUp() override { std::filesystem::create_directories(directory); }
  void TearDown() override { std::filesystem::remove_all(directory); }
};

TEST_P(OpenDeviceIn, FileIsMadeWithItsSizeAndKeepsWhatIsWritten) {
  {
    auto opened = open_device(path, {.create_bytes = 1 * kMiB});
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(opened->geometry.size_bytes, 1 * kMiB);
    EXPECT_FALSE(opened->is_block_device);
    PosixDisk disk(std::move(*opened));
    AlignedBuffer buffer(8192);
    std::memset(buffer.data(), 7, buffer.size());
    ASSERT_TRUE(disk.write(4096, buffer.span()));
    ASSERT_TRUE(disk.flush());
    EXPECT_EQ(disk.write(1 * kMiB, buffer.span()).error(), Errc::kInvalid);
    if (disk.geometry().can_discard) {
      ASSERT_TRUE(disk.discard(4096, 4096));
    }
  }
  auto again = open_device(path, {.read_only = true});
  ASSERT_TRUE(again) << again.error().message();
  PosixDisk disk(std::move(*again));
  AlignedBuffer buffer(4096);
  ASSERT_TRUE(disk.read(8192, buffer.span()));
  EXPECT_EQ(buffer.span()[0], std::byte{7});
  if (disk.device().memory_backed) {
    ASSERT_TRUE(disk.read(4096, buffer.span()));
    EXPECT_EQ(buffer.span()[0], std::byte{0});
  }
  EXPECT_EQ(disk.write(0, buffer.span()).error(), Errc::kReadOnly);
}

TEST_P(OpenDeviceIn, SecondOpenerIsRefused) {
  auto first = open_device(path, {.create_bytes = 1 * kMiB});
  ASSERT_TRUE(first);
  EXPECT_EQ(open_device(path).error(), Errc::kBusy);
  EXPECT_TRUE(open_device(path, {.exclusive = false}));
}

INSTANTIATE_TEST_SUITE_P(Places, OpenDeviceIn, testing::Values("/tmp", "/dev/shm"));

TEST(OpenDevice, WhatIsNoDiskIsRefusedWithItsName) {
  EXPECT_EQ(open_device("/nowhere/disk").error(), Errc::kNotFound);
  const auto null = open_device("/dev/null");
  ASSERT_FALSE(null);
  EXPECT_NE(null.error().message().find("/dev/null"), std::string::npos);
}

}  // namespace
}  // namespace weft
