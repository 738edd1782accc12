#include "kernel/open_device.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kernel/units.h"

namespace weft {
namespace {

struct OpenDeviceIn : testing::TestWithParam<const char*> {
  std::string directory = std::string(GetParam()) + "/weft_open_device_" + std::to_string(getpid());
  std::string path = directory + "/disk";
  void SetUp() override { std::filesystem::create_directories(directory); }
  void TearDown() override { std::filesystem::remove_all(directory); }
  void make_file(std::uint64_t size_bytes) const {
    std::ofstream{path};
    std::filesystem::resize_file(path, size_bytes);
  }
};

TEST_P(OpenDeviceIn, FileIsWhatItIs) {
  make_file(1 * kMiB + 100);
  const auto opened = open_device(path);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->geometry.size_bytes, 1 * kMiB) << "whole sectors";
  EXPECT_FALSE(opened->is_block_device);
  EXPECT_FALSE(opened->geometry.read_only);
  EXPECT_EQ(opened->memory_backed, directory.starts_with("/dev/shm"));
}

TEST_P(OpenDeviceIn, ReadOnlyIsReadOnly) {
  make_file(1 * kMiB);
  const auto opened = open_device(path, {.read_only = true});
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(opened->geometry.read_only);
  EXPECT_FALSE(opened->geometry.can_discard);
  EXPECT_LT(::write(opened->fd(), "x", 1), 0);
}

TEST_P(OpenDeviceIn, EmptyFileIsRefused) {
  make_file(0);
  EXPECT_EQ(open_device(path).error(), Errc::kInvalid);
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
