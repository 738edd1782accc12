// tests/fs/power_test.cc - the power goes off at every write of each basic operation: what is found afterwards is the tree of
// before or of after, and that of after once fsync has said so.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <vector>

#include "tests/fs/check/check_fixture.h"
#include "tests/support/mounted.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

struct Operation {
  const char* name;
  std::function<void(Mounted&)> prepare;
  std::function<Status(Mounted&)> run;
};

Status dropped(const Result<Attributes>& result, Mounted& m) {
  if (!result) return fail(result.error());
  m->forget(result->inode, 1);
  return {};
}
template <typename T>
Status status_of(const Result<T>& result) {
  if (!result) return fail(result.error());
  return {};
}

const std::string kBig(300'000, 'b');

// Answered before its data is on the device.
Status behind(Mounted& m, InodeNo file, std::uint64_t offset, const std::string& text) {
  return status_of(m->write(file, offset, to_bytes(text), false, false, [](std::size_t) {}));
}

std::vector<Operation> operations() {
  const auto nothing = [](Mounted&) {};
  const auto a_file = [](Mounted& m) { m.write(m.file(kTop, "a"), 0, std::string(50'000, 'a')); };
  const auto f = [](Mounted& m) { return m.find(kTop, "a"); };
  return {
      {"create", nothing, [](Mounted& m) { return dropped(m->make_node({}, kTop, "n", {.mode = 0100644}), m); }},
      {"mkdir", nothing, [](Mounted& m) { return dropped(m->make_directory({}, kTop, "d", 0755), m); }},
      {"symlink", nothing,
       [](Mounted& m) { return dropped(m->make_symlink({}, kTop, "l", std::string(2500, 't')), m); }},
      {"link", a_file, [=](Mounted& m) { return dropped(m->link(f(m), kTop, "b"), m); }},
      {"unlink", a_file, [](Mounted& m) { return m->unlink({}, kTop, "a"); }},
      {"rmdir", [](Mounted& m) { m.directory(kTop, "d"); },
       [](Mounted& m) { return m->remove_directory({}, kTop, "d"); }},
      {"rename over",
       [=](Mounted& m) {
         a_file(m);
         m.write(m.file(kTop, "b"), 0, "other");
       },
       [](Mounted& m) { return m->rename({}, kTop, "a", kTop, "b", 0); }},
      {"exchange",
       [=](Mounted& m) {
         a_file(m);
         m.file(m.directory(kTop, "d"), "x");
       },
       [](Mounted& m) { return m->rename({}, kTop, "a", kTop, "d", 2); }},
      {"move with whiteout",
       [=](Mounted& m) {
         a_file(m);
         m.directory(kTop, "d");
       },
       [](Mounted& m) { return m->rename({}, kTop, "a", m.find(kTop, "d"), "b", 4); }},
      {"write of whole blocks", a_file,
       [=](Mounted& m) { return status_of(m->write(f(m), 8192, to_bytes(std::string(65'536, 'w')), false)); }},
      {"write of parts of blocks", a_file,
       [=](Mounted& m) { return status_of(m->write(f(m), 777, to_bytes(std::string(9'000, 'w')), false)); }},
      {"small append", a_file,
       [=](Mounted& m) { return status_of(m->write(f(m), 0, to_bytes("appended"), false, true)); }},
      {"big write", a_file, [=](Mounted& m) { return status_of(m->write(f(m), 0, to_bytes(kBig), false)); }},
      {"write behind", a_file, [=](Mounted& m) { return behind(m, f(m), 8192, std::string(65'536, 'w')); }},
      {"write of parts of blocks behind", a_file,
       [=](Mounted& m) { return behind(m, f(m), 777, std::string(9'000, 'w')); }},
      {"big write behind", a_file, [=](Mounted& m) { return behind(m, f(m), 0, kBig); }},
      {"write behind into reserved blocks",
       [=](Mounted& m) {
         a_file(m);
         EXPECT_OK(m->allocate(f(m), AllocateMode::kReserve, 0, 200'000));
       },
       [=](Mounted& m) { return behind(m, f(m), 40'000, std::string(50'000, 'w')); }},
      {"write into reserved blocks",
       [=](Mounted& m) {
         a_file(m);
         EXPECT_OK(m->allocate(f(m), AllocateMode::kReserve, 0, 200'000));
       },
       [=](Mounted& m) { return status_of(m->write(f(m), 40'000, to_bytes(std::string(50'000, 'w')), false)); }},
      {"truncate", a_file,
       [=](Mounted& m) {
         return status_of(m->set_attributes({}, f(m), {.fields = AttributeChange::kSize, .size_bytes = 777}));
       }},
      {"truncate of many extents",
       [=](Mounted& m) {
         const InodeNo file = m.file(kTop, "a");
         for (int i = 0; i < 100; ++i) m.write(file, std::uint64_t(i) * 8192, "x");
       },
       [=](Mounted& m) {
         return status_of(m->set_attributes({}, f(m), {.fields = AttributeChange::kSize, .size_bytes = 8193}));
       }},
      {"unlink of many extents",
       [=](Mounted& m) {
         const InodeNo file = m.file(kTop, "a");
         for (int i = 0; i < 100; ++i) m.write(file, std::uint64_t(i) * 8192, "x");
       },
       [](Mounted& m) { return m->unlink({}, kTop, "a"); }},
      {"punch", a_file, [=](Mounted& m) { return m->allocate(f(m), AllocateMode::kPunchHole, 5'000, 20'000); }},
      {"reserve", a_file, [=](Mounted& m) { return m->allocate(f(m), AllocateMode::kReserve, 5'000, 100'000); }},
      {"zero range", a_file,
       [=](Mounted& m) { return m->allocate(f(m), AllocateMode::kZeroRangeKeepSize, 5'000, 100'000); }},
      {"chmod", a_file,
       [=](Mounted& m) {
         return status_of(m->set_attributes({}, f(m), {.fields = AttributeChange::kMode, .mode = 0600}));
       }},
      {"long xattr", a_file,
       [=](Mounted& m) {
         return m->set_xattr({}, f(m), "user.x", to_bytes(std::string(6'000, 'x')), FileSystem::XattrMode::kEither,
                             false);
       }},
      {"checkpoint", a_file, [](Mounted& m) { return m->volume().checkpoint(); }},
  };
}

std::string tree_of(Mounted& m) {
  const auto tree = take_snapshot(*m.fs);
  EXPECT_TRUE(tree.has_value()) << tree.error().message();
  if (!tree) return "";
  EXPECT_EQ(m->volume().space().inode_count, count_inodes(*tree));
  return describe(*tree);
}

TEST(Power, GoingOffAtAnyWriteLeavesTheTreeOfBeforeOrAfter) {
  for (const Operation& operation : operations()) {
    SCOPED_TRACE(operation.name);
    std::string before;
    std::string after;
    {
      Mounted m(8 * kMiB);
      operation.prepare(m);
      before = tree_of(m);
      ASSERT_OK(operation.run(m));
      after = tree_of(m);
      m.remount();
      ASSERT_EQ(tree_of(m), after);
    }
    bool cut = true;
    std::uint64_t cuts = 0;
    for (std::uint64_t n = 1; cut && !testing::Test::HasFailure(); ++n) {
      SCOPED_TRACE("power off at write " + std::to_string(n));
      Mounted m(8 * kMiB);
      operation.prepare(m);
      ASSERT_OK(m->sync());
      m.disk.cut_power_at_write(n);
      const bool acknowledged = operation.run(m).has_value() && m->sync().has_value();
      cut = !m.disk.powered();
      ASSERT_FALSE(cut && acknowledged);
      cuts += cut;
      m.fs.reset();
      m.disk.crash();
      EXPECT_EQ(problems_of(m.disk.copy()), "");
      m.mount();
      const std::string found = tree_of(m);
      if (acknowledged) {
        EXPECT_EQ(found, after);
      } else {
        EXPECT_TRUE(found == before || found == after) << "before:\n"
                                                       << before << "after:\n"
                                                       << after << "found:\n"
                                                       << found;
      }
      // And the volume goes on working.
      m.write(m.file(kTop, "next"), 0, "works");
      m.remount();
      EXPECT_EQ(problems_of(m.disk.copy()), "");
      EXPECT_EQ(m.read(m.find(kTop, "next")), "works");
    }
    EXPECT_GE(cuts, 1u);
  }
}

// Freeing an inode of many keys takes several transactions, and behind a small cache checkpoints come between them.
TEST(Power, GoingOffWhileAnInodeIsFreedLeavesNothingToRepair) {
  FileSystemOptions small;
  small.volume.background = false;
  small.volume.cache_bytes = 4 * kBlockBytes;
  bool cut = true;
  for (std::uint64_t n = 1; cut && !testing::Test::HasFailure(); ++n) {
    SCOPED_TRACE("power off at write " + std::to_string(n));
    Mounted m(8 * kMiB);
    m.fs.reset();
    small.volume.clock = &m.clock;
    m.fs = FileSystem::mount(m.disk, small).value();
    const auto link = m->make_symlink({}, kTop, "l", std::string(4095, 't'));
    ASSERT_OK(link);
    m->forget(link->inode, 1);
    for (const InodeNo inode : {link->inode, m.file(kTop, "a")}) {
      for (const char* name : {"trusted.x", "trusted.y"})
        ASSERT_OK(
            m->set_xattr({}, inode, name, to_bytes(std::string(30'000, 'x')), FileSystem::XattrMode::kEither, false));
    }
    ASSERT_OK(m->sync());
    m.disk.cut_power_at_write(n);
    static_cast<void>(m->unlink({}, kTop, "l"));
    static_cast<void>(m->unlink({}, kTop, "a"));
    static_cast<void>(m->sync());
    cut = !m.disk.powered();
    m.fs.reset();
    m.disk.crash();
    EXPECT_EQ(problems_of(m.disk.copy()), "");
    m.mount();
    m.remount();
    EXPECT_EQ(problems_of(m.disk.copy()), "");
  }
}

TEST(Power, AnUnlinkedOpenFileIsReclaimedAfterACrash) {
  Mounted m;
  const std::uint64_t free = [&] {
    m.file(kTop, "keep");
    EXPECT_OK(m->volume().checkpoint());
    return m->volume().space().free_blocks;
  }();
  const auto file = m->make_node({}, kTop, "a", {.mode = 0100644});
  ASSERT_OK(file);
  m.write(file->inode, 0, kBig);
  ASSERT_OK(m->unlink({}, kTop, "a"));
  const auto temporary = m->make_temporary({}, kTop, 0600);
  ASSERT_OK(temporary);
  m.write(temporary->inode, 0, kBig);
  ASSERT_OK(m->sync());
  EXPECT_EQ(m->volume().space().inode_count, 4u);
  m.crash();
  EXPECT_EQ(m->volume().space().inode_count, 2u);
  EXPECT_EQ(code(m->by_number(file->inode)), Errc::kStale);
  EXPECT_EQ(code(m->by_number(temporary->inode)), Errc::kStale);
  ASSERT_OK(m->volume().checkpoint());
  EXPECT_GE(m->volume().space().free_blocks + 4, free);
}

TEST(Power, FsyncOfOneFileKeepsItAndItsName) {
  Mounted m;
  const InodeNo file = m.file(m.directory(kTop, "d"), "a");
  m.write(file, 0, kBig);
  ASSERT_OK(m->fsync(file, true));
  m.crash();
  EXPECT_EQ(m.read(m.find(m.find(kTop, "d"), "a")), kBig);
}

TEST(Power, AWriteErrorIsReportedAndNothingChanges) {
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  m.write(file, 0, "before");
  m.disk.inject({.op = BlockOp::kWrite, .kind = SimDisk::FaultKind::kError});
  EXPECT_EQ(code(m->write(file, 0, to_bytes("after!"), false)), Errc::kIo);
  EXPECT_EQ(m.read(file), "before");
  m.write(file, 0, "after!");
  EXPECT_EQ(m.read(file), "after!");
}

}  // namespace
}  // namespace weft::fs::test
