#include "mem/marked_block.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "mem/hardened.h"

namespace weft::mem {
namespace {

// A block with others before and behind it.
class MarkedBlock : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { hardened::on(); }
  void SetUp() override { std::memset(room_.data(), 0x61, room_.size()); }

  std::byte* block() { return room_.data() + 64; }

  alignas(64) std::array<std::byte, 4096> room_{};
};

constexpr unsigned kSomeClass = class_of(2048);

TEST_F(MarkedBlock, IsInUseFreeOrAlignedAndOnlyOneOfThem) {
  EXPECT_FALSE(marked::is_mark(block())) << "other bytes are no mark";
  marked::set_in_use(block());
  EXPECT_TRUE(marked::is_in_use(block()) && marked::is_mark(block()));
  EXPECT_FALSE(marked::is_free(block()) || marked::is_aligned(block()));
  marked::set_free(block());
  EXPECT_TRUE(marked::is_free(block()) && marked::is_mark(block()));
  EXPECT_FALSE(marked::is_in_use(block()) || marked::is_aligned(block()));
  marked::set_aligned(block());
  EXPECT_TRUE(marked::is_aligned(block()) && marked::is_mark(block()));
  EXPECT_FALSE(marked::is_in_use(block()) || marked::is_free(block()));
}

TEST_F(MarkedBlock, AMarkIsThatOfItsBlockAlone) {
  marked::set_in_use(block());
  std::memcpy(block() + 64, block() - marked::kMarkBytes, marked::kMarkBytes);
  EXPECT_FALSE(marked::is_in_use(block() + 64 + marked::kMarkBytes)) << "copied before another";
  for (std::ptrdiff_t at = -16; at <= 16; ++at) {
    if (at != 0) {
      EXPECT_FALSE(marked::is_in_use(block() + at)) << at;
    }
  }
}

TEST_F(MarkedBlock, EachByteOfAMarkCounts) {
  for (std::size_t i = 1; i <= marked::kMarkBytes; ++i) {
    marked::set_in_use(block());
    block()[-static_cast<std::ptrdiff_t>(i)] ^= std::byte{1};
    EXPECT_FALSE(marked::is_in_use(block())) << i;
  }
}

TEST_F(MarkedBlock, AFreePlainBlockIsZeroWhereItBeginsAndWhoWritesThereIsSeen) {
  for (const unsigned size_class : {marked::kLeastClass, marked::kLeastClass + 1, marked::kPlainEnd - 1}) {
    const std::size_t zeros = size_class == marked::kLeastClass ? 8 : 16;
    SetUp();
    marked::retire_plain(block(), size_class);
    EXPECT_EQ(block()[zeros], std::byte{0x61}) << "the least has the next one's mark there";
    EXPECT_EQ(block()[-9], std::byte{0x61});
    for (std::size_t at = 0; at < zeros; ++at) {
      ASSERT_EQ(block()[at], std::byte{0});
      ASSERT_TRUE(marked::plain_is_untouched(block(), size_class));
      block()[at] = std::byte{0x78};
      ASSERT_FALSE(marked::plain_is_untouched(block(), size_class)) << size_class << " " << at;
      block()[at] = std::byte{0};
    }
    marked::set_in_use(block());
    EXPECT_FALSE(marked::plain_is_untouched(block(), size_class));
  }
}

TEST_F(MarkedBlock, ASizedBlockKnowsItsSizeAndItsEnd) {
  for (std::size_t size = 0; size <= marked::sized_room(kSomeClass); ++size) {
    marked::set_size(block(), size);
    marked::write_canary(block() + size);
    ASSERT_EQ(marked::size_of(block()), size);
    ASSERT_TRUE(marked::canary_holds(block() + size));
    for (std::size_t i = 0; i < canary::kBytes; ++i) {
      block()[size + i] ^= std::byte{1};
      ASSERT_FALSE(marked::canary_holds(block() + size)) << size << " " << i;
      block()[size + i] ^= std::byte{1};
    }
    marked::erase_canary(block() + size);
    ASSERT_FALSE(marked::canary_holds(block() + size));
  }
}

TEST_F(MarkedBlock, WhoWritesToAFreeSizedBlockIsSeen) {
  for (const bool full : {false, true}) {
    for (const std::size_t size : {0U, 8U, 16U, 100U, 2000U}) {
      SetUp();
      marked::set_free(block());
      marked::set_size(block(), size);
      marked::clear_sized(block(), size, full);
      ASSERT_TRUE(marked::sized_is_untouched(block(), kSomeClass, full)) << full << " " << size;
      if (size > 0) {
        EXPECT_EQ(block()[size - 1], std::byte{0}) << full << " " << size << ": what was read is gone";
      }
      block()[full && size >= 64 ? 63 : 15] = std::byte{0x78};
      EXPECT_FALSE(marked::sized_is_untouched(block(), kSomeClass, full)) << full << " " << size;
    }
  }
  marked::set_size(block(), 3000);
  marked::set_free(block());
  EXPECT_FALSE(marked::sized_is_untouched(block(), kSomeClass, true)) << "a size that cannot be";
}

}  // namespace
}  // namespace weft::mem
