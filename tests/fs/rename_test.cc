#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

constexpr std::uint32_t kNoReplaceFlag = 1, kExchangeFlag = 2, kWhiteoutFlag = 4;

TEST(Rename, MovesReplacesAndKeepsCounts) {
  Mounted m;
  const InodeNo a = m.directory(kTop, "a"), b = m.directory(kTop, "b"), c = m.directory(a, "c");
  const InodeNo f = m.file(a, "f"), g = m.file(b, "g");
  EXPECT_OK(m->rename(kRoot, a, "f", b, "g", 0));
  EXPECT_EQ(m.find(b, "g"), f);
  EXPECT_EQ(m.find(a, "f"), InodeNo{});
  EXPECT_EQ(code(m->attributes(g)), Errc::kStale);
  EXPECT_OK(m->rename(kRoot, a, "c", b, "c", 0));
  EXPECT_EQ(m.attributes(a).links, 2u);
  EXPECT_EQ(m.attributes(b).links, 3u);
  EXPECT_EQ(m.find(c, ".."), b);
  EXPECT_OK(m->rename(kRoot, b, "c", kTop, "a", 0));
  EXPECT_EQ(m.find(kTop, "a"), c);
  EXPECT_EQ(code(m->attributes(a)), Errc::kStale);
  EXPECT_EQ(m.attributes(kTop).links, 4u);
}

TEST(Rename, RefusesWhatLinuxRefuses) {
  Mounted m;
  const InodeNo a = m.directory(kTop, "a"), b = m.directory(a, "b");
  m.file(kTop, "f");
  m.file(kTop, "g");
  EXPECT_EQ(code(m->rename(kRoot, kTop, "none", kTop, "x", 0)), Errc::kNotFound);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "a", b, "x", 0)), Errc::kInvalid);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "a", a, "x", 0)), Errc::kInvalid);
  EXPECT_EQ(code(m->rename(kRoot, a, "b", kTop, "a", 0)), Errc::kNotEmpty);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "f", kTop, "a", 0)), Errc::kIsDirectory);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "a", kTop, "f", 0)), Errc::kNotDirectory);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "f", kTop, "g", kNoReplaceFlag)), Errc::kExists);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "f", kTop, "x", kExchangeFlag)), Errc::kNotFound);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "a", b, "x", kNoReplaceFlag)), Errc::kInvalid);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "f", kTop, "g", kNoReplaceFlag | kExchangeFlag)), Errc::kInvalid);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "f", kTop, "g", 8)), Errc::kInvalid);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "f", kTop, std::string(256, 'x'), 0)), Errc::kNameTooLong);
}

TEST(Rename, ExchangeSwapsAnyTwo) {
  Mounted m;
  const InodeNo a = m.directory(kTop, "a"), d = m.directory(a, "d"), f = m.file(kTop, "f");
  EXPECT_OK(m->rename(kRoot, a, "d", kTop, "f", kExchangeFlag));
  EXPECT_EQ(m.find(kTop, "f"), d);
  EXPECT_EQ(m.find(a, "d"), f);
  EXPECT_EQ(m.find(d, ".."), kTop);
  EXPECT_EQ(m.attributes(a).links, 2u);
  EXPECT_EQ(m.attributes(kTop).links, 4u);
  EXPECT_EQ(code(m->rename(kRoot, kTop, "a", a, "d", kExchangeFlag)), Errc::kInvalid);
}

TEST(Rename, WhiteoutLeavesACharacterDevice) {
  Mounted m;
  const InodeNo f = m.file(kTop, "f");
  EXPECT_OK(m->rename(kRoot, kTop, "f", kTop, "g", kWhiteoutFlag));
  EXPECT_EQ(m.find(kTop, "g"), f);
  const Attributes left = m.attributes(m.find(kTop, "f"));
  EXPECT_EQ(left.mode, static_cast<std::uint32_t>(S_IFCHR));
  EXPECT_EQ(left.device, 0u);
}

TEST(Rename, TwoNamesOfOneFileBothStay) {
  Mounted m;
  const InodeNo f = m.file(kTop, "f");
  ASSERT_OK(m->link(f, kTop, "g"));
  EXPECT_OK(m->rename(kRoot, kTop, "f", kTop, "g", 0));
  EXPECT_EQ(m.find(kTop, "f"), f);
  EXPECT_EQ(m.find(kTop, "g"), f);
  EXPECT_OK(m->rename(kRoot, kTop, "f", kTop, "f", 0));
}

}  // namespace
}  // namespace weft::fs::test
