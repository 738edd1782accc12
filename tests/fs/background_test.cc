// tests/fs/background_test.cc - with the volume's and the reclaimer's own fibers at work: threads hammer on one file system, which
// is then unmounted, mounted again, and compared.
#include <gtest/gtest.h>

#include <thread>

#include "kernel/memory_disk.h"
#include "tests/support/mounted.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

Result<std::unique_ptr<FileSystem>> mount(BlockDevice& disk) {
  FileSystemOptions options;
  options.inode_cache = 64;
  options.volume.commit_interval_ms = 5;
  return FileSystem::mount(disk, options);
}

// Creates, writes, renames and unlinks in a directory of its own and in one that all share.
void work(FileSystem& fs, int who) {
  const std::string own = "own" + std::to_string(who);
  const auto directory = fs.make_directory({}, kRootInode, own, 0755);
  ASSERT_OK(directory);
  for (int i = 0; i < 120; ++i) {
    const std::string name = "f" + std::to_string(i);
    const auto file = fs.make_node({}, directory->inode, name, {.mode = 0100644});
    ASSERT_OK(file);
    ASSERT_OK(fs.write(file->inode, 0, to_bytes(std::string(1 + i * 97, static_cast<char>('a' + who))), false));
    if (i % 10 == 0) ASSERT_OK(fs.fsync(file->inode, false));
    if (i % 3 == 0) ASSERT_OK(fs.rename({}, directory->inode, name, kRootInode, own + name, 0));
    if (i % 3 == 1) ASSERT_OK(fs.unlink({}, directory->inode, name));
    const auto collide = fs.rename({}, directory->inode, "f" + std::to_string(i - 1), kRootInode, "shared", 0);
    EXPECT_TRUE(collide || code(collide) == Errc::kNotFound);
    fs.forget(file->inode, 1);
  }
  fs.forget(directory->inode, 1);
}

TEST(Background, ManyThreadsLeaveATreeThatARemountConfirms) {
  MemoryDisk disk(64 * kMiB);
  ASSERT_OK(make_volume(disk, {}, 0, 0));
  auto fs = mount(disk);
  ASSERT_OK(fs);
  std::vector<std::thread> threads;
  for (int who = 0; who < 4; ++who) threads.emplace_back([&, who] { work(**fs, who); });
  for (std::thread& thread : threads) thread.join();
  const auto before = take_snapshot(**fs);
  ASSERT_OK(before);
  ASSERT_OK((*fs)->unmount());
  fs->reset();
  fs = mount(disk);
  ASSERT_OK(fs);
  const auto after = take_snapshot(**fs);
  ASSERT_OK(after);
  EXPECT_EQ(describe(*before), describe(*after));
  EXPECT_EQ((*fs)->volume().space().inode_count, count_inodes(*after));
  ASSERT_OK((*fs)->unmount());
}

}  // namespace
}  // namespace weft::fs::test
