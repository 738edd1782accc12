#include "mem/biased_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "mem/system_memory.h"
#include "tests/mem/kernel_barrier.h"

namespace weft::mem {
namespace {

using Use = BiasedLock::Use;

TEST(BiasedLock, AllThreadsPassABarrierWhereTheKernelHasOne) {
  EXPECT_EQ(system::barrier_on_all_threads(), test::kernel_has_barrier());
}

TEST(BiasedLock, AVisitorGoesWhenTheOwnerIsInAndTheOwnerIsNot) {
  if (!test::kernel_has_barrier()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  BiasedLock lock;
  lock.enter(Use::kBlocks);
  EXPECT_FALSE(lock.try_visit());
  {
    const BiasedLock::Guard deeper(lock, Use::kSlabs);
    EXPECT_EQ(lock.use(), Use::kSlabs);
  }
  EXPECT_EQ(lock.use(), Use::kBlocks) << "the outer use goes on";
  lock.leave();
  EXPECT_TRUE(lock.try_visit());
  lock.end_visit();
  const BiasedLock::Guard again(lock, Use::kSlabs);
  EXPECT_FALSE(lock.try_visit());
}

TEST(BiasedLock, OwnerAndVisitorAreNeverInTogether) {
  if (!test::kernel_has_barrier()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  BiasedLock lock;
  // Not atomic: ThreadSanitizer sees who is not kept out, and so does the sum.
  long sum = 0;
  long visits = 0;
  constexpr long kRounds = 300000;
  std::atomic<bool> done{false};
  std::jthread owner([&] {
    for (long i = 0; i < kRounds; ++i) {
      lock.enter(i % 2 == 0 ? Use::kBlocks : Use::kSlabs);
      ++sum;
      lock.leave();
    }
    done = true;
  });
  // The last one finds nobody in.
  for (bool last = false; !last;) {
    last = done;
    if (!lock.try_visit()) continue;
    ++sum;
    ++visits;
    lock.end_visit();
  }
  owner.join();
  EXPECT_GT(visits, 0);
  EXPECT_EQ(sum, kRounds + visits);
}

}  // namespace
}  // namespace weft::mem
