#include <gtest/gtest.h>

#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

using Change = AttributeChange;

TEST(Attributes, EachFieldIsSetAndKept) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  const Timespec old{.seconds = -5, .nanoseconds = 999'999'999}, far{.seconds = 1ll << 34, .nanoseconds = 1};
  ASSERT_OK(
      m->set_attributes(kRoot, file,
                        {.fields = Change::kMode | Change::kUid | Change::kGid | Change::kAccessed | Change::kModified,
                         .mode = 01640,
                         .uid = 4'000'000'000,
                         .gid = 7,
                         .accessed = old,
                         .modified = far}));
  m.remount();
  const Attributes got = m.attributes(file);
  EXPECT_EQ(got.mode, 0101640u);
  EXPECT_EQ(got.uid, 4'000'000'000u);
  EXPECT_EQ(got.gid, 7u);
  EXPECT_EQ(got.accessed, old);
  EXPECT_EQ(got.modified, far);
  EXPECT_EQ(code(m->set_attributes(
                kRoot, file, {.fields = Change::kModified, .modified = {.seconds = 1, .nanoseconds = 1'000'000'000}})),
            Errc::kInvalid);
}

TEST(Attributes, OperationsMoveTheTimesThatPosixSays) {
  Mounted m;
  const InodeNo d = m.directory(kTop, "d"), file = m.file(d, "f");
  const Attributes directory = m.attributes(d), before = m.attributes(file);
  m.write(file, 0, "x");
  const Attributes written = m.attributes(file);
  EXPECT_GT(written.modified, before.modified);
  EXPECT_EQ(written.changed, written.modified);
  EXPECT_EQ(written.created, before.created);
  EXPECT_GT(written.version, before.version);
  EXPECT_EQ(m.attributes(d).modified, directory.modified);
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = Change::kMode, .mode = 0600}));
  EXPECT_EQ(m.attributes(file).modified, written.modified);
  EXPECT_GT(m.attributes(file).changed, written.changed);
  ASSERT_OK(m->rename(kRoot, d, "f", d, "g", 0));
  EXPECT_GT(m.attributes(d).modified, directory.modified);
  EXPECT_EQ(m.attributes(file).modified, written.modified);
}

TEST(Attributes, TimesOfAccessFollowRelatimeAndSurviveUnmounting) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, 0, "x");
  EXPECT_LT(m.attributes(file).accessed, m.attributes(file).modified);
  static_cast<void>(m.read(file));
  const Timespec first = m.attributes(file).accessed;
  EXPECT_GT(first, m.attributes(file).modified);
  static_cast<void>(m.read(file));
  EXPECT_EQ(m.attributes(file).accessed, first);
  m.remount();
  EXPECT_EQ(m.attributes(file).accessed, first);
  m.clock.advance(25 * 3600);
  static_cast<void>(m.read(file));
  EXPECT_GT(m.attributes(file).accessed, first);
}

TEST(Attributes, AnotherOwnerTakesSetIdBitsAndCapabilities) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f", 0106755);
  ASSERT_OK(m->set_xattr(kRoot, file, "security.capability", to_bytes("c"), FileSystem::XattrMode::kEither, false));
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = Change::kUid, .uid = 5}));
  EXPECT_EQ(m.attributes(file).mode, 0100755u);
  EXPECT_EQ(code(m->get_xattr(file, "security.capability")), Errc::kNoData);
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = Change::kMode, .mode = 04755}));
  ASSERT_OK(m->set_attributes(kRoot, file, {.fields = Change::kSize | Change::kKillSetId, .size_bytes = 10}));
  EXPECT_EQ(m.attributes(file).mode, 0100755u);
}

TEST(Attributes, FlagsAreKeptInheritedAndChecked) {
  Mounted m;
  const InodeNo d = m.directory(kTop, "d");
  ASSERT_OK(m->set_flags(kRoot, d, kInodeNoCow | kInodeNoDump | kInodeDirSync | kInodeAppendOnly));
  EXPECT_EQ(m.attributes(m.file(d, "f")).flags, kInodeNoCow | kInodeNoDump);
  EXPECT_EQ(m.attributes(m.directory(d, "e")).flags, kInodeNoCow | kInodeNoDump | kInodeDirSync);
  EXPECT_EQ(code(m->set_flags(kRoot, d, 1)), Errc::kUnsupported);
  const InodeNo file = m.file(kTop, "f");
  ASSERT_OK(m->set_flags(kRoot, file, kInodeImmutable));
  EXPECT_EQ(code(m->set_attributes(kRoot, file, {.fields = Change::kMode})), Errc::kNotPermitted);
  EXPECT_EQ(code(m->set_xattr(kRoot, file, "user.a", {}, FileSystem::XattrMode::kEither, false)), Errc::kNotPermitted);
  ASSERT_OK(m->set_project(file, 77));
  EXPECT_EQ(m.attributes(file).project, 77u);
}

TEST(Attributes, TimesOfDataComeAfterItAlsoWhereFlagsForbidOthers) {
  Mounted m;
  m->leave_data_times_to_caller();
  const InodeNo log = m.file(kTop, "log");
  const InodeNo fixed = m.file(kTop, "fixed");
  const auto bring = [&](InodeNo file, std::int64_t later) {
    Timespec time = m.attributes(file).modified;
    time.seconds += later;
    return code(m->set_attributes(kRoot, file,
                                  {.fields = Change::kModified | Change::kChanged, .modified = time, .changed = time}));
  };
  ASSERT_OK(m->set_flags(kRoot, log, kInodeAppendOnly));
  EXPECT_EQ(bring(log, 1), std::nullopt);
  EXPECT_EQ(bring(log, 1), std::nullopt) << "of every append";
  EXPECT_EQ(bring(log, 0), std::nullopt) << "by a clock that ticks seldom";
  EXPECT_EQ(bring(log, -2), Errc::kNotPermitted);
  EXPECT_EQ(code(m->set_attributes(kRoot, log, {.fields = Change::kModified | Change::kChanged | Change::kAccessed})),
            Errc::kNotPermitted);
  ASSERT_OK(m->set_flags(kRoot, fixed, kInodeImmutable));
  EXPECT_EQ(bring(fixed, 1), std::nullopt) << "of what was written before";
  EXPECT_EQ(bring(fixed, 1), Errc::kNotPermitted) << "once";
}

TEST(Attributes, StatsCountWhatIsThere) {
  Mounted m;
  const FileSystemStats before = m->stats();
  m.file(kTop, "f");
  EXPECT_GT(before.total_blocks, 0u);
  EXPECT_LE(before.available_blocks, before.free_blocks);
  EXPECT_GT(m->stats().inodes, m->stats().free_inodes);
}

TEST(Attributes, AReadOnlyMountChangesNothing) {
  Mounted m;
  const InodeNo file = m.file(kTop, "f");
  m.write(file, 0, "text");
  ASSERT_OK(m->sync());
  m.fs.reset();
  FileSystemOptions options;
  options.volume.read_only = true;
  options.volume.background = false;
  options.volume.clock = &m.clock;
  const auto writes = m.disk.counters().writes;
  auto mounted = FileSystem::mount(m.disk, options);
  ASSERT_OK(mounted);
  m.fs = std::move(*mounted);
  EXPECT_EQ(m.read(file), "text");
  EXPECT_EQ(code(m->make_node(kRoot, kTop, "g", {})), Errc::kReadOnly);
  EXPECT_EQ(code(m->unlink(kRoot, kTop, "f")), Errc::kReadOnly);
  EXPECT_OK(m->unmount());
  EXPECT_EQ(m.disk.counters().writes, writes);
}

}  // namespace
}  // namespace weft::fs::test
