// open_device() on real block devices: loop devices of both sector sizes, partitions, protected ones; and on file systems that
// are unlike most. Needs root and loop devices; skips with the reason where they are not to be had.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kernel/open_device.h"
#include "kernel/units.h"

namespace weft {
namespace {

class OpenDeviceOnDisk : public testing::Test {
 protected:
  std::string folder = "/tmp/weft_open_disk_" + std::to_string(getpid());
  std::string file = folder + "/image";
  std::string device;   // /dev/loopN
  std::string why_not;  // there is no device, and why
  std::vector<std::string> mounts;
  int device_fd = -1;

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "not root: no loop devices";
    std::filesystem::create_directories(folder);
  }
  void TearDown() override {
    for (const std::string& where : mounts) umount2(where.c_str(), MNT_DETACH);
    detach();
    std::filesystem::remove_all(folder);
  }
  void make_file(std::uint64_t bytes) const {
    std::ofstream{file};
    std::filesystem::resize_file(file, bytes);
  }
  // False where loop devices cannot be had: why_not says.
  bool attach(std::uint32_t sector_bytes, std::uint32_t flags = 0) {
    const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    const int backing = open(file.c_str(), O_RDWR | O_CLOEXEC);
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(backing);
    config.block_size = sector_bytes;
    config.info.lo_flags = flags;
    why_not = "no loop device";
    for (int attempt = 0; control >= 0 && attempt < 20 && device_fd < 0; ++attempt) {
      const int number = ioctl(control, LOOP_CTL_GET_FREE);
      if (number < 0) break;
      device = "/dev/loop" + std::to_string(number);
      device_fd = open(device.c_str(), O_RDWR | O_CLOEXEC);
      if (device_fd < 0) break;
      if (ioctl(device_fd, LOOP_CONFIGURE, &config) != 0) {  // EBUSY: somebody was faster
        why_not = std::string("loop device: ") + std::strerror(errno);
        const bool again = errno == EBUSY;
        close(device_fd);
        device_fd = -1;
        if (!again) break;
      }
    }
    if (control >= 0) close(control);
    close(backing);
    return device_fd >= 0;
  }
  void detach() {
    if (device_fd < 0) return;
    ioctl(device_fd, LOOP_CLR_FD, 0);
    close(device_fd);
    device_fd = -1;
  }
  bool mount_at(const std::string& source, const std::string& where, const char* type) {
    std::filesystem::create_directories(where);
    if (mount(source.c_str(), where.c_str(), type, 0, nullptr) != 0) return false;
    mounts.push_back(where);
    return true;
  }
};

// What the geometry promises holds: requests of that alignment reach the device.
void expect_direct_io_works(const OpenDevice& opened) {
  const std::size_t size = opened.geometry.alignment_bytes;
  void* memory = std::aligned_alloc(4096, 4096);
  std::memset(memory, 7, 4096);
  EXPECT_EQ(pwrite(opened.fd(), memory, size, static_cast<off_t>(3 * size)), static_cast<ssize_t>(size))
      << std::strerror(errno);
  EXPECT_EQ(pread(opened.fd(), memory, size, static_cast<off_t>(3 * size)), static_cast<ssize_t>(size))
      << std::strerror(errno);
  std::free(memory);
}

TEST_F(OpenDeviceOnDisk, SectorIsTheAlignmentAndTheSizeIsTheDevices) {
  for (const std::uint32_t sector : {512u, 4096u}) {
    make_file(8 * kMiB);
    if (!attach(sector)) GTEST_SKIP() << why_not;
    {
      const auto opened = open_device(device);
      ASSERT_TRUE(opened) << opened.error().message();
      EXPECT_TRUE(opened->is_block_device);
      EXPECT_TRUE(opened->direct);
      EXPECT_FALSE(opened->memory_backed);
      EXPECT_EQ(opened->geometry.alignment_bytes, sector);
      EXPECT_EQ(opened->geometry.size_bytes, 8 * kMiB);
      EXPECT_TRUE(opened->geometry.can_discard) << "the file below can punch holes";
      struct stat facts{};
      ASSERT_EQ(stat(device.c_str(), &facts), 0);
      EXPECT_EQ(opened->device_number, facts.st_rdev);
      expect_direct_io_works(*opened);
    }
    detach();
  }
}

TEST_F(OpenDeviceOnDisk, LinkLeadsToTheDeviceItself) {
  make_file(1 * kMiB);
  if (!attach(512)) GTEST_SKIP() << why_not;
  std::filesystem::create_symlink(device, folder + "/by-label");
  const auto opened = open_device(folder + "/by-label");
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->path, device);
}

TEST_F(OpenDeviceOnDisk, ClaimedDeviceIsRefusedToOthersWhoClaimItAndShownToThoseWhoRead) {
  make_file(1 * kMiB);
  if (!attach(512)) GTEST_SKIP() << why_not;
  {
    const auto first = open_device(device);
    ASSERT_TRUE(first) << first.error().message();
    const auto second = open_device(device);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error(), Errc::kBusy);
    EXPECT_NE(second.error().message().find(device), std::string::npos);
    EXPECT_TRUE(open_device(device, {.read_only = true}));
    EXPECT_TRUE(open_device(device, {.claim = false}));
  }
  EXPECT_TRUE(open_device(device)) << "let go of";
}

TEST_F(OpenDeviceOnDisk, WriteProtectedDeviceIsReadOnlyOrNothing) {
  make_file(1 * kMiB);
  if (!attach(512, LO_FLAGS_READ_ONLY)) GTEST_SKIP() << why_not;
  const auto refused = open_device(device);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Errc::kReadOnly) << refused.error().message();
  const auto opened = open_device(device, {.read_only = true});
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(opened->geometry.read_only);
  EXPECT_FALSE(opened->geometry.can_discard);
}

TEST_F(OpenDeviceOnDisk, DeviceThatGrewOrShrankIsSeenAsItIsNow) {
  make_file(4 * kMiB);
  if (!attach(512)) GTEST_SKIP() << why_not;
  for (const std::uint64_t size : {6 * kMiB, 2 * kMiB}) {
    std::filesystem::resize_file(file, size);
    ASSERT_EQ(ioctl(device_fd, LOOP_SET_CAPACITY, 0), 0);
    const auto opened = open_device(device);
    ASSERT_TRUE(opened) << opened.error().message();
    EXPECT_EQ(opened->geometry.size_bytes, size);
  }
}

TEST_F(OpenDeviceOnDisk, DeviceOfNothingIsRefused) {
  make_file(0);
  if (!attach(512)) GTEST_SKIP() << why_not;
  EXPECT_EQ(open_device(device).error(), Errc::kInvalid);
}

TEST_F(OpenDeviceOnDisk, PartitionIsADeviceOfItsOwnSize) {
  make_file(8 * kMiB);
  {
    // A master boot record with one partition: sectors 2048 to 6143.
    std::vector<unsigned char> record(512);
    record[446 + 4] = 0x83;
    record[446 + 9] = 0x08;   // first sector 2048
    record[446 + 13] = 0x10;  // 4096 sectors
    record[510] = 0x55, record[511] = 0xaa;
    std::ofstream image(file, std::ios::in | std::ios::out | std::ios::binary);
    image.write(reinterpret_cast<const char*>(record.data()), 512);
  }
  if (!attach(512, LO_FLAGS_PARTSCAN)) GTEST_SKIP() << why_not;
  const std::string name = std::filesystem::path(device).filename();
  unsigned major_number = 0, minor_number = 0;
  char colon = 0;
  if (!(std::ifstream("/sys/block/" + name + "/" + name + "p1/dev") >> major_number >> colon >> minor_number))
    GTEST_SKIP() << "the kernel does not look for partitions on loop devices";
  // A node of our own: nobody may be making those in /dev.
  const std::string partition = folder + "/partition";
  ASSERT_EQ(mknod(partition.c_str(), S_IFBLK | 0600, makedev(major_number, minor_number)), 0);
  const auto opened = open_device(partition);
  if (!opened && opened.error() == Errc::kAccessDenied) GTEST_SKIP() << "device nodes under /tmp are not allowed";
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(opened->is_block_device);
  EXPECT_EQ(opened->geometry.size_bytes, 2 * kMiB);
  EXPECT_EQ(opened->geometry.alignment_bytes, 512u);
  EXPECT_TRUE(opened->geometry.can_discard) << "as its disk can";
  expect_direct_io_works(*opened);
  EXPECT_EQ(open_device(device).error(), Errc::kBusy) << "the disk, while a part of it is claimed";
}

TEST_F(OpenDeviceOnDisk, FileOnADiskOfLargeSectorsWantsLargeRequests) {
  make_file(64 * kMiB);
  if (!attach(4096)) GTEST_SKIP() << why_not;
  if (std::system(("mkfs.ext4 -q " + device + " >/dev/null 2>&1").c_str()) != 0) GTEST_SKIP() << "no mkfs.ext4";
  if (!mount_at(device, folder + "/ext4", "ext4")) GTEST_SKIP() << "ext4 cannot be mounted here";
  const std::string path = folder + "/ext4/image";
  std::ofstream(path) << std::string(1 * kMiB, 'x');
  const auto opened = open_device(path);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(opened->direct);
  EXPECT_EQ(opened->geometry.alignment_bytes, 4096u);
  expect_direct_io_works(*opened);
}

TEST_F(OpenDeviceOnDisk, FileSystemWithoutDirectIoIsUsedWithTheCache) {
  if (!mount_at("none", folder + "/ramfs", "ramfs")) GTEST_SKIP() << "ramfs cannot be mounted here";
  const std::string path = folder + "/ramfs/image";
  std::ofstream(path) << std::string(1 * kMiB, 'x');
  const auto opened = open_device(path);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_FALSE(opened->direct);
  EXPECT_TRUE(opened->memory_backed);
  EXPECT_EQ(opened->geometry.alignment_bytes, 512u);
  expect_direct_io_works(*opened);
}

}  // namespace
}  // namespace weft
