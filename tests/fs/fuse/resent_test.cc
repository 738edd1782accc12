// Requests that are executed by a server which dies before it answers: the next answers as if it had been the only one.
#include "fs/fuse/resent.h"

#include <gtest/gtest.h>
#include <linux/fs.h>
#include <linux/xattr.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "tests/fs/fuse/servers.h"

namespace weft::fs::fuse {
namespace {

using test::raw;
using test::Servers;
using test::zero_ended;

std::string names(std::string_view first, std::string_view second) { return zero_ended(first) + zero_ended(second); }

std::string setxattr_body(std::uint32_t flags, std::string_view name) {
  fuse_setxattr_in in{};
  in.size = 1;
  in.flags = flags;
  return raw(in) + zero_ended(name) + "v";
}

std::string rename_body(std::uint32_t flags, std::string_view from, std::string_view to) {
  fuse_rename2_in in{};
  in.newdir = 1;
  in.flags = flags;
  return raw(in) + names(from, to);
}

TEST(Resent, ANewNameIsAnsweredWithTheInodeMadeTheFirstTime) {
  const struct {
    std::uint32_t opcode;
    std::string arguments;
    std::uint32_t type;
  } creations[] = {{FUSE_MKNOD, raw(fuse_mknod_in{S_IFREG | 0600, 0, 0, 0}) + zero_ended("n"), S_IFREG},
                   {FUSE_MKDIR, raw(fuse_mkdir_in{0700, 0}) + zero_ended("n"), S_IFDIR},
                   {FUSE_SYMLINK, names("n", "target"), S_IFLNK},
                   {FUSE_CREATE, raw(fuse_create_in{2, S_IFREG | 0600, 0, 0}) + zero_ended("n"), S_IFREG}};
  for (const auto& each : creations) {
    Servers servers;
    ASSERT_EQ(servers.ask_twice(each.opcode, 1, each.arguments), 0) << each.opcode;
    const auto entry = servers.body_as<fuse_entry_out>();
    EXPECT_EQ(entry.attr.mode & S_IFMT, each.type);
    EXPECT_EQ(servers.look("n"), entry.nodeid);
    EXPECT_EQ(servers.ask(each.opcode, 1, each.arguments), EEXIST) << "the first time it is an error";
  }
}

TEST(Resent, ALinkIsAnsweredOnlyWithTheFileItWasFor) {
  Servers servers;
  const std::uint64_t file = servers.make_file("file");
  const std::uint64_t other = servers.make_file("other");
  ASSERT_EQ(servers.ask_twice(FUSE_LINK, 1, raw(fuse_link_in{file}) + zero_ended("second")), 0);
  EXPECT_EQ(servers.body_as<fuse_entry_out>().nodeid, file);
  EXPECT_EQ(servers.body_as<fuse_entry_out>().attr.nlink, 2U);
  EXPECT_EQ(servers.ask(FUSE_LINK, 1, raw(fuse_link_in{other}) + zero_ended("second")), EEXIST);
  EXPECT_EQ(servers.ask_again(), EEXIST);
}

TEST(Resent, ANameThatIsGoneHasBeenRemoved) {
  Servers servers;
  servers.make_file("file");
  ASSERT_EQ(servers.ask(FUSE_MKDIR, 1, raw(fuse_mkdir_in{0700, 0}) + zero_ended("folder")), 0);
  EXPECT_EQ(servers.ask_twice(FUSE_UNLINK, 1, zero_ended("file")), 0);
  EXPECT_EQ(servers.look("file"), 0U);
  EXPECT_EQ(servers.ask_twice(FUSE_RMDIR, 1, zero_ended("folder")), 0);
  EXPECT_EQ(servers.look("folder"), 0U);
  EXPECT_EQ(servers.ask(FUSE_UNLINK, 1, zero_ended("file")), ENOENT) << "the first time it is an error";
  EXPECT_EQ(servers.ask(FUSE_RMDIR, 1, zero_ended("folder")), ENOENT);
}

TEST(Resent, ARenameMovesOnce) {
  Servers servers;
  const std::uint64_t file = servers.make_file("a");
  servers.make_file("b");
  EXPECT_EQ(servers.ask_twice(FUSE_RENAME, 1, raw(fuse_rename_in{1}) + names("a", "b")), 0);
  EXPECT_EQ(servers.look("b"), file);
  EXPECT_EQ(servers.look("a"), 0U);
  EXPECT_EQ(servers.ask_twice(FUSE_RENAME2, 1, rename_body(RENAME_NOREPLACE, "b", "c")), 0);
  EXPECT_EQ(servers.look("c"), file);
  EXPECT_EQ(servers.ask(FUSE_RENAME, 1, raw(fuse_rename_in{1}) + names("a", "b")), ENOENT);
}

TEST(Resent, AnExchangeDoesNotUndoItself) {
  Servers servers;
  const std::uint64_t first = servers.make_file("first");
  const std::uint64_t second = servers.make_file("second");
  EXPECT_EQ(servers.ask_twice(FUSE_RENAME2, 1, rename_body(RENAME_EXCHANGE, "first", "second")), 0);
  EXPECT_EQ(servers.look("first"), second);
  EXPECT_EQ(servers.look("second"), first);
}

TEST(Resent, AnExchangeThatWasOnlyReadIsExecuted) {
  Servers servers;
  const std::uint64_t first = servers.make_file("first");
  const std::uint64_t second = servers.make_file("second");
  EXPECT_EQ(servers.ask(FUSE_RENAME2, 1, rename_body(RENAME_EXCHANGE, "first", "second")), 0);
  servers.die();
  EXPECT_EQ(servers.ask_again(), 0) << "there is no note of it";
  EXPECT_EQ(servers.look("first"), first);
  EXPECT_EQ(servers.look("second"), second);
}

TEST(Resent, AWhiteoutOfAWhiteoutMovesOnce) {
  Servers servers;
  ASSERT_EQ(servers.ask(FUSE_MKNOD, 1, raw(fuse_mknod_in{S_IFCHR, 0, 0, 0}) + zero_ended("a")), 0);
  const std::uint64_t whiteout = servers.body_as<fuse_entry_out>().nodeid;
  EXPECT_EQ(servers.ask_twice(FUSE_RENAME2, 1, rename_body(RENAME_WHITEOUT, "a", "b")), 0);
  EXPECT_EQ(servers.look("b"), whiteout);
  EXPECT_NE(servers.look("a"), whiteout);
  EXPECT_NE(servers.look("a"), 0U);
}

TEST(Resent, AnAttributeIsCreatedOnceAndRemovedOnce) {
  Servers servers;
  const std::uint64_t file = servers.make_file("file");
  EXPECT_EQ(servers.ask_twice(FUSE_SETXATTR, file, setxattr_body(XATTR_CREATE, "user.a")), 0);
  EXPECT_EQ(servers.ask_twice(FUSE_SETXATTR, file, setxattr_body(XATTR_CREATE, "user.a")), EEXIST)
      << "it was there before the first time";
  EXPECT_EQ(servers.ask_twice(FUSE_SETXATTR, file, setxattr_body(XATTR_REPLACE, "user.a")), 0);
  EXPECT_EQ(servers.ask_twice(FUSE_REMOVEXATTR, file, zero_ended("user.a")), 0);
  EXPECT_EQ(servers.ask_twice(FUSE_REMOVEXATTR, file, zero_ended("user.a")), ENODATA) << "it was gone before";
}

TEST(Resent, AnAppendToAFileThatOnlyGrowsIsThereOnce) {
  Servers servers;
  const std::uint64_t file = servers.make_file("log");
  ASSERT_TRUE(servers.file_system->set_flags({}, InodeNo(file), kInodeAppendOnly));
  ASSERT_TRUE(servers.file_system->volume().make_written(servers.file_system->volume().committed()));
  fuse_write_in write{};
  write.size = 8192;
  write.write_flags = FUSE_WRITE_CACHE;
  EXPECT_EQ(servers.ask_twice(FUSE_WRITE, file, raw(write) + std::string(8192, 'a')), 0);
  EXPECT_EQ(servers.body_as<fuse_write_out>().size, 8192U);
  // Of the second, the first page is there already.
  EXPECT_EQ(servers.ask(FUSE_WRITE, file, raw(write) + std::string(8192, 'b')), EPERM);
  write.offset = 4096;
  write.size = 12288;
  servers.ask(FUSE_WRITE, file, raw(write) + std::string(12288, 'c'));
  EXPECT_EQ(servers.ask_again(), 0);
  EXPECT_EQ(servers.body_as<fuse_write_out>().size, 12288U);
  EXPECT_EQ(servers.file_system->attributes(InodeNo(file))->size_bytes, 16384U);
}

TEST(Resent, ANoteOfAnEarlierServerMakesRoomWhenAllPlacesAreTaken) {
  const HandoverPtr handover = make_handover().value();
  Notes notes(handover.get());
  handover->server.store(1);
  {
    std::vector<Notes::Note> old;
    for (std::uint64_t i = 1; i <= Handover::kNotes; ++i) old.push_back(notes.write(i, i, 0));
    EXPECT_FALSE(notes.write(1000, 0, 0)) << "all are in use";
    handover->server.store(2);
    const Notes::Note found = notes.find(2 | kUniqueResend);
    ASSERT_TRUE(found);
    EXPECT_EQ(found.first(), 2U);
    const Notes::Note fresh = notes.write(1001, 5, 6);
    ASSERT_TRUE(fresh);
    EXPECT_EQ(notes.find(2).first(), 2U) << "one in use by this server is left alone";
  }
  EXPECT_FALSE(notes.find(2)) << "erased with its request";
}

}  // namespace
}  // namespace weft::fs::fuse
