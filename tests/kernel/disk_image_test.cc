#include "kernel/disk_image.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "kernel/random.h"
#include "kernel/units.h"

namespace weft {
namespace {

std::vector<std::byte> bytes_of(std::size_t count, int value) {
  return std::vector(count, static_cast<std::byte>(value));
}

std::vector<std::byte> read(const DiskImage& image, std::uint64_t offset, std::size_t count) {
  std::vector<std::byte> back(count, std::byte{0xee});
  image.read(offset, back);
  return back;
}

TEST(DiskImage, WhatWasNeverWrittenIsZeros) {
  const DiskImage image(1 * kMiB);
  EXPECT_EQ(read(image, 4000, 9000), bytes_of(9000, 0));
  EXPECT_TRUE(image.chunks().empty());
  EXPECT_EQ(image.hash(), 0U);
}

TEST(DiskImage, DiskOfManyTebibytesTakesWritesAtBothEnds) {
  DiskImage image(64 * kTiB);
  image.write(0, bytes_of(512, 1));
  image.write(64 * kTiB - 512, bytes_of(512, 2));
  EXPECT_EQ(read(image, 64 * kTiB - 512, 512), bytes_of(512, 2));
  EXPECT_EQ(image.chunks(), (std::vector<std::uint64_t>{0, 64 * kTiB - 4096}));
  image.discard(0, 64 * kTiB);
  EXPECT_TRUE(image.chunks().empty());
}

TEST(DiskImage, CopyKeepsTheContentOfItsMoment) {
  DiskImage image(10 * kMiB);
  image.write(5000, bytes_of(10000, 1));
  const DiskImage before = image;
  image.write(6000, bytes_of(100, 2));
  DiskImage third = image;
  third.discard(0, 10 * kMiB);
  EXPECT_EQ(read(before, 6000, 100), bytes_of(100, 1));
  EXPECT_EQ(read(image, 6000, 100), bytes_of(100, 2));
  EXPECT_EQ(read(third, 6000, 100), bytes_of(100, 0));
}

TEST(DiskImage, EqualContentHasEqualHashWhateverTheWay) {
  DiskImage a(10 * kMiB);
  DiskImage b(10 * kMiB);
  a.write(4096, bytes_of(8192, 7));
  b.write(8192, bytes_of(4096, 7));
  b.write(1 * kMiB, bytes_of(4096, 9));
  EXPECT_NE(a.hash(), b.hash());
  b.write(4096, bytes_of(4096, 7));
  b.write(1 * kMiB, bytes_of(4096, 0));  // zeros are as good as nothing
  EXPECT_EQ(a.hash(), b.hash());
  DiskImage moved(10 * kMiB);
  moved.write(16384, bytes_of(8192, 7));
  EXPECT_NE(a.hash(), moved.hash());
}

TEST(DiskImage, BehavesAsAPlainArrayThroughRandomWritesDiscardsAndCopies) {
  const std::uint64_t seed = 20240;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  constexpr std::size_t kSize = 600 * 1024;
  DiskImage image(kSize);
  std::vector<std::byte> model(kSize);
  std::vector<std::pair<DiskImage, std::vector<std::byte>>> copies;
  for (int step = 0; step < 600; ++step) {
    const std::uint64_t offset = random.below(kSize);
    const std::uint64_t length =
        random.below(std::min<std::uint64_t>(kSize - offset, random.one_in(5) ? kSize : 9000) + 1);
    if (random.one_in(4)) {
      image.discard(offset, length);
      std::memset(model.data() + offset, 0, length);
    } else {
      std::vector<std::byte> data(length);
      random.fill(data);
      image.write(offset, data);
      std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    if (random.one_in(60)) copies.emplace_back(image, model);
    if (random.one_in(20)) {
      ASSERT_EQ(read(image, 0, kSize), model) << "step " << step;
    }
  }
  for (const auto& [copy, content] : copies) {
    EXPECT_EQ(read(copy, 0, kSize), content);
    DiskImage fresh(kSize);
    fresh.write(0, content);
    EXPECT_EQ(copy.hash(), fresh.hash());
  }
}

}  // namespace
}  // namespace weft
