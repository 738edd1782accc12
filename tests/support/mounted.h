// tests/support/mounted.h - a small file system on a simulated disk, mounted without fibers of its own, for unit tests.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/file_system.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/support/tree_twins.h"

namespace weft::fs::test {

// Goes on by a millisecond with every look, so that times tell changes apart.
class StepClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override {
    return std::chrono::milliseconds(++ticks_);
  }
  [[nodiscard]] Timespec wall() const noexcept override {
    const std::uint64_t now = ++ticks_;
    return {.seconds = 1'700'000'000 + static_cast<std::int64_t>(now / 1000),
            .nanoseconds = static_cast<std::uint32_t>(now % 1000 * 1'000'000)};
  }
  void advance(std::uint64_t seconds) { ticks_ += seconds * 1000; }

 private:
  mutable std::atomic<std::uint64_t> ticks_ = 0;
};

inline const Caller kRoot{};
inline constexpr InodeNo kTop = kRootInode;

inline std::vector<std::byte> to_bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

#define ASSERT_OK(expression)                                            \
  do {                                                                   \
    const auto& assert_ok_ = (expression);                               \
    ASSERT_TRUE(assert_ok_.has_value()) << assert_ok_.error().message(); \
  } while (false)
#define EXPECT_OK(expression)                                            \
  do {                                                                   \
    const auto& expect_ok_ = (expression);                               \
    EXPECT_TRUE(expect_ok_.has_value()) << expect_ok_.error().message(); \
  } while (false)

class Mounted {
 public:
  explicit Mounted(std::uint64_t size_bytes = 32 * kMiB) : disk(size_bytes, {}) {
    Status made = make_volume(disk, {.label = "test", .log_bytes = 0, .clock = &clock}, 0, 0);
    EXPECT_TRUE(made.has_value()) << made.error().message();
    mount();
  }

  // What a disk holds, for a look at it.
  explicit Mounted(DiskImage image) : disk(std::move(image), {}) { mount(); }

  void mount() {
    FileSystemOptions options;
    options.volume.background = false;
    options.volume.clock = &clock;
    auto mounted = FileSystem::mount(disk, options);
    ASSERT_TRUE(mounted.has_value()) << mounted.error().message();
    fs = std::move(*mounted);
  }
  // Drops everything that was in memory, and of the disk's unflushed writes any part.
  void crash() {
    fs.reset();
    disk.crash();
    mount();
  }
  void remount() {
    Status status = fs->unmount();
    EXPECT_TRUE(status.has_value()) << status.error().message();
    fs.reset();
    mount();
  }

  FileSystem* operator->() const { return fs.get(); }

  // A file's number, its reference given back at once.
  InodeNo find(InodeNo parent, std::string_view name) {
    auto got = fs->lookup(parent, name);
    if (!got) return InodeNo{};
    fs->forget(got->inode, 1);
    return got->inode;
  }
  // Creates and forgets: what stays is the name.
  InodeNo file(InodeNo parent, std::string_view name, std::uint32_t mode = 0100644) {
    return keep(fs->make_node(kRoot, parent, name, {.mode = mode}));
  }
  InodeNo directory(InodeNo parent, std::string_view name, std::uint32_t mode = 0755) {
    return keep(fs->make_directory(kRoot, parent, name, mode));
  }
  void write(InodeNo file, std::uint64_t offset, std::string_view text) {
    const auto got = fs->write(file, offset, to_bytes(text), false);
    ASSERT_TRUE(got.has_value()) << got.error().message();
    ASSERT_EQ(*got, text.size());
  }
  std::string read(InodeNo file, std::uint64_t offset = 0, std::size_t limit = 1 << 20) {
    std::vector<std::byte> buffer(limit);
    const auto got = fs->read(file, offset, buffer);
    EXPECT_TRUE(got.has_value()) << got.error().message();
    return got ? std::string(reinterpret_cast<const char*>(buffer.data()), *got) : std::string();
  }
  std::vector<std::string> list(InodeNo directory) {
    std::vector<std::string> out;
    const Status status = fs->read_directory(directory, 0, false, [&](const DirectoryEntry& entry) {
      out.emplace_back(entry.name);
      return true;
    });
    EXPECT_TRUE(status.has_value());
    return out;
  }
  Attributes attributes(InodeNo inode) {
    const auto got = fs->attributes(inode);
    EXPECT_TRUE(got.has_value()) << got.error().message();
    return got.value_or(Attributes{});
  }

  StepClock clock;
  SimDisk disk;
  std::unique_ptr<FileSystem> fs;

 private:
  InodeNo keep(const Result<Attributes>& made) {
    EXPECT_TRUE(made.has_value()) << made.error().message();
    if (!made) return InodeNo{};
    fs->forget(made->inode, 1);
    return made->inode;
  }
};

}  // namespace weft::fs::test
