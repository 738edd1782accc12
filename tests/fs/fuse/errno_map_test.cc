#include "fs/fuse/errno_map.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace weft::fs::fuse {
namespace {

TEST(ErrnoMap, SaysDamageApartFromAFailingDevice) {
  EXPECT_EQ(errno_of(Error(Errc::kCorrupt)), EUCLEAN);
  EXPECT_EQ(errno_of(Error(Errc::kChecksum)), EIO);
  EXPECT_EQ(errno_of(Error(Errc::kIo)), EIO);
}

TEST(ErrnoMap, NeverSaysEnosysForWhichTheKernelWouldStopAsking) {
  for (int code = 0; code <= static_cast<int>(Errc::kInternal); ++code) {
    const int number = errno_of(Error(static_cast<Errc>(code)));
    EXPECT_GT(number, 0) << code;
    EXPECT_NE(number, ENOSYS) << code;
  }
}

TEST(ErrnoMap, CountsOnlyDeviceAndDamageAsOurFailures) {
  EXPECT_TRUE(is_failure_of_ours(Errc::kIo));
  EXPECT_TRUE(is_failure_of_ours(Errc::kCorrupt));
  EXPECT_FALSE(is_failure_of_ours(Errc::kNotFound));
  EXPECT_FALSE(is_failure_of_ours(Errc::kNoSpace));
}

}  // namespace
}  // namespace weft::fs::fuse
