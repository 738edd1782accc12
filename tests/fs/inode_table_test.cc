// Who is in memory, seen through a file system with room for few: what leaves comes back as it was.
#include "fs/inode_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "kernel/metrics.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

constexpr std::uint64_t kCache = 128;

struct InodeTableTest : ::testing::Test {
  Metrics metrics;
  StepClock clock;
  SimDisk disk{64 * kMiB, {}};
  std::unique_ptr<FileSystem> fs;
  int others = 0;

  void SetUp() override {
    ASSERT_OK(make_volume(disk, {.label = "test", .log_bytes = 0, .clock = &clock}, 0, 0));
    FileSystemOptions options;
    options.inode_cache = kCache;
    options.volume.background = false;
    options.volume.clock = &clock;
    options.volume.metrics = &metrics;
    auto mounted = FileSystem::mount(disk, options);
    ASSERT_OK(mounted);
    fs = std::move(*mounted);
  }
  std::int64_t gauge(const char* name) { return metrics.gauge(name, "").value(); }
  InodeNo make(const std::string& name) {
    const auto made = fs->make_node(kRoot, kTop, name, {.mode = 0100644});
    EXPECT_OK(made);
    return made ? made->inode : InodeNo{};
  }
  // So many others come after it that an idle inode has left.
  void push_out() {
    for (std::uint64_t i = 0; i < 4 * kCache; ++i) {
      fs->forget(make("other" + std::to_string(others++)), 1);
    }
  }
};

TEST_F(InodeTableTest, AReferenceAloneKeepsNoInodeInMemory) {
  std::vector<InodeNo> files;
  for (int i = 0; i < 3000; ++i) {
    files.push_back(make("f" + std::to_string(i)));
    ASSERT_OK(fs->write(files.back(), 0, to_bytes(std::string(static_cast<std::size_t>(i) + 1, 'x')), false));
    ASSERT_LE(gauge("fs.inodes.cached"), static_cast<std::int64_t>(kCache) + 1) << i;
  }
  EXPECT_EQ(gauge("fs.inodes.referred"), 3000);
  EXPECT_EQ(fs->referred_count(), 3000u);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto attributes = fs->attributes(files[i]);
    ASSERT_OK(attributes);
    ASSERT_EQ(attributes->size_bytes, i + 1);
  }
  EXPECT_LE(gauge("fs.inodes.cached"), static_cast<std::int64_t>(kCache) + 1);
  for (const InodeNo file : files) fs->forget(file, 1);
  EXPECT_EQ(gauge("fs.inodes.referred"), 0);
}

TEST_F(InodeTableTest, AnUnlinkedFileLivesAsLongAsItsReferences) {
  const InodeNo file = make("file");
  ASSERT_OK(fs->by_number(file));  // a second one
  ASSERT_OK(fs->write(file, 0, to_bytes("content"), false));
  push_out();
  ASSERT_OK(fs->unlink(kRoot, kTop, "file"));
  push_out();
  fs->forget(file, 1);
  push_out();
  std::vector<std::byte> buffer(100);
  const auto got = fs->read(file, 0, buffer);
  ASSERT_OK(got);
  EXPECT_EQ(*got, 7u);
  fs->forget(file, 1);
  EXPECT_EQ(code(fs->attributes(file)), Errc::kStale);
  EXPECT_EQ(gauge("fs.inodes.referred"), 0);
}

TEST_F(InodeTableTest, ATimeOfAccessIsWrittenBeforeItsInodeLeaves) {
  std::vector<InodeNo> files;
  std::vector<Timespec> accessed;
  std::vector<std::byte> buffer(10);
  for (std::uint64_t i = 0; i < 4 * kCache; ++i) {
    files.push_back(make("f" + std::to_string(i)));
    ASSERT_OK(fs->write(files.back(), 0, to_bytes("data"), false));
    const Timespec before = fs->attributes(files.back())->accessed;
    ASSERT_OK(fs->read(files.back(), 0, buffer));
    accessed.push_back(fs->attributes(files.back())->accessed);
    ASSERT_GT(accessed.back(), before);
  }
  // All that leave have one to write, and no more than before stay for it.
  EXPECT_LE(gauge("fs.inodes.cached"), static_cast<std::int64_t>(kCache) + 1);
  push_out();
  for (std::size_t i = 0; i < files.size(); ++i) ASSERT_EQ(fs->attributes(files[i])->accessed, accessed[i]) << i;
}

// Where locks are checked (sanitizer builds) this ends the test if an inode is let go of with another's change held.
TEST_F(InodeTableTest, AnyOperationMayMakeAnInodeLeaveThatHasATimeToWrite) {
  std::vector<std::byte> buffer(10);
  for (std::uint64_t i = 0; i < 4 * kCache; ++i) {
    const std::string name = "f" + std::to_string(i);
    const InodeNo file = make(name);
    if (i % 3 == 0) fs->forget(make(name + "more"), 1);  // so that a whiteout pushes a file out now and then
    ASSERT_OK(fs->write(file, 0, to_bytes("data"), false));
    ASSERT_OK(fs->rename(kRoot, kTop, name, kTop, name + "moved", static_cast<std::uint32_t>(RenameFlag::kWhiteout)));
    ASSERT_OK(fs->link(file, kTop, name + "linked"));
    ASSERT_OK(fs->unlink(kRoot, kTop, name + "moved"));
    ASSERT_OK(fs->read(file, 0, buffer));
    fs->forget(file, 2);
  }
  EXPECT_LE(gauge("fs.inodes.cached"), static_cast<std::int64_t>(kCache) + 1);
}

TEST_F(InodeTableTest, AVolumeThatTakesNoWritesGivesTimesOfAccessUp) {
  std::vector<InodeNo> files;
  std::vector<std::byte> buffer(10);
  for (std::uint64_t i = 0; i < 4 * kCache; ++i) {
    files.push_back(make("f" + std::to_string(i)));
    ASSERT_OK(fs->write(files.back(), 0, to_bytes("data"), false));
  }
  push_out();
  for (std::size_t i = 0; i < kCache / 2; ++i) ASSERT_OK(fs->read(files[i], 0, buffer));
  fs->volume().shut_down();
  for (const InodeNo file : files) ASSERT_OK(fs->attributes(file));
  EXPECT_LE(gauge("fs.inodes.cached"), static_cast<std::int64_t>(kCache) + 1);
}

TEST_F(InodeTableTest, IdleReferencesAreToInodesThatHaveLeftMemoryEachInItsTurn) {
  std::set<InodeNo> files;
  for (int i = 0; i < 1000; ++i) files.insert(make("f" + std::to_string(i)));
  std::set<InodeNo> idle;
  std::size_t calls = 0;
  for (; calls < 100; ++calls) {
    const auto some = fs->idle_references(50);
    ASSERT_LE(some.size(), 50u);
    ASSERT_EQ(std::set<InodeNo>(some.begin(), some.end()).size(), some.size());
    const std::size_t before = idle.size();
    idle.insert(some.begin(), some.end());
    if (idle.size() == before) break;
  }
  EXPECT_GE(calls, idle.size() / 50);
  EXPECT_GE(idle.size(), files.size() - kCache);
  EXPECT_LE(idle.size(), files.size() - kCache / 2);
  EXPECT_TRUE(std::includes(files.begin(), files.end(), idle.begin(), idle.end()));
}

}  // namespace
}  // namespace weft::fs::test
