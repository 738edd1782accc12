#include "kernel/block_device.h"

#include <gtest/gtest.h>

#include <vector>

namespace weft {
namespace {

constexpr BlockDevice::Geometry kDisk{.size_bytes = 1 << 20, .alignment_bytes = 4096, .can_discard = true};

struct Request {
  alignas(4096) std::byte memory[8192] = {};
  iovec vector{memory, sizeof memory};
  BlockIo io{BlockOp::kWrite, 4096, sizeof memory, {&vector, 1}};
};

TEST(CheckBlockIo, WhatFitsIsLetThroughUpToTheVeryEnd) {
  Request request;
  EXPECT_TRUE(check_block_io(kDisk, request.io, "disk"));
  request.io.offset_bytes = (1 << 20) - 8192;
  EXPECT_TRUE(check_block_io(kDisk, request.io, "disk"));
  EXPECT_TRUE(check_block_io(kDisk, {BlockOp::kFlush, 0, 0, {}}, "disk"));
  EXPECT_TRUE(check_block_io(kDisk, {BlockOp::kDiscard, 4096, 8192, {}}, "disk"));
}

TEST(CheckBlockIo, MisfitsAreRefusedAndNamed) {
  const auto refused = [](auto edit) {
    Request request;
    edit(request);
    const Status status = check_block_io(kDisk, request.io, "disk.img");
    if (status) return std::string("let through");
    EXPECT_EQ(status.error(), Errc::kInvalid);
    EXPECT_TRUE(status.error().message().starts_with("disk.img: ")) << status.error().message();
    return status.error().message();
  };
  const auto contains = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(contains(refused([](Request& r) { r.io.offset_bytes = 512; }), "not aligned to 4096"));
  EXPECT_TRUE(contains(refused([](Request& r) { r.vector.iov_len = r.io.length_bytes = 4608; }), "not aligned"));
  EXPECT_TRUE(contains(refused([](Request& r) {
                         r.vector = {r.memory + 512, 4096};
                         r.io.length_bytes = 4096;
                       }),
                       "not aligned"));
  EXPECT_TRUE(contains(refused([](Request& r) { r.io.length_bytes = 4096; }), "its vectors hold 8192"));
  EXPECT_TRUE(contains(refused([](Request& r) { r.io.offset_bytes = (1 << 20) - 4096; }), "past the end"));
  EXPECT_TRUE(contains(refused([](Request& r) { r.io.offset_bytes = ~std::uint64_t{4095}; }), "past the end"))
      << "the sum would wrap";
}

TEST(CheckBlockIo, DeviceThatCannotIsNotAsked) {
  Request request;
  BlockDevice::Geometry geometry = kDisk;
  geometry.read_only = true;
  EXPECT_EQ(check_block_io(geometry, request.io, "disk").error(), Errc::kReadOnly);
  EXPECT_EQ(check_block_io(geometry, {BlockOp::kDiscard, 0, 4096, {}}, "disk").error(), Errc::kReadOnly);
  request.io.op = BlockOp::kRead;
  EXPECT_TRUE(check_block_io(geometry, request.io, "disk"));
  geometry = kDisk;
  geometry.can_discard = false;
  EXPECT_EQ(check_block_io(geometry, {BlockOp::kDiscard, 0, 4096, {}}, "disk").error(), Errc::kUnsupported);
}

// Remembers what it was asked.
struct ListeningDisk final : BlockDevice {
  std::vector<BlockIo> asked;
  std::vector<iovec> vectors;
  [[nodiscard]] Geometry geometry() const noexcept override { return kDisk; }
  [[nodiscard]] std::string name() const override { return "listening"; }
  Status run(std::span<const BlockIo> requests) override {
    for (const BlockIo& io : requests) {
      asked.push_back(io);
      vectors.insert(vectors.end(), io.vectors.begin(), io.vectors.end());
    }
    return {};
  }
};

TEST(BlockDevice, SingleRequestsAreBatchesOfOne) {
  ListeningDisk disk;
  std::byte memory[512];
  EXPECT_TRUE(disk.read(1024, memory));
  EXPECT_TRUE(disk.write(2048, memory));
  EXPECT_TRUE(disk.flush());
  EXPECT_TRUE(disk.discard(4096, 8192));
  ASSERT_EQ(disk.asked.size(), 4u);
  const BlockOp ops[] = {BlockOp::kRead, BlockOp::kWrite, BlockOp::kFlush, BlockOp::kDiscard};
  const std::uint64_t offsets[] = {1024, 2048, 0, 4096}, lengths[] = {512, 512, 0, 8192};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(disk.asked[i].op, ops[i]);
    EXPECT_EQ(disk.asked[i].offset_bytes, offsets[i]);
    EXPECT_EQ(disk.asked[i].length_bytes, lengths[i]);
  }
  ASSERT_EQ(disk.vectors.size(), 2u);
  EXPECT_EQ(disk.vectors[0].iov_base, memory);
  EXPECT_EQ(disk.vectors[1].iov_len, 512u);
}

}  // namespace
}  // namespace weft
