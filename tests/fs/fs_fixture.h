// tests/fs/fs_fixture.h - what the tests of the durable half share: a volume that is the same every time, and raw transactions.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/format.h"
#include "fs/key.h"
#include "fs/superblock.h"
#include "fs/volume.h"
#include "kernel/block_device.h"
#include "kernel/clock.h"
#include "kernel/random.h"

namespace weft::fs::test {

class FixedClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override { return std::chrono::nanoseconds(1); }
  [[nodiscard]] Timespec wall() const noexcept override { return {1'700'000'000, 0}; }
};
inline FixedClock& fixed_clock() {
  static FixedClock clock;
  return clock;
}

inline DiskUuid fixed_uuid() {
  DiskUuid uuid;
  for (unsigned i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<std::uint8_t>(0x10 + i);
  return uuid;
}

inline Status make_fixed_volume(BlockDevice& device, std::uint64_t log_bytes = 0, const std::string& label = "test") {
  SeededEntropy entropy(1);
  MakeVolumeOptions options;
  options.label = label;
  options.uuid = fixed_uuid();
  options.log_bytes = log_bytes;
  options.clock = &fixed_clock();
  options.entropy = &entropy;
  return make_volume(device, options, 0, 0);
}

// A volume that does nothing by itself.
inline VolumeOptions quiet() {
  VolumeOptions options;
  options.background = false;
  options.clock = &fixed_clock();
  return options;
}

inline std::unique_ptr<Volume> open(BlockDevice& device, const VolumeOptions& options = quiet()) {
  auto volume = Volume::open(device, options);
  EXPECT_TRUE(volume) << volume.error().message();
  return volume ? std::move(*volume) : nullptr;
}

inline std::unique_ptr<Volume> make_and_open(BlockDevice& device, std::uint64_t log_bytes = 0) {
  EXPECT_TRUE(make_fixed_volume(device, log_bytes));
  return open(device);
}

template <typename T>
void append_bytes(std::vector<std::byte>& bytes, const T& object) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &object, sizeof(T));
}

struct RawChange {
  ChangeKind kind = ChangeKind::kPut;
  std::uint8_t flags = 0;
  Key key;
  std::vector<std::byte> value;
};

inline std::vector<std::byte> raw_transaction(std::span<const RawChange> changes) {
  std::vector<std::byte> bytes;
  DiskTransaction header{};
  header.changes = static_cast<std::uint16_t>(changes.size());
  append_bytes(bytes, header);
  for (const RawChange& change : changes) {
    DiskChange disk{};
    disk.kind = static_cast<std::uint8_t>(change.kind);
    disk.flags = change.flags;
    disk.value_length = static_cast<std::uint16_t>(change.value.size());
    disk.key.object = change.key.object;
    disk.key.tag = change.key.tag;
    append_bytes(bytes, disk);
    bytes.insert(bytes.end(), change.value.begin(), change.value.end());
  }
  header.length_bytes = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

// Puts `size` bytes, all of them `fill`, at an xattr key of inode `number`.
inline std::vector<std::byte> raw_put(std::uint64_t number, std::size_t size, unsigned fill = 0) {
  RawChange change;
  change.key = Key(InodeNo(number), KeyKind::kXattr, 0);
  change.value.assign(size, std::byte(fill));
  return raw_transaction(std::span(&change, 1));
}

inline Key test_key(std::uint64_t number) { return Key(InodeNo(100 + number), KeyKind::kXattr, 7); }

inline DiskSuperblock superblock_of(BlockDevice& device) { return find_superblock(device).value().superblock; }

}  // namespace weft::fs::test
