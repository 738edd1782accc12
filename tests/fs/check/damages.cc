#include "tests/fs/check/damages.h"

#include <dirent.h>
#include <sys/stat.h>

#include <cstring>

#include "fs/file_map.h"
#include "fs/orphan.h"
#include "kernel/bytes.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/support/sample_tree.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

using check::CheckedVolume;
using check::Problem;

DiskImage empty_volume() {
  StepClock clock;
  MemoryDisk disk(kMinVolumeBytes);
  EXPECT_OK(make_sample_volume(disk, "damaged", clock));
  return disk.copy();
}

Key inode_key(InodeNo inode) { return {inode, KeyKind::kInode, 0}; }

}  // namespace

SoundVolume::SoundVolume() {
  Mounted m(empty_volume());
  directory = m.directory(kTop, "d");
  below = m.directory(directory, "below");
  file = m.file(directory, "file");
  m.write(file, 0, std::string(300'000, 'f'));
  other = m.file(kTop, "other");
  m.write(other, 0, std::string(10'000, 'o'));
  EXPECT_OK(m->link(other, below, "linked"));
  m->forget(other, 1);
  const auto made = m->make_symlink({}, kTop, "symlink", std::string(2500, 's'));
  EXPECT_OK(made);
  symlink = made->inode;
  m->forget(symlink, 1);
  const auto set = [&](const char* name, std::size_t size) {
    EXPECT_OK(m->set_xattr({}, other, name, to_bytes(std::string(size, 'x')), FileSystem::XattrMode::kEither, false));
  };
  set("user.short", 10);
  set("user.long", 5000);
  hostile = m.file(kTop, kHostileName);
  m.write(hostile, 0, "hostile");
  tree = describe(*take_snapshot(*m.fs));
  EXPECT_OK(m->unmount());
  image = m.disk.copy();
}

const SoundVolume& sound_volume() {
  static const SoundVolume volume;
  return volume;
}

Vandal::Vandal(MemoryDisk& disk) : volume_(*CheckedVolume::open(disk, clock_)), hash_(volume_->superblock().hash_seed) {
  EXPECT_OK(volume_->examine({}));
  EXPECT_EQ(volume_->findings().count(), 0u);
}
Vandal::~Vandal() { EXPECT_OK(volume_->write(true)); }

void Vandal::edit(InodeNo inode, const std::function<void(DiskInode&)>& change) {
  DiskInode record;
  const auto bytes = get(inode_key(inode));
  ASSERT_EQ(bytes.size(), sizeof(record));
  std::memcpy(&record, bytes.data(), sizeof(record));
  change(record);
  put(inode_key(inode), as_bytes_of(record));
}

void Vandal::put_name(Key key, std::string_view name, InodeNo target, std::uint8_t type) {
  std::vector<std::byte> value(sizeof(DiskDirent) + name.size());
  const DiskDirent disk{.inode = target.value(), .type = type, .name_length = static_cast<std::uint8_t>(name.size())};
  std::memcpy(value.data(), &disk, sizeof(disk));
  std::memcpy(value.data() + sizeof(disk), name.data(), name.size());
  put(key, value);
}

void Vandal::add_name(InodeNo directory, std::string_view name, InodeNo target, std::uint8_t type) {
  put_name(name_key(directory, name), name, target, type);
  edit(directory, [](DiskInode& record) { record.entry_count = record.entry_count + 1; });
}

std::vector<Damage> damages() {
  using enum Problem;
  return {
      {"a link count that is too high",
       {kLinkCount},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.other, [](DiskInode& r) { r.links = 7; }); }},
      {"a link count of a directory",
       {kLinkCount},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.directory, [](DiskInode& r) { r.links = 2; }); }},
      {"a count of names",
       {kEntryCount},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.directory, [](DiskInode& r) { r.entry_count = 9; }); }},
      {"a count of attributes",
       {kXattrCount},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.other, [](DiskInode& r) { r.xattr_count = 0; }); }},
      {"a count of blocks",
       {kBlockCount},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.file, [](DiskInode& r) { r.data_blocks = 1; }); }},
      {"a mode of no type",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.file, [](DiskInode& r) { r.mode = 0644; }); }},
      {"a directory's mode of no type",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.directory, [](DiskInode& r) { r.mode = 0755; }); }},
      {"a root that is no directory",
       {kInodeField},
       [](Vandal& v, const SoundVolume&) { v.edit(kRootInode, [](DiskInode& r) { r.mode = S_IFREG | 0755; }); }},
      {"a time of too many nanoseconds",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) {
         v.edit(w.file, [](DiskInode& r) { r.changed.nanoseconds = 1'000'000'000; });
       }},
      {"unknown flags",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.file, [](DiskInode& r) { r.flags = 1; }); }},
      {"reserved bytes",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.file, [](DiskInode& r) { r.reserved[2] = 1; }); }},
      {"a parent of a file",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.file, [](DiskInode& r) { r.parent = 1; }); }},
      {"a size of a directory",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.directory, [](DiskInode& r) { r.size_bytes = 1; }); }},
      {"a device number of a file",
       {kInodeField},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.file, [](DiskInode& r) { r.device = 5; }); }},
      {"a wrong parent",
       {kParent},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.below, [](DiskInode& r) { r.parent = 1; }); }},
      {"a name of nothing",
       {kNameTarget},
       [](Vandal& v, const SoundVolume& w) { v.add_name(w.directory, "ghost", InodeNo(99), DT_REG); }},
      {"a name of the wrong type",
       {kNameType},
       [](Vandal& v, const SoundVolume& w) { v.put_name(v.name_key(w.directory, "file"), "file", w.file, DT_LNK); }},
      {"a name at the wrong place",
       {kName},
       [](Vandal& v, const SoundVolume& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.put_name(Key(w.directory, KeyKind::kDirent, 12345), "file", w.file, DT_REG);
       }},
      {"a hostile name at the wrong place",
       {kName},
       [](Vandal& v, const SoundVolume& w) {
         v.erase(v.name_key(kRootInode, kHostileName));
         v.put_name(Key(kRootInode, KeyKind::kDirent, 12345), kHostileName, w.hostile, DT_REG);
       }},
      {"a name that is there twice",
       {kName, kLinkCount},
       [](Vandal& v, const SoundVolume& w) {
         v.put_name(v.name_key(w.directory, "file", 1), "file", w.other, DT_REG);
         v.edit(w.directory, [](DiskInode& r) { r.entry_count = r.entry_count + 1; });
       }},
      {"a name with a slash",
       {kName},
       [](Vandal& v, const SoundVolume& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.put_name(v.name_key(w.directory, "fi/le"), "fi/le", w.file, DT_REG);
       },
       After::kOtherTree,
       {"/lost+found/#18"}},
      {"a name of two dots",
       {kName},
       [](Vandal& v, const SoundVolume& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.put_name(v.name_key(w.directory, ".."), "..", w.file, DT_REG);
       },
       After::kOtherTree,
       {"/lost+found/#18"}},
      {"an entry that is too short",
       {kName},
       [](Vandal& v, const SoundVolume& w) {
         v.put(v.name_key(w.directory, "x"), "short");
         v.edit(w.directory, [](DiskInode& r) { r.entry_count = r.entry_count + 1; });
       }},
      {"a file without a name",
       {kUnreachable},
       [](Vandal& v, const SoundVolume& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.edit(w.directory, [](DiskInode& r) { r.entry_count = r.entry_count - 1; });
       },
       After::kOtherTree,
       {"/lost+found/#18"}},
      {"a directory without a name",
       {kUnreachable},
       [](Vandal& v, const SoundVolume&) {
         v.erase(v.name_key(kRootInode, "d"));
         v.edit(kRootInode, [](DiskInode& r) {
           r.entry_count = r.entry_count - 1;
           r.links = r.links - 1;
         });
       },
       After::kOtherTree,
       {"/lost+found/#16", "/lost+found/#16/file", "/lost+found/#16/below/linked"}},
      {"a directory with two names",
       {kSecondName},
       [](Vandal& v, const SoundVolume& w) { v.add_name(kRootInode, "again", w.below, DT_DIR); }},
      {"a name of the root",
       {kSecondName},
       [](Vandal& v, const SoundVolume& w) { v.add_name(w.directory, "up", kRootInode, DT_DIR); }},
      {"a directory below itself",
       {kLoop},
       [](Vandal& v, const SoundVolume& w) {
         // d moves into d/below: nobody gets there from the root any more.
         v.erase(v.name_key(kRootInode, "d"));
         v.edit(kRootInode, [](DiskInode& r) {
           r.entry_count = r.entry_count - 1;
           r.links = r.links - 1;
         });
         v.add_name(w.below, "d", w.directory, DT_DIR);
         v.edit(w.below, [](DiskInode& r) { r.links = r.links + 1; });
         v.edit(w.directory, [&](DiskInode& r) { r.parent = w.below.value(); });
       },
       After::kOtherTree,
       {"/lost+found/#16/file"}},
      {"an inode without its record",
       {kMissingInode},
       [](Vandal& v, const SoundVolume& w) { v.erase(inode_key(w.file)); },
       After::kOtherTree,
       {"/d/file"}},
      {"a directory without its record",
       {kMissingInode},
       [](Vandal& v, const SoundVolume& w) { v.erase(inode_key(w.directory)); },
       After::kOtherTree,
       {"/d/file", "/d/below/linked"}},
      {"a record of the wrong size",
       {kMissingInode},
       [](Vandal& v, const SoundVolume& w) { v.put(inode_key(w.file), "not an inode"); },
       After::kOtherTree,
       {"/d/file"}},
      {"no root",
       {kMissingInode},
       [](Vandal& v, const SoundVolume&) { v.erase(inode_key(kRootInode)); },
       After::kOtherTree,
       {"/d/file"}},
      {"nothing of a root",
       {kUnreachable, kLinkCount, kUnreachable, kUnreachable, kRoot},
       [](Vandal& v, const SoundVolume&) {
         v.erase(inode_key(kRootInode));
         for (const std::string_view name :
              std::initializer_list<std::string_view>{"d", "other", "symlink", kHostileName}) {
           v.erase(v.name_key(kRootInode, name));
         }
       },
       After::kNewRoot,
       {"/lost+found/#16/file", "/lost+found/#16/below/linked", "/lost+found/#20", "/lost+found/#21"}},
      {"an attribute that cannot be",
       {kXattr, kXattrCount},
       [](Vandal& v, const SoundVolume& w) { v.put(Key(w.other, KeyKind::kXattr, 77), "??"); }},
      {"an attribute at the wrong place",
       {kXattr},
       [](Vandal& v, const SoundVolume& w) {
         const auto value = v.get(v.xattr_key(w.other, "user.short"));
         v.erase(v.xattr_key(w.other, "user.short"));
         v.put(Key(w.other, KeyKind::kXattr, 77), value);
       },
       After::kOtherTree},
      {"an attribute of which a part is missing",
       {kStrayItem, kStrayItem, kXattr},
       [](Vandal& v, const SoundVolume& w) {
         v.erase(Key(w.other, KeyKind::kXattrData, v.xattr_key(w.other, "user.long").offset() << 8 | 2));
       },
       After::kOtherTree},
      {"a part of an attribute that is not there",
       {kStrayItem},
       [](Vandal& v, const SoundVolume& w) { v.put(Key(w.file, KeyKind::kXattrData, 0x500), "part"); }},
      {"a symlink that is shorter than it says",
       {kSymlink},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.symlink, [](DiskInode& r) { r.size_bytes = 2600; }); }},
      {"a symlink of which a part is missing",
       {kSymlink},
       [](Vandal& v, const SoundVolume& w) { v.erase(Key(w.symlink, KeyKind::kSymlink, 1)); },
       After::kOtherTree,
       {"/symlink"}},
      {"a target of a file",
       {kStrayItem},
       [](Vandal& v, const SoundVolume& w) { v.put(Key(w.file, KeyKind::kSymlink, 0), "where"); }},
      {"names in a file",
       {kStrayItem},
       [](Vandal& v, const SoundVolume& w) { v.put_name(v.name_key(w.file, "x"), "x", w.other, DT_REG); }},
      {"a key of an unknown kind",
       {kStrayItem},
       [](Vandal& v, const SoundVolume& w) { v.put(Key::from_raw(w.file.value(), 9ull << 56), "future"); }},
      {"a key that belongs to the system",
       {kStrayItem},
       [](Vandal& v, const SoundVolume&) { v.put(Key(InodeNo(0), KeyKind::kSymlink, 5), "?"); }},
      {"a mark of an inode that is not there",
       {kOrphan},
       [](Vandal& v, const SoundVolume&) { v.put(orphan_key(InodeNo(99)), ""); }},
      {"a mark with a value", {kOrphan}, [](Vandal& v, const SoundVolume& w) { v.put(orphan_key(w.file), "x"); }},
      {"a mark of an inode that has a name and no links",
       {kLinkCount, kOrphan},
       [](Vandal& v, const SoundVolume& w) {
         v.put(orphan_key(w.file), "");
         v.edit(w.file, [](DiskInode& r) { r.links = 0; });
       }},
      {"blocks behind the end",
       {kPastEnd},
       [](Vandal& v, const SoundVolume& w) { v.edit(w.file, [](DiskInode& r) { r.size_bytes = 5000; }); },
       After::kOtherTree,
       {"/d/file"}},
      {"an extent that reaches too far",
       {kExtent},
       [](Vandal& v, const SoundVolume& w) {
         const Key key = extent_key(w.hostile, FileBlock(0));
         const auto extent = v.get(key);
         v.erase(key);
         v.put(extent_key(w.hostile, FileBlock(kFileBlockEnd)), extent);
       },
       After::kOtherTree},
      {"a block of two files",
       {kFreeMarkedUsed, kClaimedTwice},
       [](Vandal& v, const SoundVolume& w) {
         DiskExtent honest, thief;
         const Key key = extent_key(w.hostile, FileBlock(0));
         auto bytes = v.get(key);
         std::memcpy(&honest, v.get(extent_key(w.file, FileBlock(0))).data(), sizeof(honest));
         std::memcpy(&thief, bytes.data(), sizeof(thief));
         thief.block = honest.block + 3;
         std::memcpy(bytes.data(), &thief, sizeof(thief));
         v.put(key, bytes);
       },
       After::kOtherTree},
      {"an inode from the future",
       {kNextInode},
       [](Vandal& v, const SoundVolume& w) {
         v.put(inode_key(InodeNo(5000)), v.get(inode_key(w.file)));
         v.edit(InodeNo(5000), [](DiskInode& r) { r.data_blocks = 0; });
         v.add_name(kRootInode, "future", InodeNo(5000), DT_REG);
       },
       After::kOtherTree,
       {"/future"}},
  };
}

}  // namespace weft::fs::test
