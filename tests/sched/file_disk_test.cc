#include "sched/file_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

constexpr std::uint64_t kSize = 4 << 20;

struct Buffer {
  std::byte* bytes;
  std::size_t size;
  Buffer(std::size_t length, int fill)
      : bytes(static_cast<std::byte*>(std::aligned_alloc(4096, (length + 4095) / 4096 * 4096))), size(length) {
    std::memset(bytes, fill, length);
  }
  ~Buffer() { std::free(bytes); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  [[nodiscard]] std::span<std::byte> span() const { return {bytes, size}; }
};

std::unique_ptr<FileDisk> temporary(bool memory_backed, std::uint64_t file_bytes = kSize) {
  char path[] = "/tmp/weft-file-disk-XXXXXX";
  const int fd = mkstemp(path);
  EXPECT_GE(fd, 0);
  unlink(path);
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(file_bytes)), 0);
  return std::make_unique<FileDisk>(
      FileDisk::Options{.fd = fd,
                        .geometry = {.size_bytes = kSize, .alignment_bytes = 512, .can_discard = true},
                        .name = "disk.img",
                        .memory_backed = memory_backed});
}

void exercise(FileDisk& disk) {
  const Buffer a(4096, 'a');
  const Buffer b(8192, 'b');
  const iovec a_vector{a.bytes, a.size};
  const iovec b_vectors[2] = {{b.bytes, 4096}, {b.bytes + 4096, 4096}};
  const BlockIo writes[] = {{BlockOp::kWrite, 4096, 4096, {&a_vector, 1}}, {BlockOp::kWrite, 65536, 8192, b_vectors}};
  ASSERT_TRUE(disk.run(writes).has_value());
  ASSERT_TRUE(disk.flush().has_value());
  const Buffer in(8192, 0);
  ASSERT_TRUE(disk.read(65536, in.span()).has_value());
  EXPECT_EQ(std::memcmp(in.bytes, b.bytes, 8192), 0);
  ASSERT_TRUE(disk.read(4096, in.span().first(4096)).has_value());
  EXPECT_EQ(std::memcmp(in.bytes, a.bytes, 4096), 0);
  ASSERT_TRUE(disk.discard(4096, 4096).has_value());
  ASSERT_TRUE(disk.read(4096, in.span().first(512)).has_value());
  EXPECT_EQ(in.bytes[0], std::byte{0});
}

TEST(FileDisk, WritesAreReadBackOnAFiber) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  auto disk = temporary(false);
  auto in_memory = temporary(true);
  runtime->block_on([&] {
    exercise(*disk);
    exercise(*in_memory);
  });
}

TEST(FileDisk, WritesAreReadBackOnAPlainThread) { exercise(*temporary(false)); }

TEST(FileDisk, ManyRequestsOfManyFibersAllArrive) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  auto disk = temporary(false);
  runtime->block_on([&] {
    std::vector<Fiber> fibers;
    for (unsigned f = 0; f < 8; ++f) {
      fibers.push_back(spawn("writer", [&, f] {
        constexpr std::size_t kCount = 40;  // more than run() keeps on the stack
        const Buffer out(kCount * 512, static_cast<int>('A' + f));
        std::vector<iovec> vectors(kCount);
        std::vector<BlockIo> writes;
        for (std::size_t i = 0; i < kCount; ++i) {
          vectors[i] = {out.bytes + i * 512, 512};
          writes.push_back({BlockOp::kWrite, (i * 8 + f) * 512, 512, {&vectors[i], 1}});
        }
        ASSERT_TRUE(disk->run(writes).has_value());
        const Buffer in(512, 0);
        for (std::size_t i = 0; i < kCount; ++i) {
          ASSERT_TRUE(disk->read((i * 8 + f) * 512, in.span()).has_value());
          ASSERT_EQ(in.bytes[511], static_cast<std::byte>('A' + f));
        }
      }));
    }
    for (auto& fiber : fibers) fiber.join();
  });
}

TEST(FileDisk, MoreVectorsThanOneCallTakesAreContinued) {
  auto disk = temporary(false);
  constexpr std::size_t kCount = 1500;
  const Buffer out(512, 'v');
  std::vector<iovec> vectors(kCount, iovec{out.bytes, 512});
  const BlockIo write{BlockOp::kWrite, 0, kCount * 512, vectors};
  auto runtime = Runtime::create({.workers = 1});
  runtime->block_on([&] { ASSERT_TRUE(disk->run({&write, 1}).has_value()); });
  const Buffer in(512, 0);
  ASSERT_TRUE(disk->read((kCount - 1) * 512, in.span()).has_value());
  EXPECT_EQ(in.bytes[0], std::byte{'v'});
}

TEST(FileDisk, RefusesWhatTheContractRefuses) {
  auto disk = temporary(false);
  const Buffer buffer(4096, 0);
  EXPECT_EQ(disk->read(100, buffer.span()).error(), Errc::kInvalid);
  EXPECT_EQ(disk->read(kSize, buffer.span()).error(), Errc::kInvalid);
  EXPECT_EQ(disk->write(0, buffer.span().subspan(0, 100)).error(), Errc::kInvalid);
}

TEST(FileDisk, AFileThatWasCutIsAnErrorWithNameAndOffset) {
  auto disk = temporary(false, kSize / 2);
  const Buffer buffer(4096, 0);
  auto read = disk->read(kSize - 4096, buffer.span());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error(), Errc::kIo);
  EXPECT_NE(read.error().message().find("disk.img"), std::string::npos) << read.error().message();
  EXPECT_NE(read.error().message().find(std::to_string(kSize - 4096)), std::string::npos);
}

}  // namespace
}  // namespace weft::sched
