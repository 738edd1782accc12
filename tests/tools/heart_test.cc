#include "tools/heart.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>

#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "tools/watched_disk.h"

namespace weft::tools {
namespace {

using namespace std::chrono_literals;

TEST(Heart, BeatsAndGivesUpARequestThatHangs) {
  auto runtime = sched::Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime);
  std::atomic<std::uint64_t> beats{0};
  fs::fuse::RequestAges ages;
  std::promise<void> given_up;
  std::atomic<bool> told{false};
  const fs::fuse::RequestAges::Entry hangs(ages);
  std::optional<Heart> heart;
  runtime->block_on([&] {
    heart.emplace(beats, 40ms, [&] {
      if (!told.exchange(true)) given_up.set_value();
    });
    heart->watch(ages);
  });
  given_up.get_future().wait();
  EXPECT_GE(beats.load(), fs::fuse::RequestAges::kShortest);
  runtime->block_on([&] { heart.reset(); });
}

TEST(Heart, GivesUpADeviceThatDoesNotAnswer) {
  class StuckDisk final : public BlockDevice {
   public:
    explicit StuckDisk(sched::Semaphore& answer) : answer_(answer) {}
    [[nodiscard]] Geometry geometry() const noexcept override { return {}; }
    [[nodiscard]] std::string name() const override { return "stuck"; }
    Status run(std::span<const BlockIo> requests) override {
      if (requests.front().op != BlockOp::kDiscard) return answer_.acquire();
      return {};
    }

   private:
    sched::Semaphore& answer_;
  };
  auto runtime = sched::Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime);
  std::atomic<std::uint64_t> beats{0};
  fs::fuse::RequestAges ages;
  runtime->block_on([&] {
    sched::Semaphore answer(0);
    StuckDisk stuck(answer);
    WatchedDisk disk(stuck, ages);
    Heart heart(beats, 40ms, [&] { answer.release(); });
    heart.watch(ages);
    EXPECT_TRUE(disk.flush());  // returns, because it is noticed
  });
}

TEST(Heart, WithoutALimitDoesNothing) {
  auto runtime = sched::Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime);
  std::atomic<std::uint64_t> beats{0};
  runtime->block_on([&] { const Heart heart(beats, 0ms, [] { FAIL(); }); });
  EXPECT_EQ(beats.load(), 0U);
}

}  // namespace
}  // namespace weft::tools
