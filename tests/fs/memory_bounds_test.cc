// What grows between checkpoints and flushes is bounded: who would make it grow more, waits. A gate holds the device back until the
// bound is broken, or for a while; what the bound holds back cannot break it in that time.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "fs/layout.h"
#include "kernel/memory_disk.h"
#include "kernel/metrics.h"
#include "kernel/random.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"
#include "tests/fs/log_fixture.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

// Until `broken`, or for a while.
void hold_until(const std::function<bool()>& broken) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  while (!broken() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

TEST(MemoryBounds, WhoeverCommitsWaitsForTheCheckpointBeforeNodesFillMoreThanTheirShare) {
  constexpr std::uint64_t kCacheBytes = 2 * kMiB;
  constexpr std::uint64_t kKeys = 30'000;
  constexpr std::size_t kValueBytes = 400;  // 12 MiB of leaves
  std::atomic<std::uint64_t> commits{0};
  std::atomic<bool> armed{false};
  std::uint64_t data_start_bytes = 0;
  SimDisk::Options gate;
  gate.before = [&](std::span<const BlockIo> requests) {
    const bool nodes = requests[0].op == BlockOp::kWrite && requests[0].offset_bytes >= data_start_bytes;
    if (nodes && armed.exchange(false)) hold_until([&] { return commits > 3000; });
  };
  SimDisk disk(256 * kMiB, gate);
  ASSERT_TRUE(make_fixed_volume(disk, 32 * kMiB));
  data_start_bytes = Layout(superblock_of(disk)).data_start().value() * kBlockBytes;
  Metrics metrics;
  VolumeOptions options = quiet();
  options.background = true;
  options.cache_bytes = kCacheBytes;
  options.metrics = &metrics;
  const auto volume = open(disk, options);
  Random random(3);
  const std::vector<std::byte> value(kValueBytes);
  const auto put = [&](std::uint64_t number) {
    auto transaction = volume->begin(Intent::kSetXattr, InodeNo(2), {.changes = 1, .value_bytes = kValueBytes});
    ASSERT_OK(transaction);
    transaction->put(test_key(number), value);
    ASSERT_OK(volume->commit(std::move(*transaction)));
  };
  for (std::uint64_t i = 0; i < kKeys; ++i) put(i);
  ASSERT_OK(volume->checkpoint());

  armed = true;
  Gauge& bytes = metrics.gauge("fs.node_cache.bytes", "");
  std::int64_t most = 0;
  for (; commits < 6000; ++commits) {
    put(random.below(kKeys));
    most = std::max(most, bytes.value());
  }
  EXPECT_FALSE(armed) << "no checkpoint came by";
  EXPECT_LE(most, static_cast<std::int64_t>(kCacheBytes + 64 * kBlockBytes));
  EXPECT_TRUE(volume->close());
}

TEST(MemoryBounds, WhoeverReservesWaitsForTheLogsLeaderBeforeTooMuchIsPending) {
  constexpr std::uint64_t kMostPending = 4 * kMiB;  // a quarter of what JournalConfig has
  constexpr std::uint64_t kTransactionBytes = 64 * kKiB;
  std::atomic<bool> held{false};
  std::atomic<std::uint64_t> appended{0};
  std::uint64_t while_held = 0;
  std::atomic<bool> armed{false};
  SimDisk::Options options;
  options.before = [&](std::span<const BlockIo> requests) {
    if (requests[0].op != BlockOp::kWrite || !armed.exchange(false)) return;
    held = true;
    hold_until([&] { return appended > 2 * kMostPending; });
    while_held = appended;
  };
  SimDisk disk(128 * kMiB, options);
  Log log(disk, 32 * kMiB);
  const Lsn first = log.commit(raw_put(20, 100));
  armed = true;
  std::thread leader([&] { EXPECT_TRUE(log.journal->make_durable(first)); });
  while (!held) std::this_thread::yield();
  Lsn last;
  for (; appended < 3 * kMostPending; appended += kTransactionBytes) {
    last = log.commit(raw_put(21, kTransactionBytes - 1000));
  }
  leader.join();
  EXPECT_LE(while_held, kMostPending + 2 * kTransactionBytes);
  EXPECT_TRUE(log.journal->make_durable(last));
}

TEST(MemoryBounds, WhoeverUnlinksWaitsForTheReclaimerBeforeVeryManyInodesAreDead) {
  constexpr int kFiles = 1800;
  constexpr int kXattrs = 36;  // reclaiming one takes longer than unlinking it
  constexpr std::int64_t kMostCached = 1024 + 128 + 16;
  Metrics metrics;
  MemoryDisk disk(256 * kMiB);
  ASSERT_OK(make_volume(disk, {}, 0, 0));
  FileSystemOptions options;
  options.inode_cache = 128;
  options.volume.metrics = &metrics;
  auto mounted = FileSystem::mount(disk, options);
  ASSERT_OK(mounted);
  FileSystem& fs = **mounted;
  for (int i = 0; i < kFiles; ++i) {
    const auto made = fs.make_node(kRoot, kTop, std::to_string(i), {.mode = 0100644});
    ASSERT_OK(made);
    for (int x = 0; x < kXattrs; ++x) {
      ASSERT_OK(fs.set_xattr(kRoot, made->inode, "user." + std::to_string(x), to_bytes("v"),
                             FileSystem::XattrMode::kEither, false));
    }
    fs.forget(made->inode, 1);
  }
  Gauge& cached = metrics.gauge("fs.inodes.cached", "");
  std::int64_t most = 0;
  for (int i = 0; i < kFiles; ++i) {
    ASSERT_OK(fs.unlink(kRoot, kTop, std::to_string(i)));
    most = std::max(most, cached.value());
  }
  EXPECT_LE(most, kMostCached);
  ASSERT_OK(fs.unmount());
}

}  // namespace
}  // namespace weft::fs::test
