// Each kind of damage to what the tree holds: found as what it is, repaired, and what it did not touch still there.
#include <dirent.h>
#include <sys/stat.h>

#include <cstring>
#include <functional>
#include <vector>

#include "fs/check/checked_volume.h"
#include "fs/name_hash.h"
#include "fs/orphan.h"
#include "kernel/bytes.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

using check::CheckedVolume;
using check::Problem;

// A little of everything, unmounted.
struct World {
  World() {
    Mounted m(16 * kMiB);
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
    tree = snapshot(m);
    EXPECT_OK(m->unmount());
    image = m.disk.copy();
  }

  static std::string snapshot(Mounted& m) { return describe(*take_snapshot(*m.fs)); }

  InodeNo directory, below, file, other, symlink;
  std::string tree;
  DiskImage image{16 * kMiB};
};

// Edits keys behind the file system's back.
class Vandal {
 public:
  explicit Vandal(MemoryDisk& disk)
      : volume_(*CheckedVolume::open(disk, system_clock())), hash_(volume_->superblock().hash_seed) {
    EXPECT_OK(volume_->examine({}));
    EXPECT_EQ(volume_->findings().count(), 0u);
  }
  ~Vandal() { EXPECT_OK(volume_->write(true)); }
  CheckedVolume* operator->() { return volume_.get(); }

  void put(Key key, std::span<const std::byte> bytes) { EXPECT_OK(volume_->put(key, bytes)); }
  void put(Key key, std::string_view text) { put(key, std::as_bytes(std::span(text))); }
  void erase(Key key) { EXPECT_OK(volume_->erase(key)); }
  std::vector<std::byte> get(Key key) { return (*volume_->get(key)).value_or(std::vector<std::byte>{}); }
  void edit(InodeNo inode, const std::function<void(DiskInode&)>& change) {
    DiskInode record;
    const Key key(inode, KeyKind::kInode, 0);
    const auto bytes = get(key);
    ASSERT_EQ(bytes.size(), sizeof(record));
    std::memcpy(&record, bytes.data(), sizeof(record));
    change(record);
    put(key, as_bytes_of(record));
  }
  Key name_key(InodeNo directory, std::string_view name, unsigned n = 0) const {
    return {directory, KeyKind::kDirent, hash_.dirent_hash(name) << 8 | n};
  }
  void put_name(Key key, std::string_view name, InodeNo target, std::uint8_t type) {
    std::vector<std::byte> value(sizeof(DiskDirent) + name.size());
    const DiskDirent disk{.inode = target.value(), .type = type, .name_length = static_cast<std::uint8_t>(name.size())};
    std::memcpy(value.data(), &disk, sizeof(disk));
    std::memcpy(value.data() + sizeof(disk), name.data(), name.size());
    put(key, value);
  }
  // The name, and what counts it.
  void add_name(InodeNo directory, std::string_view name, InodeNo target, std::uint8_t type) {
    put_name(name_key(directory, name), name, target, type);
    edit(directory, [](DiskInode& record) { record.entry_count = record.entry_count + 1; });
  }
  Key xattr_key(InodeNo inode, std::string_view name) const {
    return {inode, KeyKind::kXattr, hash_.xattr_hash(name) << 8};
  }

 private:
  std::unique_ptr<CheckedVolume> volume_;
  const NameHash hash_;
};

enum class After { kSameTree, kOtherTree };

struct Damage {
  const char* name;
  std::vector<Problem> found;  // in the order of the tree
  std::function<void(Vandal&, const World&)> plant;
  After after = After::kSameTree;
  std::vector<std::string> paths = {};  // that are there afterwards
};

Key inode_key(InodeNo inode) { return {inode, KeyKind::kInode, 0}; }

std::vector<Damage> damages() {
  using enum Problem;
  return {
      {"a link count that is too high",
       {kLinkCount},
       [](Vandal& v, const World& w) { v.edit(w.other, [](DiskInode& r) { r.links = 7; }); }},
      {"a link count of a directory",
       {kLinkCount},
       [](Vandal& v, const World& w) { v.edit(w.directory, [](DiskInode& r) { r.links = 2; }); }},
      {"a count of names",
       {kEntryCount},
       [](Vandal& v, const World& w) { v.edit(w.directory, [](DiskInode& r) { r.entry_count = 9; }); }},
      {"a count of attributes",
       {kXattrCount},
       [](Vandal& v, const World& w) { v.edit(w.other, [](DiskInode& r) { r.xattr_count = 0; }); }},
      {"a count of blocks",
       {kBlockCount},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.data_blocks = 1; }); }},
      {"a mode of no type",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.mode = 0644; }); }},
      {"a directory's mode of no type",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.directory, [](DiskInode& r) { r.mode = 0755; }); }},
      {"a time of too many nanoseconds",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.changed.nanoseconds = 1'000'000'000; }); }},
      {"unknown flags",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.flags = 1; }); }},
      {"reserved bytes",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.reserved[2] = 1; }); }},
      {"a parent of a file",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.parent = 1; }); }},
      {"a size of a directory",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.directory, [](DiskInode& r) { r.size_bytes = 1; }); }},
      {"a device number of a file",
       {kInodeField},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.device = 5; }); }},
      {"a wrong parent",
       {kParent},
       [](Vandal& v, const World& w) { v.edit(w.below, [](DiskInode& r) { r.parent = 1; }); }},
      {"a name of nothing",
       {kNameTarget},
       [](Vandal& v, const World& w) { v.add_name(w.directory, "ghost", InodeNo(99), DT_REG); }},
      {"a name of the wrong type",
       {kNameType},
       [](Vandal& v, const World& w) { v.put_name(v.name_key(w.directory, "file"), "file", w.file, DT_LNK); }},
      {"a name at the wrong place",
       {kName},
       [](Vandal& v, const World& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.put_name(Key(w.directory, KeyKind::kDirent, 12345), "file", w.file, DT_REG);
       }},
      {"a name that is there twice",
       {kName, kLinkCount},
       [](Vandal& v, const World& w) {
         v.put_name(v.name_key(w.directory, "file", 1), "file", w.other, DT_REG);
         v.edit(w.directory, [](DiskInode& r) { r.entry_count = r.entry_count + 1; });
       }},
      {"a name with a slash",
       {kName},
       [](Vandal& v, const World& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.put_name(v.name_key(w.directory, "fi/le"), "fi/le", w.file, DT_REG);
       },
       After::kOtherTree,
       {"/lost+found/#18"}},
      {"a name of two dots",
       {kName},
       [](Vandal& v, const World& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.put_name(v.name_key(w.directory, ".."), "..", w.file, DT_REG);
       },
       After::kOtherTree,
       {"/lost+found/#18"}},
      {"an entry that is too short",
       {kName},
       [](Vandal& v, const World& w) {
         v.put(v.name_key(w.directory, "x"), "short");
         v.edit(w.directory, [](DiskInode& r) { r.entry_count = r.entry_count + 1; });
       }},
      {"a file without a name",
       {kUnreachable},
       [](Vandal& v, const World& w) {
         v.erase(v.name_key(w.directory, "file"));
         v.edit(w.directory, [](DiskInode& r) { r.entry_count = r.entry_count - 1; });
       },
       After::kOtherTree,
       {"/lost+found/#18"}},
      {"a directory without a name",
       {kUnreachable},
       [](Vandal& v, const World&) {
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
       [](Vandal& v, const World& w) { v.add_name(kRootInode, "again", w.below, DT_DIR); }},
      {"a name of the root",
       {kSecondName},
       [](Vandal& v, const World& w) { v.add_name(w.directory, "up", kRootInode, DT_DIR); }},
      {"a directory below itself",
       {kLoop},
       [](Vandal& v, const World& w) {
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
       [](Vandal& v, const World& w) { v.erase(inode_key(w.file)); },
       After::kOtherTree,
       {"/d/file"}},
      {"a directory without its record",
       {kMissingInode},
       [](Vandal& v, const World& w) { v.erase(inode_key(w.directory)); },
       After::kOtherTree,
       {"/d/file", "/d/below/linked"}},
      {"a record of the wrong size",
       {kMissingInode},
       [](Vandal& v, const World& w) { v.put(inode_key(w.file), "not an inode"); },
       After::kOtherTree,
       {"/d/file"}},
      {"no root",
       {kMissingInode},
       [](Vandal& v, const World&) { v.erase(inode_key(kRootInode)); },
       After::kOtherTree,
       {"/d/file"}},
      {"an attribute that cannot be",
       {kXattr, kXattrCount},
       [](Vandal& v, const World& w) { v.put(Key(w.other, KeyKind::kXattr, 77), "??"); }},
      {"an attribute at the wrong place",
       {kXattr},
       [](Vandal& v, const World& w) {
         const auto value = v.get(v.xattr_key(w.other, "user.short"));
         v.erase(v.xattr_key(w.other, "user.short"));
         v.put(Key(w.other, KeyKind::kXattr, 77), value);
       },
       After::kOtherTree},
      {"an attribute of which a part is missing",
       {kStrayItem, kStrayItem, kXattr},
       [](Vandal& v, const World& w) {
         v.erase(Key(w.other, KeyKind::kXattrData, v.xattr_key(w.other, "user.long").offset() << 8 | 2));
       },
       After::kOtherTree},
      {"a part of an attribute that is not there",
       {kStrayItem},
       [](Vandal& v, const World& w) { v.put(Key(w.file, KeyKind::kXattrData, 0x500), "part"); }},
      {"a symlink that is shorter than it says",
       {kSymlink},
       [](Vandal& v, const World& w) { v.edit(w.symlink, [](DiskInode& r) { r.size_bytes = 2600; }); }},
      {"a symlink of which a part is missing",
       {kSymlink},
       [](Vandal& v, const World& w) { v.erase(Key(w.symlink, KeyKind::kSymlink, 1)); },
       After::kOtherTree,
       {"/symlink"}},
      {"a target of a file",
       {kStrayItem},
       [](Vandal& v, const World& w) { v.put(Key(w.file, KeyKind::kSymlink, 0), "where"); }},
      {"names in a file",
       {kStrayItem},
       [](Vandal& v, const World& w) { v.put_name(v.name_key(w.file, "x"), "x", w.other, DT_REG); }},
      {"a key of an unknown kind",
       {kStrayItem},
       [](Vandal& v, const World& w) { v.put(Key::from_raw(w.file.value(), 9ull << 56), "future"); }},
      {"a key that belongs to the system",
       {kStrayItem},
       [](Vandal& v, const World&) { v.put(Key(InodeNo(0), KeyKind::kSymlink, 5), "?"); }},
      {"a mark of an inode that is not there",
       {kOrphan},
       [](Vandal& v, const World&) { v.put(orphan_key(InodeNo(99)), ""); }},
      {"a mark with a value", {kOrphan}, [](Vandal& v, const World& w) { v.put(orphan_key(w.file), "x"); }},
      {"a mark of an inode that has a name and no links",
       {kLinkCount, kOrphan},
       [](Vandal& v, const World& w) {
         v.put(orphan_key(w.file), "");
         v.edit(w.file, [](DiskInode& r) { r.links = 0; });
       }},
      {"blocks behind the end",
       {kPastEnd},
       [](Vandal& v, const World& w) { v.edit(w.file, [](DiskInode& r) { r.size_bytes = 5000; }); },
       After::kOtherTree,
       {"/d/file"}},
      {"an inode from the future",
       {kNextInode},
       [](Vandal& v, const World& w) {
         v.put(inode_key(InodeNo(5000)), v.get(inode_key(w.file)));
         v.edit(InodeNo(5000), [](DiskInode& r) { r.data_blocks = 0; });
         v.add_name(kRootInode, "future", InodeNo(5000), DT_REG);
       },
       After::kOtherTree,
       {"/future"}},
  };
}

TEST(Repair, EachDamageIsFoundAsWhatItIsAndPutRight) {
  const World world;
  for (const Damage& damage : damages()) {
    SCOPED_TRACE(damage.name);
    MemoryDisk disk(world.image);
    {
      Vandal vandal(disk);
      damage.plant(vandal, world);
    }
    const auto report = check::check_volume(disk, {});
    ASSERT_OK(report);
    std::vector<Problem> found;
    for (const check::Finding& finding : report->findings) found.push_back(finding.problem);
    EXPECT_EQ(found, damage.found) << text_of(*report);
    EXPECT_EQ(report->uncorrected, found.size());
    EXPECT_FALSE(report->changed);

    const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
    ASSERT_OK(repaired);
    EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
    EXPECT_EQ(repaired->found, found.size());
    EXPECT_EQ(problems_of(disk.copy()), "") << "after\n" << text_of(*repaired);
    Mounted m(disk.copy());
    const auto tree = take_snapshot(*m.fs);
    ASSERT_OK(tree);
    if (damage.after == After::kSameTree) {
      EXPECT_EQ(describe(*tree), world.tree);
    }
    for (const std::string& path : damage.paths) EXPECT_TRUE(tree->contains(path)) << path << "\n" << describe(*tree);
    for (const char* untouched : {"/other", "/symlink"}) EXPECT_TRUE(tree->contains(untouched));
  }
}

TEST(Repair, IsSafeWithoutThrowingAnythingAway) {
  const World world;
  MemoryDisk disk(world.image);
  {
    Vandal vandal(disk);
    vandal.edit(world.other, [](DiskInode& record) { record.links = 1; });
    vandal.add_name(world.directory, "ghost", InodeNo(99), DT_REG);
  }
  const auto report = check::check_volume(disk, {.repair = true, .only_safe = true, .progress = {}});
  ASSERT_OK(report);
  EXPECT_EQ(report->found, 2u);
  EXPECT_EQ(report->uncorrected, 1u);
  EXPECT_EQ(problems_of(disk.copy()),
            "name-target: directory 16: has a name of inode 99, which does not exist; the name is removed\n");
}

}  // namespace
}  // namespace weft::fs::test
