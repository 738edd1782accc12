// Random calls of every function, mixed, beside a model that knows what each block must hold.
#include <gtest/gtest.h>

#include <cstdio>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

class Model {
 public:
  explicit Model(std::uint64_t seed) : random_(seed) {}

  void step() {
    const std::uint64_t dice = random_.below(100);
    if (blocks_.empty() || dice < 40) {
      allocate_one();
    } else if (dice < 60) {
      resize_one(random_.below(blocks_.size()));
    } else if (dice < 97) {
      release_one(random_.below(blocks_.size()));
    } else if (dice < 99) {
      // Many at once, so that slabs and runs empty.
      for (std::size_t n = random_.below(blocks_.size() + 1); n > 0; --n) release_one(random_.below(blocks_.size()));
    } else {
      random_.one_in(2) ? heap_idle(random_.below(8) << 20) : trim(random_.below(8) << 20);
    }
  }
  void check_all() const {
    for (const Block& block : blocks_) ASSERT_TRUE(test::is_filled(block.at, block.size, block.mark)) << block.size;
  }
  void release_all() {
    while (!blocks_.empty()) release_one(blocks_.size() - 1);
  }

 private:
  struct Block {
    void* at;
    std::size_t size;
    std::uint64_t mark;
  };

  // Most are small, some are pages, a few are megabytes.
  std::size_t a_size() {
    const std::uint64_t dice = random_.below(1000);
    if (dice < 700) return random_.below(300);
    if (dice < 900) return random_.below(5000);
    if (dice < 985) return random_.below(70000);
    return random_.below(3000000);
  }

  void allocate_one() {
    const std::size_t size = a_size();
    void* at = nullptr;
    switch (random_.below(4)) {
      case 0: {
        at = allocate_zeroed(1, size);
        ASSERT_NE(at, nullptr);
        for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(static_cast<unsigned char*>(at)[i], 0);
        break;
      }
      case 1: {
        const std::size_t align = std::size_t{1} << random_.below(18);
        at = allocate_aligned(align, size);
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(at) % align, 0U);
        break;
      }
      case 2: at = reallocate(nullptr, size); break;
      default: at = allocate(size); break;
    }
    ASSERT_NE(at, nullptr);
    keep(at, size);
  }

  void keep(void* at, std::size_t size) {
    ASSERT_GE(usable_size(at), size);
    blocks_.push_back({.at = at, .size = size, .mark = ++marks_});
    test::fill(at, size, marks_);
  }

  void resize_one(std::size_t index) {
    const Block block = blocks_[index];
    const std::size_t size = 1 + (random_.one_in(2) ? a_size() : block.size + random_.below(block.size + 100));
    void* moved = reallocate(block.at, size);
    ASSERT_NE(moved, nullptr);
    ASSERT_TRUE(test::is_filled(moved, std::min(size, block.size), block.mark)) << block.size << " to " << size;
    blocks_[index] = blocks_.back();
    blocks_.pop_back();
    keep(moved, size);
  }

  void release_one(std::size_t index) {
    const Block block = blocks_[index];
    ASSERT_TRUE(test::is_filled(block.at, block.size, block.mark)) << block.size;
    release(block.at);
    blocks_[index] = blocks_.back();
    blocks_.pop_back();
  }

  Random random_;
  std::vector<Block> blocks_;
  std::uint64_t marks_ = 0;
};

// WEFT_HEAP_STEPS turns it up: `make heap-long`.
std::uint64_t steps() {
  const char* asked = std::getenv("WEFT_HEAP_STEPS");  // NOLINT(concurrency-mt-unsafe): before threads
  return asked != nullptr ? std::strtoull(asked, nullptr, 10) : 20000;
}

TEST(HeapModel, EveryFunctionMixedKeepsWhatBlocksHold) {
  const std::uint64_t seed = test::test_seed(20261126);
  std::printf("seed %lu\n", seed);
  Model model(seed);
  const std::uint64_t count = steps();
  for (std::uint64_t i = 0; i < count && !::testing::Test::HasFatalFailure(); ++i) {
    model.step();
    if (i % 1000 == 0) {
      ASSERT_TRUE(test::invariants_hold()) << "after step " << i << " of seed " << seed;
    }
  }
  model.check_all();
  model.release_all();
  EXPECT_TRUE(test::invariants_hold());
}

}  // namespace
}  // namespace weft::mem
