// tests/fs/check/damages.h - a small volume with a little of everything, and each kind of damage to what its tree holds, as edits of keys.
//
//   repair_test, golden images -> [damages] -> checked_volume
//
// The same bytes every time: entropy is seeded, clocks count their readers.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/check/checked_volume.h"
#include "fs/name_hash.h"
#include "kernel/disk_image.h"
#include "kernel/memory_disk.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {

// Retitles a terminal's window, breaks the line, and is neither JSON's nor UTF-8's.
inline constexpr std::string_view kHostileName = "\x1b]0;owned\x07\n\"\\\xff\xc2\x9b";

// 4 MiB, cleanly unmounted: /d/file of 300 KB, /d/below/, /other with attributes and a second name in it, /symlink, and a file with
// kHostileName.
struct SoundVolume {
  SoundVolume();
  InodeNo directory, below, file, other, symlink, hostile;
  std::string tree;
  DiskImage image{kMinVolumeBytes};
};
const SoundVolume& sound_volume();

// Edits keys behind the file system's back; what it has done is on the disk when it goes.
class Vandal {
 public:
  explicit Vandal(MemoryDisk& disk);
  ~Vandal();
  Vandal(const Vandal&) = delete;
  Vandal& operator=(const Vandal&) = delete;

  void put(Key key, std::span<const std::byte> bytes) { EXPECT_OK(volume_->put(key, bytes)); }
  void put(Key key, std::string_view text) { put(key, std::as_bytes(std::span(text))); }
  void erase(Key key) { EXPECT_OK(volume_->erase(key)); }
  std::vector<std::byte> get(Key key) { return (*volume_->get(key)).value_or(std::vector<std::byte>{}); }
  void edit(InodeNo inode, const std::function<void(DiskInode&)>& change);
  Key name_key(InodeNo directory, std::string_view name, unsigned n = 0) const {
    return {directory, KeyKind::kDirent, hash_.dirent_hash(name) << 8 | n};
  }
  void put_name(Key key, std::string_view name, InodeNo target, std::uint8_t type);
  // The name, and what counts it.
  void add_name(InodeNo directory, std::string_view name, InodeNo target, std::uint8_t type);
  Key xattr_key(InodeNo inode, std::string_view name) const {
    return {inode, KeyKind::kXattr, hash_.xattr_hash(name) << 8};
  }

 private:
  StepClock clock_;
  std::unique_ptr<check::CheckedVolume> volume_;
  const NameHash hash_;
};

enum class After { kSameTree, kOtherTree, kNewRoot };

struct Damage {
  const char* name;
  std::vector<check::Problem> found;  // in the order of the tree
  std::function<void(Vandal&, const SoundVolume&)> plant;
  After after = After::kSameTree;
  std::vector<std::string> paths = {};  // that are there afterwards
};

std::vector<Damage> damages();

}  // namespace weft::fs::test
