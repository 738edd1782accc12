#include <gtest/gtest.h>

#include <algorithm>

#include "fs/acl.h"
#include "kernel/bytes.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

using Mode = FileSystem::XattrMode;

std::string text(const Result<std::vector<std::byte>>& value) {
  if (!value) return "(" + value.error().message() + ")";
  return {reinterpret_cast<const char*>(value->data()), value->size()};
}

struct AclEntry {
  std::uint16_t tag, permissions;
  std::uint32_t id = ~0u;
};
std::vector<std::byte> acl(std::initializer_list<AclEntry> entries) {
  std::vector<std::byte> out;
  const auto add = [&](auto value) {
    const auto bytes = as_bytes_of(value);
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  add(le32(2));
  for (const AclEntry& entry : entries) add(le16(entry.tag)), add(le16(entry.permissions)), add(le32(entry.id));
  return out;
}

TEST(Xattr, ValuesOfEveryLengthAreKeptAcrossARemount) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  EXPECT_EQ(code(m->get_xattr(file, "user.a")), Errc::kNoData);
  for (const std::size_t size : {0, 1, 900, 1100, 1024, 4096}) {
    ASSERT_OK(m->set_xattr(kRoot, file, "user.n" + std::to_string(size), to_bytes(std::string(size, 'v')),
                           Mode::kEither, false));
  }
  m.remount();
  for (const std::size_t size : {0, 1, 900, 1100, 1024, 4096})
    EXPECT_EQ(text(m->get_xattr(file, "user.n" + std::to_string(size))), std::string(size, 'v'));
  EXPECT_EQ(m->list_xattrs(file).value().size(), 6u);
  ASSERT_OK(m->set_xattr(kRoot, file, "user.n4096", to_bytes("short"), Mode::kReplace, false));
  EXPECT_EQ(text(m->get_xattr(file, "user.n4096")), "short");
  const auto names = m->list_xattrs(file).value();
  for (const std::string& name : names) EXPECT_OK(m->remove_xattr(kRoot, file, name));
  EXPECT_TRUE(m->list_xattrs(file)->empty());
}

TEST(Xattr, TheLongestValueFits) {
  Mounted m(256 * kMiB);
  const InodeNo file = m.file(kTop, "f");
  ASSERT_OK(m->set_xattr(kRoot, file, "user.long", to_bytes(std::string(65536, 'v')), Mode::kCreate, false));
  EXPECT_EQ(text(m->get_xattr(file, "user.long")), std::string(65536, 'v'));
  EXPECT_EQ(code(m->set_xattr(kRoot, file, "user.long", to_bytes(std::string(65537, 'v')), Mode::kEither, false)),
            Errc::kOutOfRange);
  const std::string name = "user." + std::string(250, 'n');
  EXPECT_OK(m->set_xattr(kRoot, file, name, to_bytes("x"), Mode::kEither, false));
  EXPECT_EQ(code(m->set_xattr(kRoot, file, name + "n", to_bytes("x"), Mode::kEither, false)), Errc::kOutOfRange);
}

TEST(Xattr, ModesAndNamesAreChecked) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  EXPECT_EQ(code(m->set_xattr(kRoot, file, "user.a", to_bytes("1"), Mode::kReplace, false)), Errc::kNoData);
  EXPECT_OK(m->set_xattr(kRoot, file, "user.a", to_bytes("1"), Mode::kCreate, false));
  EXPECT_EQ(code(m->set_xattr(kRoot, file, "user.a", to_bytes("2"), Mode::kCreate, false)), Errc::kExists);
  EXPECT_EQ(code(m->set_xattr(kRoot, file, "other.a", to_bytes("2"), Mode::kEither, false)), Errc::kUnsupported);
  EXPECT_EQ(code(m->set_xattr(kRoot, file, "user.", to_bytes("2"), Mode::kEither, false)), Errc::kInvalid);
  EXPECT_EQ(code(m->remove_xattr(kRoot, file, "user.b")), Errc::kNoData);
}

TEST(Acl, SettingOneChangesTheModeAndChmodChangesTheMask) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f", 0102755);
  const auto named = acl({{0x01, 7}, {0x02, 6, 1000}, {0x04, 5}, {0x10, 6}, {0x20, 4}});
  ASSERT_OK(m->set_xattr(kRoot, file, std::string(kAccessAclName), named, Mode::kEither, true));
  EXPECT_EQ(m.attributes(file).mode, 0100764u);
  EXPECT_EQ(m->get_xattr(file, kAccessAclName).value(), named);
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = AttributeChange::kMode, .mode = 0740}));
  EXPECT_EQ(m->get_xattr(file, kAccessAclName).value(),
            acl({{0x01, 7}, {0x02, 6, 1000}, {0x04, 5}, {0x10, 4}, {0x20, 0}}));
  // One that permission bits can say is not kept.
  ASSERT_OK(m->set_xattr(kRoot, file, kAccessAclName, acl({{0x01, 6}, {0x04, 4}, {0x20, 0}}), Mode::kEither, false));
  EXPECT_EQ(m.attributes(file).mode, 0100640u);
  EXPECT_EQ(code(m->get_xattr(file, kAccessAclName)), Errc::kNoData);
  EXPECT_EQ(code(m->set_xattr(kRoot, file, kDefaultAclName, named, Mode::kEither, false)), Errc::kAccessDenied);
  EXPECT_EQ(code(m->set_xattr(kRoot, file, kAccessAclName, acl({{0x01, 6}, {0x20, 0}}), Mode::kEither, false)),
            Errc::kInvalid);
  EXPECT_OK(m->remove_xattr(kRoot, file, kAccessAclName));
}

TEST(Acl, TheDefaultOneIsInheritedInsteadOfTheUmask) {
  Mounted m;
  const InodeNo parent = m.directory(kTop, "p");
  const auto inherited = acl({{0x01, 7}, {0x02, 7, 1000}, {0x04, 5}, {0x10, 7}, {0x20, 5}});
  ASSERT_OK(m->set_xattr(kRoot, parent, kDefaultAclName, inherited, Mode::kEither, false));
  const Caller caller{.umask = 077};
  const auto file = m->make_node(caller, parent, "f", {.mode = 0100664});
  ASSERT_OK(file);
  EXPECT_EQ(file->mode, 0100664u);
  EXPECT_EQ(m->get_xattr(file->inode, kAccessAclName).value(),
            acl({{0x01, 6}, {0x02, 7, 1000}, {0x04, 5}, {0x10, 6}, {0x20, 4}}));
  EXPECT_EQ(code(m->get_xattr(file->inode, kDefaultAclName)), Errc::kNoData);
  const auto directory = m->make_directory(caller, parent, "d", 0755);
  ASSERT_OK(directory);
  EXPECT_EQ(m->get_xattr(directory->inode, kDefaultAclName).value(), inherited);
  EXPECT_EQ(directory->mode, 040755u);
  EXPECT_EQ(m->list_xattrs(directory->inode)->size(), 2u);
  EXPECT_OK(m->make_symlink(caller, parent, "l", "x"));
  EXPECT_EQ(m->make_node(caller, kTop, "g", {.mode = 0100666})->mode, 0100600u);
}

}  // namespace
}  // namespace weft::fs::test
