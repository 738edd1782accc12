#include "mem/size_class.h"

#include <gtest/gtest.h>

namespace weft::mem {
namespace {

TEST(SizeClass, IsTheSmallestThatHoldsTheSize) {
  for (std::size_t size = 0; size <= kMaxSmall; ++size) {
    const unsigned c = class_of(size);
    ASSERT_LT(c, kClasses);
    ASSERT_GE(kClassBytes[c], size);
    if (c > 0) {
      ASSERT_LT(kClassBytes[c - 1], std::max<std::size_t>(size, 1)) << size;
    }
  }
}

TEST(SizeClass, WastesAtMostAnEighth) {
  for (std::size_t size = 129; size <= kMaxSmall; ++size) {
    const std::size_t waste = kClassBytes[class_of(size)] - size;
    ASSERT_LE(waste * 8, kClassBytes[class_of(size)]) << size;
  }
}

TEST(SizeClass, AlignedClassesAreAlignedAndNotLargerThanNeeded) {
  for (std::size_t align = 16; align <= kUnitBytes; align *= 2) {
    for (std::size_t size = 0; size <= kMaxSmall; size += 13) {
      const unsigned c = aligned_class(size, align);
      if (c == kClasses) {
        ASSERT_GT(size + align, kMaxSmall);
        continue;
      }
      ASSERT_EQ(kClassBytes[c] % align, 0U);
      ASSERT_GE(kClassBytes[c], size);
      ASSERT_LE(kClassBytes[c], 2 * std::max(size, align)) << size << " aligned to " << align;
    }
  }
}

TEST(SizeClass, SlabsHoldFourBlocksAtLeastOrAsManyAsFit) {
  for (unsigned c = 0; c < kClasses; ++c) {
    const std::size_t blocks = slab_units(c) * kUnitBytes / kClassBytes[c];
    ASSERT_GE(blocks, std::min(std::size_t{4}, 8 * kUnitBytes / kClassBytes[c])) << kClassBytes[c];
    ASSERT_LT(slab_units(c) * kUnitBytes - blocks * kClassBytes[c], slab_units(c) * kUnitBytes / 4) << kClassBytes[c];
    // The count of a slab's blocks fits into 16 bits even where slabs have grown to eight units.
    ASSERT_LE(8 * kUnitBytes / kClassBytes[c], 65535U);
  }
}

}  // namespace
}  // namespace weft::mem
