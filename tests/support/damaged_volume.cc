#include "tests/support/damaged_volume.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>
#include <string>

#include "fs/file_system.h"
#include "fs/format.h"
#include "fs/format_check.h"
#include "fs/layout.h"
#include "fs/superblock.h"
#include "kernel/check.h"
#include "kernel/clock.h"
#include "kernel/crc32c.h"
#include "kernel/memory_disk.h"
#include "kernel/metrics.h"
#include "kernel/random.h"

namespace weft::test {
namespace {

using namespace fs;

constexpr std::uint64_t kVolumeBytes = 6 << 20;
constexpr Caller kRoot{};

class StandingClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override { return std::chrono::nanoseconds(1); }
  [[nodiscard]] Timespec wall() const noexcept override { return {1'700'000'000, 0}; }
};

FileSystemOptions quiet_options() {
  static StandingClock clock;
  static Metrics& metrics = *new Metrics;
  FileSystemOptions options;
  options.volume.background = false;
  options.volume.clock = &clock;
  options.volume.metrics = &metrics;
  options.volume.cache_bytes = 1 << 20;
  return options;
}

std::vector<std::byte> some_bytes(std::size_t count, unsigned seed) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 31 + seed + (i >> 8));
  return bytes;
}

InodeNo make_file(FileSystem& fs, InodeNo parent, const std::string& name, std::size_t bytes) {
  const InodeNo number = fs.make_node(kRoot, parent, name, {.mode = S_IFREG | 0644}).value().inode;
  WEFT_CHECK(fs.write(number, 0, some_bytes(bytes, static_cast<unsigned>(name.size())), false));
  return number;
}

void fill(FileSystem& fs) {
  const InodeNo folder = fs.make_directory(kRoot, kRootInode, "folder", 0755).value().inode;
  const InodeNo deep = fs.make_directory(kRoot, folder, "deep", 02775).value().inode;
  for (int i = 0; i < 24; ++i) make_file(fs, folder, "file with a name of some length " + std::to_string(i), 100);
  const InodeNo big = make_file(fs, kRootInode, "big", 300'000);
  WEFT_CHECK(fs.allocate(big, AllocateMode::kPunchHole, 40'960, 8192));
  WEFT_CHECK(fs.allocate(big, AllocateMode::kReserve, 400'000, 100'000));
  WEFT_CHECK(fs.set_xattr(kRoot, big, "user.small", some_bytes(20, 1), FileSystem::XattrMode::kEither, false));
  WEFT_CHECK(fs.set_xattr(kRoot, big, "user.large", some_bytes(5000, 2), FileSystem::XattrMode::kEither, false));
  WEFT_CHECK(fs.make_symlink(kRoot, deep, "short", "../../big"));
  WEFT_CHECK(fs.make_symlink(kRoot, deep, "long", std::string(2500, 'x')));
  WEFT_CHECK(fs.link(big, deep, "second name"));
  WEFT_CHECK(fs.make_node(kRoot, deep, "device", {.mode = S_IFBLK | 0600, .device = 0x801}));
  const InodeNo direct = make_file(fs, deep, "no copy on write", 0);
  WEFT_CHECK(fs.set_flags(kRoot, direct, kInodeNoCow));
  WEFT_CHECK(fs.write(direct, 0, some_bytes(20'000, 3), false));
  WEFT_CHECK(fs.volume().checkpoint());
  // These are in the log only.
  const InodeNo late = make_file(fs, deep, "late", 10'000);
  WEFT_CHECK(fs.sync());
  WEFT_CHECK(fs.rename(kRoot, deep, "short", folder, "moved", 0));
  WEFT_CHECK(fs.unlink(kRoot, deep, "late"));  // its references keep it: an orphan after the crash
  WEFT_CHECK(fs.write(late, 4096, some_bytes(4096, 4), false));
  WEFT_CHECK(fs.sync());
}

template <typename T>
T load_at(const DiskImage& image, std::uint64_t offset) {
  std::array<std::byte, sizeof(T)> bytes;
  image.read(offset, bytes);
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

const Layout& small_layout() {
  static const Layout layout(load_at<DiskSuperblock>(small_volume(), 0));
  return layout;
}

// Everything that can be asked of one inode.
void look_at(FileSystem& fs, const Attributes& known) {
  const InodeNo number = known.inode;
  const auto attributes = fs.attributes(number);
  const std::uint64_t size = attributes ? attributes->size_bytes : known.size_bytes;
  std::vector<std::byte> buffer(20'000);
  for (const std::uint64_t at :
       {std::uint64_t{0}, std::uint64_t{40'000}, size / 2, size - std::min<std::uint64_t>(size, 5000)})
    static_cast<void>(fs.read(number, at, buffer));
  static_cast<void>(fs.seek(number, 0, true));
  static_cast<void>(fs.seek(number, 0, false));
  static_cast<void>(fs.read_symlink(number));
  if (const auto names = fs.list_xattrs(number)) {
    for (const std::string& name : *names) static_cast<void>(fs.get_xattr(number, name));
  }
}

// Every directory once, at most so many inodes: damage may make a thousand of one.
std::vector<Attributes> look_at_all(FileSystem& fs) {
  constexpr std::size_t kMost = 400;
  std::vector<Attributes> found;
  std::set<std::uint64_t> seen;
  if (const auto root = fs.attributes(kRootInode)) found.push_back(*root), seen.insert(kRootInode.value());
  for (std::size_t i = 0; i < found.size() && i < kMost; ++i) {
    const Attributes at = found[i];
    look_at(fs, at);
    if (!S_ISDIR(at.mode)) continue;
    std::vector<std::string> names;
    static_cast<void>(fs.read_directory(at.inode, 0, false, [&](const DirectoryEntry& entry) {
      names.emplace_back(entry.name);
      return names.size() < kMost;
    }));
    static_cast<void>(fs.read_directory(at.inode, 0, true, [&](const DirectoryEntry& entry) {
      static_cast<void>(entry.attributes);
      return false;
    }));
    for (const std::string& name : names) {
      const auto child = fs.lookup(at.inode, name);
      if (child && seen.insert(child->inode.value()).second) found.push_back(*child);
    }
  }
  return found;
}

// Something of everything, on what is there and on what is new.
void change_all(FileSystem& fs, const std::vector<Attributes>& found) {
  for (std::size_t i = 0; i < found.size(); ++i) {
    const InodeNo number = found[i].inode;
    switch (i % 6) {
      case 0: static_cast<void>(fs.write(number, 4000, some_bytes(9000, 5), true)); break;
      case 1: static_cast<void>(fs.allocate(number, AllocateMode::kPunchHole, 4096, 50'000)); break;
      case 2:
        static_cast<void>(
            fs.set_xattr(kRoot, number, "user.new", some_bytes(3000, 6), FileSystem::XattrMode::kEither, false));
        break;
      case 3: static_cast<void>(fs.remove_xattr(kRoot, number, "user.large")); break;
      case 4: {
        AttributeChange change;
        change.fields = AttributeChange::kSize;
        change.size_bytes = i * 1000;
        static_cast<void>(fs.set_attributes(kRoot, number, change));
        break;
      }
      default: static_cast<void>(fs.allocate(number, AllocateMode::kReserve, 0, 20'000)); break;
    }
    if (S_ISDIR(found[i].mode)) {
      if (const auto made = fs.make_node(kRoot, number, "new", {.mode = S_IFREG | 0600})) {
        static_cast<void>(fs.write(made->inode, 0, some_bytes(5000, 7), false));
        static_cast<void>(fs.copy_range(made->inode, 0, number, 0, 5000));
        static_cast<void>(fs.rename(kRoot, number, "new", kRootInode, "newer", 0));
      }
      static_cast<void>(fs.make_directory(kRoot, number, "new folder", 0700));
      static_cast<void>(fs.rename(kRoot, number, "new folder", found[i / 2].inode, "moved folder", 0));
    }
  }
  static_cast<void>(fs.sync());
  static_cast<void>(fs.trim(0, kVolumeBytes, 4096));
  // Half of the names go.
  for (const Attributes& at : found) {
    if (!S_ISDIR(at.mode)) continue;
    std::vector<std::pair<std::string, bool>> names;
    static_cast<void>(fs.read_directory(at.inode, 0, false, [&](const DirectoryEntry& entry) {
      names.emplace_back(entry.name, entry.type == S_IFDIR >> 12);
      return names.size() < 30;
    }));
    for (std::size_t i = 0; i < names.size(); i += 2) {
      static_cast<void>(names[i].second ? fs.remove_directory(kRoot, at.inode, names[i].first)
                                        : fs.unlink(kRoot, at.inode, names[i].first));
    }
  }
  for (const Attributes& at : found) fs.forget(at.inode, 1);
}

}  // namespace

const DiskImage& small_volume() {
  static const DiskImage image = [] {
    MemoryDisk disk(kVolumeBytes);
    SeededEntropy entropy(1);
    const FileSystemOptions options = quiet_options();
    MakeVolumeOptions how;
    how.label = "small";
    how.log_bytes = std::uint64_t{kMinLogBlocks} * kBlockBytes;
    for (unsigned i = 0; i < 16; ++i) how.uuid.bytes[i] = static_cast<std::uint8_t>(0x20 + i);
    how.clock = options.volume.clock;
    how.entropy = &entropy;
    WEFT_CHECK(make_volume(disk, how, 0, 0));
    {
      const auto fs = FileSystem::mount(disk, options).value();
      fill(*fs);
    }  // a crash
    return disk.copy();
  }();
  return image;
}

const std::vector<BlockNo>& metadata_blocks() {
  static const std::vector<BlockNo> blocks = [] {
    std::vector<BlockNo> found;
    for (const std::uint64_t offset : small_volume().chunks()) {
      const BlockNo block(offset / kBlockBytes);
      if (small_layout().is_fixed(block) || load_at<le32>(small_volume(), offset) == kNodeMagic) found.push_back(block);
    }
    return found;
  }();
  return blocks;
}

void mend_checksums(DiskImage& image) {
  const Layout& layout = small_layout();
  std::array<std::byte, kBlockBytes> block;
  const auto mend = [&](std::uint64_t offset, std::size_t crc_offset) {
    const le32 crc = crc_with_hole(block, crc_offset);
    image.write(offset + crc_offset, as_bytes_of(crc));
  };
  for (const BlockNo number : metadata_blocks()) {
    const std::uint64_t offset = number.value() * kBlockBytes;
    image.read(offset, block);
    le32 magic;
    std::memcpy(&magic, block.data(), sizeof magic);
    le64 long_magic;
    std::memcpy(&long_magic, block.data(), sizeof long_magic);
    if (long_magic == kSuperblockMagic) {
      mend(offset, offsetof(DiskSuperblock, crc));
    } else if (magic == kNodeMagic) {
      mend(offset, offsetof(DiskNode, crc));
    } else if (magic == kGroupTableMagic) {
      DiskGroupTable table;
      std::memcpy(&table, block.data(), sizeof table);
      DiskGroup& group = table.groups[0];  // there is one
      if ((group.flags & kGroupUninitialised) == 0) {
        std::array<std::byte, kBlockBytes> bitmap;
        image.read(layout.bitmap_block(0, group.slot & 1u).value() * kBlockBytes, bitmap);
        std::uint32_t used = 0;
        for (const std::byte byte : bitmap)
          used += static_cast<std::uint32_t>(std::popcount(std::to_integer<unsigned>(byte)));
        group.free_blocks = kBlocksPerGroup - used;
        group.bitmap_crc = crc32c(bitmap);
      }
      std::memcpy(block.data(), &table, sizeof table);
      image.write(offset, block);
      mend(offset, offsetof(DiskGroupTable, crc));
    }
  }
  for (std::uint64_t at = 0; at < layout.log_bytes(); at += kLogUnitBytes) {
    const std::uint64_t offset = layout.log_offset_bytes() + at;
    const auto record = load_at<DiskRecord>(image, offset);
    if (record.magic != kRecordMagic || record.length_bytes < sizeof record ||
        record.length_bytes > layout.log_bytes() - at)
      continue;
    std::vector<std::byte> bytes(record.length_bytes);
    image.read(offset, bytes);
    const le32 crc = crc_with_hole(bytes, offsetof(DiskRecord, crc));
    image.write(offset + offsetof(DiskRecord, crc), as_bytes_of(crc));
  }
}

bool use_volume(BlockDevice& device) {
  FileSystemOptions options = quiet_options();
  bool mounted = false;
  if (auto fs = FileSystem::mount(device, options)) {
    mounted = true;
    const std::vector<Attributes> found = look_at_all(**fs);
    change_all(**fs, found);
    static_cast<void>((*fs)->unmount());
  }
  options.volume.read_only = true;
  if (auto fs = FileSystem::mount(device, options)) {
    static_cast<void>(look_at_all(**fs));
    static_cast<void>((*fs)->unmount());
  }
  return mounted;
}

}  // namespace weft::test
