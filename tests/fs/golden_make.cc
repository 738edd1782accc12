#include "tests/fs/golden_make.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string_view>

#include "fs/aligned_buffer.h"
#include "fs/layout.h"
#include "kernel/memory_disk.h"
#include "kernel/units.h"
#include "tests/fs/check/block_damage.h"
#include "tests/fs/check/damages.h"
#include "tests/fs/fs_fixture.h"
#include "tests/support/sample_tree.h"

namespace weft::fs::test {
namespace {

constexpr std::uint64_t kImageBytes = 8 * kMiB;

enum class Ending { kUnmounted, kCrashed };

DiskImage make_image(const std::string& label, std::uint64_t size_bytes, bool with_tree, Ending ending) {
  StepClock clock;
  MemoryDisk disk(size_bytes);
  EXPECT_OK(make_sample_volume(disk, label, clock));
  if (!with_tree) return disk.copy();
  auto mounted = mount_sample(disk, clock);
  EXPECT_OK(mounted);
  EXPECT_OK(make_sample_tree(**mounted));
  if (ending == Ending::kUnmounted) {
    EXPECT_OK((*mounted)->unmount());
    return disk.copy();
  }
  // The last checkpoint is of the tree; names and the orphan come after it, in the log alone.
  EXPECT_OK((*mounted)->volume().checkpoint());
  EXPECT_OK((*mounted)->rename(kRoot, kRootInode, "names", kRootInode, "renamed", 0));
  EXPECT_OK(make_sample_orphan(**mounted));
  EXPECT_OK((*mounted)->sync());
  return disk.copy();
}

void flip(MemoryDisk& disk, std::uint64_t offset) {
  AlignedBuffer block(kBlockBytes);
  ASSERT_OK(disk.read(round_down(offset, kBlockBytes), block.bytes()));
  block.bytes()[offset % kBlockBytes] ^= std::byte{0x10};
  ASSERT_OK(disk.write(round_down(offset, kBlockBytes), block.bytes()));
}

DiskImage damage(DiskImage image, const std::function<void(MemoryDisk&)>& how) {
  MemoryDisk disk(std::move(image));
  how(disk);
  return disk.copy();
}

using Damaging = std::function<void(MemoryDisk&)>;

// -- Of the large sample: 8 MiB with one of everything

const std::map<std::string_view, Damaging> kOfTheSample = {
    {"lost-superblocks",
     [](MemoryDisk& disk) {
       AlignedBuffer zeros(2 * kBlockBytes);
       ASSERT_OK(disk.write(0, zeros.bytes()));
     }},
    {"bad-root", [](MemoryDisk& disk) { flip(disk, superblock_of(disk).root.block * kBlockBytes + 100); }},
    {"bad-bitmap",
     [](MemoryDisk& disk) {
       for (std::uint32_t slot = 0; slot < 2; ++slot) {
         flip(disk, Layout(superblock_of(disk)).bitmap_block(0, slot).value() * kBlockBytes + 200);
       }
     }},
};

// -- Of the small one: what its tree holds, by the sentence of tests/fs/check/damages.cc

const std::map<std::string_view, std::string_view> kOfKeys = {
    {"next-inode", "an inode from the future"},
    {"claimed-twice", "a block of two files"},
    {"stray-item", "a key of an unknown kind"},
    {"missing-inode", "a directory without its record"},
    {"inode-field", "a mode of no type"},
    {"root", "nothing of a root"},
    {"name", "a name with a slash"},
    {"name-target", "a name of nothing"},
    {"name-type", "a name of the wrong type"},
    {"second-name", "a directory with two names"},
    {"parent", "a wrong parent"},
    {"loop", "a directory below itself"},
    {"unreachable", "a directory without a name"},
    {"link-count", "a link count that is too high"},
    {"entry-count", "a count of names"},
    {"xattr", "an attribute of which a part is missing"},
    {"xattr-count", "a count of attributes"},
    {"symlink", "a symlink of which a part is missing"},
    {"extent", "an extent that reaches too far"},
    {"past-end", "blocks behind the end"},
    {"block-count", "a count of blocks"},
    {"orphan", "a mark of an inode that is not there"},
    {"root-type", "a root that is no directory"},
    {"hostile-name", "a hostile name at the wrong place"},
};

// -- Of the small one: what has a fixed place, nodes, data

const std::map<std::string_view, Damaging> kOfBlocks = {
    {"superblock-slot", [](MemoryDisk& disk) { garble(disk, Layout(superblock_of(disk)).superblock_slot(1)); }},
    {"group-table", [](MemoryDisk& disk) { garble(disk, current_table(disk)); }},
    {"bitmap", [](MemoryDisk& disk) { garble(disk, current_bitmap(disk)); }},
    {"used-marked-free",
     [](MemoryDisk& disk) {
       const auto root = static_cast<std::uint32_t>(superblock_of(disk).root.block.get());
       edit_group(disk, [&](DiskGroup&, GroupBitmap& bits) { bits.clear(root, 1); });
     }},
    {"free-marked-used",
     [](MemoryDisk& disk) {
       edit_group(disk, [](DiskGroup&, GroupBitmap& bits) { bits.set(bits.next_clear(800), 3); });
     }},
    {"free-count", [](MemoryDisk& disk) { edit_superblock(disk, [](DiskSuperblock& s) { s.free_blocks = 7; }); }},
    {"inode-count", [](MemoryDisk& disk) { edit_superblock(disk, [](DiskSuperblock& s) { s.inode_count = 6; }); }},
    {"tree-node", [](MemoryDisk& disk) { garble(disk, nodes_of(disk)[0][1]); }},
    {"lost-root", [](MemoryDisk& disk) { garble(disk, nodes_of(disk).back().front()); }},
    {"lost-tree",
     [](MemoryDisk& disk) {
       for (const auto& level : nodes_of(disk)) {
         for (const BlockNo block : level) garble(disk, block);
       }
     }},
    {"data-checksum",
     [](MemoryDisk& disk) {
       garble_data(disk, sound_volume().file, 3);
       garble_data(disk, sound_volume().hostile, 0);
     }},
};

// -- After a crash, with a log

DiskImage crash_after(const std::function<void(FileSystem&)>& steps) {
  StepClock clock;
  MemoryDisk disk(sound_volume().image);
  const auto mounted = mount_sample(disk, clock);
  EXPECT_OK(mounted);
  steps(**mounted);
  return disk.copy();
}

void make_file(FileSystem& fs, std::string_view name) {
  const auto made = fs.make_node(kRoot, kRootInode, name, {.mode = 0100644});
  ASSERT_OK(made);
  fs.forget(made->inode, 1);
  ASSERT_OK(fs.sync());
}

const std::map<std::string_view, std::function<DiskImage()>> kOfTheLog = {
    {"log",
     [] {
       return damage(crash_after([](FileSystem& fs) {
                       for (const std::string_view name : {"before", "lost", "after", "after that"})
                         make_file(fs, name);
                     }),
                     lose_second_record);
     }},
    {"unfit-log",
     [] {
       return damage(crash_after([](FileSystem& fs) {
                       make_file(fs, "before");
                       ASSERT_OK(fs.unlink(kRoot, kRootInode, "other"));
                       make_file(fs, "after");
                     }),
                     unfit_last_erasure);
     }},
};

DiskImage damage_keys(std::string_view sentence) {
  for (const Damage& one : damages()) {
    if (one.name != sentence) continue;
    return damage(sound_volume().image, [&](MemoryDisk& disk) {
      Vandal vandal(disk);
      one.plant(vandal, sound_volume());
    });
  }
  ADD_FAILURE() << "no such damage: " << sentence;
  return DiskImage(0);
}

}  // namespace

DiskImage make_golden(const std::string& name) {
  if (name == "empty") return make_image("empty", kMinVolumeBytes, false, Ending::kUnmounted);
  if (name == "recovery") return make_image("recovery", kImageBytes, true, Ending::kCrashed);
  if (name == "tree") return make_image("tree", kImageBytes, true, Ending::kUnmounted);
  if (const auto found = kOfTheSample.find(name); found != kOfTheSample.end()) {
    return damage(make_image("tree", kImageBytes, true, Ending::kUnmounted), found->second);
  }
  if (const auto found = kOfKeys.find(name); found != kOfKeys.end()) return damage_keys(found->second);
  if (const auto found = kOfBlocks.find(name); found != kOfBlocks.end()) {
    return damage(sound_volume().image, found->second);
  }
  if (const auto found = kOfTheLog.find(name); found != kOfTheLog.end()) return found->second();
  ADD_FAILURE() << "no such image: " << name;
  return DiskImage(0);
}

}  // namespace weft::fs::test
