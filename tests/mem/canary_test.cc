#include "mem/canary.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "mem/hardened.h"

namespace weft::mem {
namespace {

// A block of `bytes` in the middle of others.
class Canary : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { hardened::on(); }

  std::byte* block() { return room_.data() + 64; }
  void use(std::size_t bytes, std::size_t size) {
    std::memset(room_.data(), 0, room_.size());
    canary::write(block() + bytes, bytes - size);
    std::memset(block(), 0x61, size);
  }

  alignas(16) std::array<std::byte, 4096> room_{};
};

constexpr std::array<std::size_t, 6> kBlocks{32, 48, 64, 112, 320, 2048};

TEST_F(Canary, HoldsWhateverTheProgramWritesIntoItsBlock) {
  for (const std::size_t bytes : kBlocks) {
    for (std::size_t slack = 16; slack <= bytes; ++slack) {
      use(bytes, bytes - slack);
      ASSERT_TRUE(canary::holds(block() + bytes, slack)) << bytes << " " << slack;
    }
  }
}

TEST_F(Canary, SeesEachByteOfSixteenBeyondTheEndAndOfTheLast) {
  for (const std::size_t bytes : kBlocks) {
    for (std::size_t slack = 16; slack <= bytes; ++slack) {
      for (std::size_t i = 0; i < 16; ++i) {
        for (std::byte* at : {block() + bytes - slack + i, block() + bytes - 1 - i}) {
          use(bytes, bytes - slack);
          *at ^= std::byte{1};
          ASSERT_FALSE(canary::holds(block() + bytes, slack)) << bytes << " " << slack << " " << i;
        }
      }
    }
  }
}

TEST_F(Canary, AZeroBeyondTheEndIsSeen) {
  use(64, 40);
  block()[40] = std::byte{0};
  EXPECT_FALSE(canary::holds(block() + 64, 24));
}

TEST_F(Canary, AFreedBlockIsZeroWhereItBeginsAndWhereItEnds) {
  for (const std::size_t bytes : kBlocks) {
    for (std::size_t slack = 16; slack <= bytes - 16; ++slack) {
      const std::size_t size = bytes - slack;
      use(bytes, size);
      canary::retire(block(), size);
      ASSERT_TRUE(canary::is_untouched(block(), bytes, slack)) << bytes << " " << slack;
      for (std::size_t at = 0; at < size; ++at) {
        if (at < 64 || at >= size - 16) {
          ASSERT_EQ(block()[at], std::byte{0}) << bytes << " " << slack << " " << at;
        }
      }
    }
  }
}

TEST_F(Canary, AWriteIntoTheFirst64BytesOfAFreedBlockIsSeen) {
  for (const std::size_t bytes : kBlocks) {
    for (std::size_t slack = 16; slack <= bytes - 16; ++slack) {
      for (std::size_t at = 0; at < 64 && at < bytes - slack; ++at) {
        use(bytes, bytes - slack);
        canary::retire(block(), bytes - slack);
        block()[at] = std::byte{0x78};
        ASSERT_FALSE(canary::is_untouched(block(), bytes, slack)) << bytes << " " << slack << " " << at;
      }
    }
  }
}

TEST_F(Canary, AnyMemoryBecomesAFreeBlock) {
  for (const std::size_t bytes : kBlocks) {
    std::memset(room_.data(), 0x55, room_.size());
    canary::make_free(block(), bytes);
    EXPECT_TRUE(canary::is_untouched(block(), bytes, canary::kBytes)) << bytes;
    EXPECT_EQ(block()[-1], std::byte{0x55});
    EXPECT_EQ(block()[bytes], std::byte{0x55});
  }
}

TEST(BlockState, SaysEverySlackThereIs) {
  std::array<BlockState, 4> states{};
  for (std::size_t slack = canary::kBytes; slack < canary::kBytes + 16384; ++slack) {
    set_slack(states[0], slack);
    ASSERT_TRUE(is_in_use(states[0]));
    ASSERT_FALSE(is_in_use(states[1]) || is_in_use(states[2])) << "inside a block no block begins";
    ASSERT_EQ(slack_of(states[0], states[0]), slack);
  }
  EXPECT_EQ(states[3], 0);
  for (const std::uint8_t state : {kNoBlock, kFreed, kInSlab}) EXPECT_FALSE(is_in_use(state));
}

}  // namespace
}  // namespace weft::mem
