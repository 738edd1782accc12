#include "sched/offload.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(Blocking, TheWorkerGoesOnWhileACallBlocks) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    std::atomic<bool> release{false};
    Fiber caller = spawn("caller", [&] {
      EXPECT_EQ(blocking([&] {
                  while (!release) std::this_thread::sleep_for(100us);
                  return 7;
                }),
                7);
    });
    yield();
    release = true;  // reached only if the one worker is not blocked
    caller.join();
  });
}

TEST(Blocking, ManyCallsAtOnceAllEnd) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<int> ran{0};
  runtime->block_on([&] {
    std::vector<Fiber> fibers;
    for (int i = 0; i < 200; ++i) fibers.push_back(spawn("caller", [&] { blocking([&] { ++ran; }); }));
    for (auto& fiber : fibers) fiber.join();
  });
  EXPECT_EQ(ran, 200);
}

TEST(Blocking, OnAPlainThreadTheCallIsMadeInPlace) {
  const auto here = std::this_thread::get_id();
  EXPECT_EQ(blocking([] { return std::this_thread::get_id(); }), here);
}

}  // namespace
}  // namespace weft::sched
