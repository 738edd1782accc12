// posix_space.cc - the space that files take on a mounted file system: holes, reserving, punching, and what comes back.
#include "posix_check.h"

#include <linux/falloc.h>
#include <sys/vfs.h>
#include <algorithm>

using namespace posix_check;

CASE(sparse, "a file may have its only byte at 4 TiB, and takes next to no space") {
  constexpr off_t kFar = off_t{4} << 40;
  const Fd fd("f", O_RDWR | O_CREAT);
  REQUIRE(pwrite(fd, "x", 1, kFar) == 1);
  EXPECT_EQUAL(size_of(fd), kFar + 1);
  EXPECT(used_bytes(fd) <= 1 << 20);
  EXPECT(all_zero(read_at(fd, kFar / 2, 65536)));
  EXPECT(read_at(fd, kFar, 10) == "x");
  EXPECT_ERRNO(pwrite(fd, "x", 1, -1), EINVAL);
  EXPECT(ftruncate(fd, 10) == 0 && used_bytes(fd) <= 4096);
}
CASE(allocate, "fallocate takes space, keeps the size if asked, and reads as zeros") {
  const Fd fd("f", O_RDWR | O_CREAT);
  REQUIRE(fallocate(fd, 0, 0, 1 << 20) == 0);
  EXPECT_EQUAL(size_of(fd), 1 << 20);
  EXPECT(used_bytes(fd) >= 1 << 20);
  EXPECT(all_zero(read_at(fd, 0, 1 << 20)));
  EXPECT(fallocate(fd, FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20) == 0);
  EXPECT_EQUAL(size_of(fd), 1 << 20);
  EXPECT(used_bytes(fd) >= 2 << 20);
  EXPECT(pwrite(fd, "data", 4, 500000) == 4 && read_at(fd, 500000, 4) == "data" &&
         all_zero(read_at(fd, 500004, 60000)));
  EXPECT_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
  EXPECT_ERRNO(fallocate(fd, 0, -1, 10), EINVAL);
  const Fd read_only("f", O_RDONLY);
  EXPECT_ERRNO(fallocate(read_only, 0, 0, 10), EBADF);
}
CASE(growing, "stat shows the space of a file that is open and grows, soon after it was written") {
  const Fd fd("f", O_RDWR | O_CREAT);
  for (off_t size : {1 << 20, 2 << 20}) {
    const std::string text = pattern(7, 1 << 20);
    REQUIRE(pwrite(fd, text.data(), text.size(), size - (1 << 20)) == 1 << 20 && fdatasync(fd) == 0);
    struct stat info{};
    for (int tries = 0; tries < 100; ++tries) {
      REQUIRE(stat("f", &info) == 0);
      if (info.st_blocks * 512 >= size) break;
      usleep(100'000);
    }
    EXPECT(info.st_blocks * 512 >= size);
  }
}
CASE(punch, "a punched hole reads as zeros and gives its space back") {
  const Fd fd("f", O_RDWR | O_CREAT);
  const std::string text = pattern(2, 1 << 20);
  REQUIRE(write(fd, text.data(), text.size()) == 1 << 20);
  const off_t before = used_bytes(fd);
  EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100000, 500000) == 0);
  EXPECT_EQUAL(size_of(fd), 1 << 20);
  EXPECT(used_bytes(fd) <= before - 480000);
  EXPECT(read_at(fd, 0, 100000) == text.substr(0, 100000));
  EXPECT(all_zero(read_at(fd, 100000, 500000)));
  EXPECT(read_at(fd, 600000, 1 << 20) == text.substr(600000));
  EXPECT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 19, 1 << 22) == 0 && size_of(fd) == 1 << 20);
}
CASE(zero_range, "a zeroed range reads as zeros, and grows the file unless told to keep its size") {
  const Fd fd("f", O_RDWR | O_CREAT);
  const std::string text = pattern(3, 100000);
  REQUIRE(write(fd, text.data(), text.size()) == 100000);
  EXPECT(fallocate(fd, FALLOC_FL_ZERO_RANGE, 1001, 50000) == 0);
  EXPECT(read_at(fd, 0, 1001) == text.substr(0, 1001) && all_zero(read_at(fd, 1001, 50000)) &&
         read_at(fd, 51001, 10) == text.substr(51001, 10));
  EXPECT(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 90000, 50000) == 0 && size_of(fd) == 100000);
  EXPECT(fallocate(fd, FALLOC_FL_ZERO_RANGE, 90000, 50000) == 0 && size_of(fd) == 140000);
}
CASE(seek_data, "SEEK_DATA and SEEK_HOLE tell data from holes, at once after the write") {
  const Fd fd("f", O_RDWR | O_CREAT);
  const std::string text = pattern(4, 65536);
  REQUIRE(ftruncate(fd, 8 << 20) == 0 && pwrite(fd, text.data(), text.size(), 1 << 20) == 65536);
  const off_t data = lseek(fd, 0, SEEK_DATA);
  EXPECT(data > 0 && data <= 1 << 20);
  EXPECT_EQUAL(lseek(fd, 0, SEEK_HOLE), 0);
  const off_t hole = lseek(fd, 1 << 20, SEEK_HOLE);
  EXPECT(hole >= (1 << 20) + 65536 && hole < 8 << 20);
  EXPECT_ERRNO(lseek(fd, hole, SEEK_DATA), ENXIO);
  EXPECT_EQUAL(lseek(fd, hole, SEEK_HOLE), hole);
  EXPECT_ERRNO(lseek(fd, 8 << 20, SEEK_DATA), ENXIO);
  EXPECT_ERRNO(lseek(fd, 8 << 20, SEEK_HOLE), ENXIO);
  const Fd dense("dense", O_RDWR | O_CREAT);
  REQUIRE(write(dense, text.data(), 10000) == 10000);
  EXPECT_EQUAL(lseek(dense, 0, SEEK_DATA), 0);
  EXPECT_EQUAL(lseek(dense, 0, SEEK_HOLE), 10000);
}
CASE(space_returns, "space of removed and cut files comes back") {
  struct statvfs before{}, during{}, after{};
  const Fd dir(".", O_RDONLY | O_DIRECTORY);
  REQUIRE(syncfs(dir) == 0 && statvfs(".", &before) == 0);
  EXPECT_EQUAL(before.f_namemax, 255U);
  EXPECT(before.f_blocks > 0 && before.f_bfree <= before.f_blocks && before.f_bavail <= before.f_bfree);
  {
    const Fd fd("f", O_RDWR | O_CREAT);
    const std::string text = pattern(9, 16 << 20);
    REQUIRE(write(fd, text.data(), text.size()) == 16 << 20 && fsync(fd) == 0 && statvfs(".", &during) == 0);
    const auto taken = (before.f_bfree - during.f_bfree) * before.f_frsize;
    EXPECT(taken >= (16 << 20) - (1 << 20) && taken <= (24 << 20));
    EXPECT(unlink("f") == 0 && statvfs(".", &during) == 0);
    EXPECT((before.f_bfree - during.f_bfree) * before.f_frsize >= 15 << 20);
  }
  bool returned = false;
  for (int i = 0; i < 100 && !returned; ++i) {
    syncfs(dir);
    EXPECT(statvfs(".", &after) == 0);
    returned = after.f_bfree + (1 << 20) / before.f_frsize >= before.f_bfree;
    if (!returned) usleep(100000);
  }
  EXPECT(returned);
}
CASE(trim, "FITRIM is answered") {
  need_root();
  fstrim_range range{0, ~0ULL, 0};
  const Fd dir(".", O_RDONLY | O_DIRECTORY);
  EXPECT(ioctl(dir, FITRIM, &range) == 0);
  range = {1 << 20, 16 << 20, 4096};
  EXPECT(ioctl(dir, FITRIM, &range) == 0 && range.len <= 17 << 20);
  as_user(kUser, {}, [&] { EXPECT_ERRNO(ioctl(dir, FITRIM, &range), EPERM); });
}

int main(int argc, char** argv) { return run_all(argc, argv); }
