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

TEST_F(Canary, AClearedBlockIsZeroWhereItBeginsAndWhereItEndsAndNowhereElse) {
  for (std::size_t size = 16; size <= 2048; ++size) {
    std::memset(room_.data(), 0x61, room_.size());
    canary::clear(block(), size);
    ASSERT_TRUE(canary::is_clear(block(), size)) << size;
    for (std::size_t at = 0; at < size; ++at) {
      ASSERT_EQ(block()[at] == std::byte{0}, at < 64 || at >= size - 16) << size << " " << at;
    }
    ASSERT_EQ(block()[-1], std::byte{0x61});
    ASSERT_EQ(block()[size], std::byte{0x61});
  }
}

TEST_F(Canary, AWriteIntoTheFirst64BytesOrTheLast16OfAClearedBlockIsSeen) {
  for (const std::size_t size : {16U, 17U, 40U, 64U, 65U, 100U, 2000U}) {
    for (std::size_t at = 0; at < size; ++at) {
      canary::clear(block(), size);
      block()[at] = std::byte{0x78};
      ASSERT_EQ(canary::is_clear(block(), size), at >= 64 && at < size - 16) << size << " " << at;
    }
  }
}

}  // namespace
}  // namespace weft::mem
