// Writes that are answered before their data is on the device: in force at once, waited for by whoever needs the data there.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fs/data_in_flight.h"
#include "fs/scrub.h"
#include "tests/support/mounted.h"
#include "tests/support/sample_tree.h"

namespace weft::fs::test {
namespace {

using namespace std::chrono_literals;

const std::string kData(8192, 'd');

// Holds back writes of kData until it is opened.
class GateDisk final : public BlockDevice {
 public:
  explicit GateDisk(BlockDevice& under) : under_(under) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return under_.geometry(); }
  [[nodiscard]] std::string name() const override { return under_.name(); }
  Status run(std::span<const BlockIo> requests) override {
    for (const BlockIo& request : requests) {
      std::unique_lock lock(mutex_);
      if (request.op == BlockOp::kFlush && closed_) ++flushes_while_closed_;
      const bool held =
          request.op == BlockOp::kWrite && *static_cast<const char*>(request.vectors[0].iov_base) == kData[0];
      held_ += held;
      changed_.notify_all();
      if (held) changed_.wait(lock, [&] { return !closed_; });
      held_ -= held;
    }
    return under_.run(requests);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  void wait_until_held(std::uint32_t writes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_ >= writes; });
  }
  // How many flushes there were while the gate was closed; gives one that should not come some time to come.
  int open() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 30ms, [&] { return flushes_while_closed_ != 0; });
    closed_ = false;
    changed_.notify_all();
    return flushes_while_closed_;
  }

 private:
  BlockDevice& under_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  std::uint32_t held_ = 0;
  int flushes_while_closed_ = 0;
};

class WriteBehind : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(make_sample_volume(disk_, "behind", clock_));
    auto mounted = mount_sample(gate_, clock_);
    ASSERT_OK(mounted);
    fs_ = std::move(*mounted);
    const auto made = fs_->make_node(kRoot, kTop, "f", {.mode = 0100644});
    ASSERT_OK(made);
    file_ = made->inode;
    gate_.close();
  }
  // Begins a write, and returns when it is in force.
  std::thread start_write(std::uint64_t offset = 0) {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t accepted = 0;
    std::thread writer([&, offset, this] {
      const auto count = fs_->write(file_, offset, to_bytes(kData), false, false, [&](std::size_t how_many) {
        const std::lock_guard lock(mutex);
        accepted = how_many;
        changed.notify_all();
      });
      EXPECT_EQ(count.value_or(0), kData.size());
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return accepted != 0; });
    EXPECT_EQ(accepted, kData.size());
    return writer;
  }

  StepClock clock_;
  SimDisk disk_{32 * kMiB, {}};
  GateDisk gate_{disk_};
  std::unique_ptr<FileSystem> fs_;
  InodeNo file_;
};

TEST_F(WriteBehind, OfVeryManyNoMoreIsAnsweredBeforeItsDataIsThere) {
  std::vector<std::thread> writers;
  for (std::uint64_t i = 0; i < DataInFlight::kMost; ++i) writers.push_back(start_write(i * kData.size()));
  bool answered_early = false;
  std::thread one_more([&] {
    const auto count = fs_->write(file_, DataInFlight::kMost * kData.size(), to_bytes(kData), false, false,
                                  [&](std::size_t) { answered_early = true; });
    EXPECT_EQ(count.value_or(0), kData.size());
  });
  gate_.wait_until_held(DataInFlight::kMost + 1);
  gate_.open();
  one_more.join();
  for (std::thread& writer : writers) writer.join();
  EXPECT_FALSE(answered_early);
  // The next may be again.
  gate_.close();
  std::thread next = start_write();
  gate_.open();
  next.join();
}

TEST_F(WriteBehind, IsInForceAtOnceAndReadableAsSoonAsItsDataIsThere) {
  std::thread writer = start_write();
  EXPECT_EQ(fs_->attributes(file_).value_or(Attributes{}).size_bytes, kData.size());
  std::string got(kData.size(), '\0');
  std::thread reader([&] {
    const auto count = fs_->read(file_, 0, std::as_writable_bytes(std::span(got)));
    EXPECT_EQ(count.value_or(0), got.size());
  });
  gate_.open();
  reader.join();
  writer.join();
  EXPECT_EQ(got, kData);
}

TEST_F(WriteBehind, IsWaitedForByFsyncBeforeItFlushes) {
  std::thread writer = start_write();
  std::thread syncer([&] { EXPECT_OK(fs_->fsync(file_, true)); });
  EXPECT_EQ(gate_.open(), 0) << "flushed without the data";
  syncer.join();
  writer.join();
  fs_.reset();
  disk_.crash();
  auto again = mount_sample(disk_, clock_);
  ASSERT_OK(again);
  std::string got(kData.size(), '\0');
  EXPECT_OK((*again)->read(file_, 0, std::as_writable_bytes(std::span(got))));
  EXPECT_EQ(got, kData);
}

TEST_F(WriteBehind, IsWaitedForByACheckpointBeforeItFlushes) {
  std::thread writer = start_write();
  std::thread checkpoint([&] { EXPECT_OK(fs_->volume().checkpoint()); });
  EXPECT_EQ(gate_.open(), 0) << "flushed without the data";
  checkpoint.join();
  writer.join();
}

TEST_F(WriteBehind, IsNoDamageToAScrubThatComesMeanwhile) {
  std::thread writer = start_write();
  std::thread scrubber([&] {
    std::uint64_t data_blocks = 0;
    for (ScrubStep step; !step.done;) {
      auto next = scrub_step(fs_->volume(), step.next, 64);
      ASSERT_OK(next);
      step = std::move(*next);
      EXPECT_EQ(step.errors, 0u);
      data_blocks += step.data_blocks;
    }
    EXPECT_EQ(data_blocks, kData.size() / kBlockBytes);
  });
  gate_.open();
  scrubber.join();
  writer.join();
}

TEST(WriteBehindFailure, OfDataThatIsInForceTakesTheVolumeReadOnlyAndLosesNothingAcknowledged) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, 0, "before");
  ASSERT_OK(m->fsync(file, false));
  m.disk.inject({.op = BlockOp::kWrite, .kind = SimDisk::FaultKind::kError});
  bool accepted = false;
  EXPECT_EQ(code(m->write(file, 0, to_bytes(kData), false, false, [&](std::size_t) { accepted = true; })), Errc::kIo);
  EXPECT_TRUE(accepted);
  EXPECT_FALSE(m->fsync(file, false));
  EXPECT_FALSE(m->sync());
  EXPECT_TRUE(m->volume().read_only());
  EXPECT_FALSE(m->make_node(kRoot, kTop, "later", {.mode = 0100644}));
  m.crash();
  EXPECT_EQ(m.read(m.find(kTop, "f")), "before");
}

TEST(WriteBehindSync, AFileThatIsAlwaysSyncedIsNotAnsweredEarly) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  ASSERT_OK(m->set_flags(kRoot, file, kInodeSync));
  EXPECT_OK(m->write(file, 0, to_bytes(kData), false, false, [](std::size_t) { FAIL(); }));
  m.crash();
  EXPECT_EQ(m.read(file), kData);
}

TEST(DataInFlight, IsWaitedForAsFarAsItHadBegun) {
  DataInFlight all;
  all.wait_for_begun();
  auto first = std::make_unique<DataInFlight::Write>(all);
  auto second = std::make_unique<DataInFlight::Write>(all);
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    all.wait_for_begun();
    done = true;
  });
  second.reset();
  EXPECT_FALSE(done) << "the first is still under way";
  first.reset();
  waiter.join();
  const DataInFlight::Write later(all);
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace weft::fs::test
