// Values: a well-formed tree on a well-formed volume, in which inodes, names, attributes, symlinks and extents say anything.
//
// Input: (kind of key u8, object u8, offset u16, length u16, content)*. Objects are those of small_volume() and a few more; each value
// replaces, or stands beside, what is there.
#include "fs/volume.h"
#include "kernel/memory_disk.h"
#include "kernel/metrics.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/sound.h"
#include "tests/support/damaged_volume.h"

namespace {

using namespace weft;
using namespace weft::fs;

// Where keys of small_volume() are, so that inputs hit them.
const std::vector<Key>& known_keys() {
  static const std::vector<Key> keys = [] {
    std::vector<Key> found;
    MemoryDisk disk(test::small_volume());
    const auto volume = Volume::open(disk, {.read_only = true, .background = false}).value();
    static_cast<void>(volume->scan(Key::lowest(), Key::highest(), [&](Key key, std::span<const std::byte>) {
      found.push_back(key);
      return true;
    }));
    return found;
  }();
  return keys;
}

// The value that is there with `content` over its first bytes, or `content` alone.
void put_value(Volume& volume, Key key, std::span<const std::byte> content, bool over) {
  std::vector<std::byte> value(content.begin(), content.end());
  if (over) {
    static_cast<void>(volume.get(key, [&](std::span<const std::byte> there) {
      value.assign(there.begin(), there.end());
      std::copy_n(content.begin(), std::min(content.size(), value.size()), value.begin());
    }));
  }
  auto transaction = volume.begin(Intent::kOther, key.owner(), {.changes = 1, .value_bytes = kMaxValueBytes});
  if (!transaction) return;
  transaction->put(key, std::span(value).first(std::min<std::size_t>(value.size(), kMaxValueBytes)));
  static_cast<void>(volume.commit(std::move(*transaction)));
}

void map_extent(Volume& volume, Key key, fuzz::FuzzInput& input) {
  const std::uint32_t flags = input.take<std::uint8_t>() % 3;
  const BlockRange blocks{BlockNo(input.take<std::uint16_t>() % 2000), input.take<std::uint8_t>() % 64 + 1u};
  const std::vector<std::uint32_t> sums(flags == 0 ? blocks.count : 0, 0x1234);
  auto transaction = volume.begin(Intent::kOther, key.owner(), {.changes = 2, .value_bytes = kMaxValueBytes});
  if (!transaction) return;
  if (flags == 0 && key.offset() % 2 == 0) {
    transaction->unmap(key.owner(), FileBlock(key.offset()), blocks.count);
  } else {
    transaction->map(key.owner(), FileBlock(key.offset()), blocks, flags, sums, false);
  }
  static_cast<void>(volume.commit(std::move(*transaction)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  fuzz::keep_quiet();
  const std::vector<Key>& keys = known_keys();
  fuzz::FuzzInput input(data, size_bytes);
  MemoryDisk disk(test::small_volume());
  {
    static Metrics metrics;
    auto volume = Volume::open(disk, {.cache_bytes = 1 << 20, .background = false, .metrics = &metrics});
    if (!volume) return 0;
    while (!input.empty()) {
      const auto how = input.take<std::uint8_t>();
      Key key = keys[input.take<std::uint16_t>() % keys.size()];
      // A third of the values stand at keys of their own.
      if (how % 3 == 0)
        key = Key(key.owner(), static_cast<KeyKind>(1 + input.take<std::uint8_t>() % 7), input.take<std::uint32_t>());
      if (key.kind() == KeyKind::kExtent) {
        map_extent(**volume, key, input);
      } else {
        put_value(**volume, key, input.take_bytes(input.take<std::uint8_t>()), how % 3 == 1);
      }
    }
    static_cast<void>((*volume)->close());
  }
  MemoryDisk unused(disk.copy());
  test::use_volume(disk);
  fuzz::repair_and_use(unused);
  return 0;
}
