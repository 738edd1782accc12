// tests/fs/fault_threads_test.cc - threads at work on a slow disk that begins to fail, the volume's own fibers among them: all
// come back, and what fsync answered for is there after a crash.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "tests/fs/check/check_fixture.h"
#include "tests/fs/fault_world.h"
#include "tests/support/log_lines.h"

namespace weft::fs::test {
namespace {

constexpr int kThreads = 4;

struct Acknowledged {
  std::mutex mutex;
  std::vector<std::pair<std::string, std::string>> files;  // name and content
};

void work(FileSystem& fs, int who, Acknowledged& acknowledged) {
  for (int i = 0; i < 40; ++i) {
    const std::string name = std::string(1, static_cast<char>('a' + who)) + std::to_string(i);
    const auto file = fs.make_node({}, kRootInode, name, {.mode = S_IFREG | 0600});
    if (!file) return;
    const std::string content(static_cast<std::size_t>(1 + i * 501), static_cast<char>('a' + who));
    const bool written = fs.write(file->inode, 0, to_bytes(content), false).has_value();
    if (i % 4 == 3) {
      static_cast<void>(fs.unlink({}, kRootInode, name));
      static_cast<void>(fs.sync());
    } else if (written && fs.fsync(file->inode, i % 2 == 0)) {
      const std::lock_guard guard(acknowledged.mutex);
      acknowledged.files.emplace_back(name, content);
    }
    fs.forget(file->inode, 1);
  }
}

void run(BlockOp op, std::uint64_t times, std::uint64_t seed) {
  SCOPED_TRACE("WEFT_TEST_SEED=" + std::to_string(seed));
  const weft::test::LogLines quiet;
  StepClock clock;
  std::atomic<std::uint64_t> turn = 0;
  SimDisk disk(16 * kMiB, {.seed = seed, .before = [&](std::span<const BlockIo>) {
                             if (++turn % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(turn % 7 * 30));
                           }});
  MakeVolumeOptions how;
  how.log_bytes = std::uint64_t{kMinLogBlocks} * kBlockBytes;
  ASSERT_OK(make_volume(disk, how, 0, 0));
  FileSystemOptions options = fault_options(clock);
  options.volume.background = true;
  options.volume.commit_interval_ms = 2;
  Acknowledged acknowledged;
  {
    const auto fs = FileSystem::mount(disk, options);
    ASSERT_OK(fs);
    disk.inject({.op = op, .kind = SimDisk::FaultKind::kError, .skip = 5 + seed % 60, .times = times});
    std::vector<std::thread> threads;
    for (int who = 0; who < kThreads; ++who) threads.emplace_back([&, who] { work(**fs, who, acknowledged); });
    for (std::thread& thread : threads) thread.join();
    const bool failed = (*fs)->volume().failure().has_value();
    const bool ended = (*fs)->unmount().has_value();
    EXPECT_FALSE(failed && ended);
  }
  disk.clear_faults();
  disk.crash();
  EXPECT_EQ(problems_after_repair(disk), "");
  const auto fs = FileSystem::mount(disk, fault_options(clock));
  ASSERT_OK(fs);
  for (const auto& [name, content] : acknowledged.files) {
    const auto found = (*fs)->lookup(kRootInode, name);
    ASSERT_TRUE(found.has_value()) << name << " was acknowledged: " << found.error().message();
    std::vector<std::byte> bytes(content.size() + 1);
    const auto got = (*fs)->read(found->inode, 0, bytes);
    ASSERT_OK(got);
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(bytes.data()), *got), content) << name;
    (*fs)->forget(found->inode, 1);
  }
  EXPECT_OK((*fs)->unmount());
}

void sweep(BlockOp op, std::uint64_t times) {
  const std::uint64_t seeds = fault_stride(10) == 1 ? 40 : 3;
  for (std::uint64_t seed = fault_seed(); seed < fault_seed() + seeds && !testing::Test::HasFailure(); ++seed)
    run(op, times, seed * 17);
}

TEST(FaultThreads, OnADiskWhoseFlushFailsOnceLoseNothingAcknowledged) { sweep(BlockOp::kFlush, 1); }
TEST(FaultThreads, OnADiskWhoseFlushesFailLoseNothingAcknowledged) { sweep(BlockOp::kFlush, SimDisk::kForEver); }
TEST(FaultThreads, OnADiskThatFailsAWriteLoseNothingAcknowledged) { sweep(BlockOp::kWrite, 1); }
TEST(FaultThreads, OnADiskThatTakesNoMoreWritesLoseNothingAcknowledged) { sweep(BlockOp::kWrite, SimDisk::kForEver); }
TEST(FaultThreads, OnADiskThatCannotBeReadLoseNothingAcknowledged) { sweep(BlockOp::kRead, SimDisk::kForEver); }

}  // namespace
}  // namespace weft::fs::test
