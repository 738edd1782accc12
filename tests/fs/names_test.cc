#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

TEST(Names, ANewFileIsFoundByItsNameAndByItsNumber) {
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  EXPECT_EQ(m.find(kTop, "a"), file);
  const auto got = m->by_number(file);
  ASSERT_OK(got);
  EXPECT_EQ(got->mode, 0100644u);
  EXPECT_EQ(got->links, 1u);
  m->forget(file, 1);
  EXPECT_EQ(code(m->lookup(kTop, "b")), Errc::kNotFound);
  EXPECT_EQ(code(m->lookup(file, "b")), Errc::kNotDirectory);
}

TEST(Names, AnInodeOfAnyKindIsFoundByItsNumberAndADotAfterAnotherMount) {
  Mounted m;
  const InodeNo file = m.file(kTop, "file");
  const InodeNo gone = m.file(kTop, "gone");
  ASSERT_OK(m->unlink(kRoot, kTop, "gone"));
  m.remount();
  const auto found = m->lookup(file, ".");
  ASSERT_OK(found);
  EXPECT_EQ(found->inode, file);
  m->forget(file, 1);
  EXPECT_EQ(m.find(kTop, "."), kTop);
  EXPECT_EQ(code(m->lookup(gone, ".")), Errc::kStale);
  EXPECT_EQ(code(m->lookup(file, "..")), Errc::kNotDirectory);
  // Referred to still, as by a FORGET that has not arrived yet.
  const auto late = m->lookup(kTop, "file");
  ASSERT_OK(late);
  ASSERT_OK(m->unlink(kRoot, kTop, "file"));
  EXPECT_EQ(code(m->lookup(file, ".")), Errc::kStale);
  m->forget(file, 1);
}

TEST(Names, NamesThatCannotBeAreRefused) {
  Mounted m;
  EXPECT_EQ(code(m->make_node(kRoot, kTop, std::string(256, 'x'), {})), Errc::kNameTooLong);
  EXPECT_OK(m->make_node(kRoot, kTop, std::string(255, 'x'), {}));
  EXPECT_NE(m.find(kTop, std::string(255, 'x')), InodeNo{});
  EXPECT_EQ(code(m->make_node(kRoot, kTop, "..", {})), Errc::kInvalid);
  EXPECT_EQ(code(m->make_directory(kRoot, kTop, ".", 0755)), Errc::kInvalid);
  EXPECT_EQ(code(m->make_node(kRoot, kTop, "a/b", {})), Errc::kInvalid);
  EXPECT_EQ(code(m->make_node(kRoot, kTop, "", {})), Errc::kNotFound);
  EXPECT_EQ(code(m->lookup(kTop, std::string(256, 'x'))), Errc::kNameTooLong);
}

TEST(Names, ATakenNameIsRefusedAndNothingChanges) {
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  EXPECT_EQ(code(m->make_node(kRoot, kTop, "a", {})), Errc::kExists);
  EXPECT_EQ(code(m->make_directory(kRoot, kTop, "a", 0755)), Errc::kExists);
  EXPECT_EQ(code(m->make_symlink(kRoot, kTop, "a", "x")), Errc::kExists);
  EXPECT_EQ(code(m->link(file, kTop, "a")), Errc::kExists);
  EXPECT_EQ(m.list(kTop), (std::vector<std::string>{".", "..", "a"}));
}

TEST(Names, DirectoriesCountTheirSubdirectoriesAsLinks) {
  Mounted m;
  const InodeNo a = m.directory(kTop, "a");
  const InodeNo b = m.directory(a, "b");
  EXPECT_EQ(m.attributes(kTop).links, 3u);
  EXPECT_EQ(m.attributes(a).links, 3u);
  EXPECT_EQ(m.find(b, ".."), a);
  EXPECT_EQ(m.find(b, "."), b);
  EXPECT_EQ(m.find(kTop, ".."), kTop);
  EXPECT_EQ(code(m->remove_directory(kRoot, kTop, "a")), Errc::kNotEmpty);
  EXPECT_EQ(code(m->unlink(kRoot, kTop, "a")), Errc::kIsDirectory);
  EXPECT_OK(m->remove_directory(kRoot, a, "b"));
  EXPECT_OK(m->remove_directory(kRoot, kTop, "a"));
  EXPECT_EQ(m.attributes(kTop).links, 2u);
  EXPECT_EQ(code(m->attributes(a)), Errc::kStale);
}

TEST(Names, NothingIsMadeInARemovedDirectory) {
  Mounted m;
  const auto a = m->make_directory(kRoot, kTop, "a", 0755);
  ASSERT_OK(a);
  const InodeNo file = m.file(kTop, "f");
  ASSERT_OK(m->remove_directory(kRoot, kTop, "a"));
  EXPECT_EQ(code(m->make_node(kRoot, a->inode, "x", {})), Errc::kNotFound);
  EXPECT_EQ(code(m->link(file, a->inode, "x")), Errc::kNotFound);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "f", a->inode, "x", 0)), Errc::kNotFound);
  EXPECT_EQ(m.list(a->inode).size(), 2u);
  m->forget(a->inode, 1);
  EXPECT_EQ(code(m->attributes(a->inode)), Errc::kStale);
}

TEST(Names, LinksShareOneInode) {
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  const auto linked = m->link(file, kTop, "b");
  ASSERT_OK(linked);
  m->forget(file, 1);
  EXPECT_EQ(linked->inode, file);
  EXPECT_EQ(linked->links, 2u);
  EXPECT_OK(m->unlink(kRoot, kTop, "a"));
  EXPECT_EQ(m.attributes(file).links, 1u);
  EXPECT_OK(m->unlink(kRoot, kTop, "b"));
  EXPECT_EQ(code(m->attributes(file)), Errc::kStale);
  EXPECT_EQ(code(m->unlink(kRoot, kTop, "b")), Errc::kNotFound);
  const InodeNo directory = m.directory(kTop, "d");
  EXPECT_EQ(code(m->link(directory, kTop, "e")), Errc::kNotPermitted);
  EXPECT_EQ(code(m->remove_directory(kRoot, directory, "x")), Errc::kNotFound);
}

TEST(Names, RemoveDirectoryWantsADirectory) {
  Mounted m;
  m.file(kTop, "a");
  EXPECT_EQ(code(m->remove_directory(kRoot, kTop, "a")), Errc::kNotDirectory);
}

TEST(Names, SymlinksKeepTheirTargetUpToTheLimit) {
  Mounted m;
  const std::string longest(4095, 't');
  const auto link = m->make_symlink(kRoot, kTop, "l", longest);
  ASSERT_OK(link);
  EXPECT_EQ(link->size_bytes, 4095u);
  EXPECT_EQ(link->mode, 0120777u);
  EXPECT_EQ(m->read_symlink(link->inode).value(), longest);
  EXPECT_EQ(code(m->make_symlink(kRoot, kTop, "m", std::string(4096, 't'))), Errc::kNameTooLong);
  EXPECT_EQ(code(m->make_symlink(kRoot, kTop, "m", "")), Errc::kNotFound);
  EXPECT_EQ(code(m->read_symlink(kTop)), Errc::kInvalid);
  m->forget(link->inode, 1);
  m.remount();
  EXPECT_EQ(m->read_symlink(m.find(kTop, "l")).value(), longest);
}

TEST(Names, DeviceNodesKeepTheirNumber) {
  Mounted m;
  const auto node = m->make_node(kRoot, kTop, "null", {.mode = S_IFCHR | 0666, .device = 0x103});
  ASSERT_OK(node);
  EXPECT_EQ(node->device, 0x103u);
  const auto fifo = m->make_node(kRoot, kTop, "fifo", {.mode = S_IFIFO | 0666, .device = 7});
  EXPECT_EQ(fifo->device, 0u);
}

TEST(Names, AnUnlinkedFileLivesUntilItIsForgotten) {
  Mounted m;
  const auto file = m->make_node(kRoot, kTop, "a", {.mode = 0100600});
  ASSERT_OK(file);
  m.write(file->inode, 0, "still here");
  ASSERT_OK(m->unlink(kRoot, kTop, "a"));
  EXPECT_EQ(m.read(file->inode), "still here");
  EXPECT_EQ(m.attributes(file->inode).links, 0u);
  EXPECT_EQ(code(m->link(file->inode, kTop, "b")), Errc::kNotFound);
  const auto inodes = m->volume().space().inode_count;
  m->forget(file->inode, 1);
  EXPECT_EQ(code(m->attributes(file->inode)), Errc::kStale);
  EXPECT_EQ(m->volume().space().inode_count, inodes - 1);
}

TEST(Names, ATemporaryFileCanGetItsFirstName) {
  Mounted m;
  const auto file = m->make_temporary(kRoot, kTop, 0600);
  ASSERT_OK(file);
  EXPECT_EQ(file->links, 0u);
  m.write(file->inode, 0, "text");
  const auto linked = m->link(file->inode, kTop, "named");
  ASSERT_OK(linked);
  EXPECT_EQ(linked->links, 1u);
  m->forget(file->inode, 2);
  m.remount();
  EXPECT_EQ(m.read(m.find(kTop, "named")), "text");
}

TEST(Names, GroupAndSetGidAreInheritedFromASetGidDirectory) {
  Mounted m;
  const InodeNo shared = m.directory(kTop, "shared");
  ASSERT_OK(m->set_attributes(kRoot, shared,
                              {.fields = AttributeChange::kMode | AttributeChange::kGid, .mode = 02775, .gid = 50}));
  const Caller user{.uid = 1000, .gid = 1000, .umask = 022};
  const auto file = m->make_node(user, shared, "f", {.mode = 0100666});
  EXPECT_EQ(file->gid, 50u);
  EXPECT_EQ(file->mode, 0100644u);
  const auto directory = m->make_directory(user, shared, "d", 0777);
  EXPECT_EQ(directory->gid, 50u);
  EXPECT_EQ(directory->mode, 042755u);
  // Nobody may make a program that runs as a group he is not in.
  EXPECT_EQ(m->make_node(user, shared, "g", {.mode = 0102755})->mode, 0100755u);
  EXPECT_EQ(m->make_node({.uid = 1000, .gid = 50}, shared, "h", {.mode = 0102755})->mode, 0102755u);
}

TEST(Names, ImmutableAndAppendOnlyDirectoriesKeepTheirNames) {
  Mounted m;
  const InodeNo d = m.directory(kTop, "d");
  m.file(d, "f");
  ASSERT_OK(m->set_flags(kRoot, d, kInodeAppendOnly));
  EXPECT_OK(m->make_node(kRoot, d, "g", {}));
  EXPECT_EQ(code(m->unlink(kRoot, d, "f")), Errc::kNotPermitted);
  EXPECT_EQ(code(m->rename(kRoot, d, "f", kTop, "f", 0)), Errc::kNotPermitted);
  ASSERT_OK(m->set_flags(kRoot, d, kInodeImmutable));
  EXPECT_EQ(code(m->make_node(kRoot, d, "h", {})), Errc::kNotPermitted);
  ASSERT_OK(m->set_flags(kRoot, d, 0));
  ASSERT_OK(m->set_flags(kRoot, m.find(d, "f"), kInodeImmutable));
  EXPECT_EQ(code(m->unlink(kRoot, d, "f")), Errc::kNotPermitted);
  EXPECT_EQ(code(m->link(m.find(d, "f"), d, "i")), Errc::kNotPermitted);
}

TEST(List, EveryNameThatStaysIsSeenOnceWhileOthersComeAndGo) {
  Mounted m;
  const InodeNo d = m.directory(kTop, "d");
  for (int i = 0; i < 500; ++i) m.file(d, "stays" + std::to_string(i));
  for (int i = 0; i < 500; ++i) m.file(d, "goes" + std::to_string(i));
  std::multiset<std::string> seen;
  std::uint64_t cookie = 0;
  int round = 0;
  while (true) {
    int taken = 0;
    ASSERT_OK(m->read_directory(d, cookie, false, [&](const DirectoryEntry& entry) {
      if (taken == 7) return false;
      ++taken;
      seen.emplace(entry.name);
      cookie = entry.next_cookie;
      return true;
    }));
    if (taken == 0) break;
    if (round < 500) {
      EXPECT_OK(m->unlink(kRoot, d, "goes" + std::to_string(round)));
    }
    m.file(d, "comes" + std::to_string(round++));
  }
  for (int i = 0; i < 500; ++i) EXPECT_EQ(seen.count("stays" + std::to_string(i)), 1u) << i;
  EXPECT_EQ(seen.count("."), 1u);
  EXPECT_EQ(seen.count(".."), 1u);
  EXPECT_LT(cookie, std::uint64_t{1} << 63);
}

TEST(List, PlusGivesAttributesAndAReferenceForEachEntryTaken) {
  Mounted m;
  m.file(kTop, "a");
  m.file(kTop, "b");
  int taken = 0;
  ASSERT_OK(m->read_directory(kTop, 2, true, [&](const DirectoryEntry& entry) {
    EXPECT_NE(entry.attributes, nullptr);
    EXPECT_EQ(entry.attributes->inode, entry.inode);
    return ++taken == 1;
  }));
  EXPECT_EQ(taken, 2);
  // One of the two is held now.
  int held = 0;
  for (const std::string name : {"a", "b"}) {
    const InodeNo inode = m.find(kTop, name);
    ASSERT_OK(m->unlink(kRoot, kTop, name));
    held += m->attributes(inode).has_value();
  }
  EXPECT_EQ(held, 1);
  EXPECT_EQ(code(m->read_directory(m.file(kTop, "f"), 0, false, [](const DirectoryEntry&) { return true; })),
            Errc::kNotDirectory);
}

}  // namespace
}  // namespace weft::fs::test
