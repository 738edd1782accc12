// A log that does not fit the tree: mounting refuses it, and a repair ends it where it stops to fit.
#include <gtest/gtest.h>

#include "tests/fs/check/block_damage.h"
#include "tests/fs/check/check_fixture.h"

namespace weft::fs::test {
namespace {

TEST(LogRepair, EndsALogThatDoesNotFitTheTreeWhereItStopsToFit) {
  DiskImage image(8 * kMiB);
  {
    Mounted m(8 * kMiB);
    m.write(m.file(kTop, "kept"), 0, "kept");
    m.file(kTop, "gone");
    ASSERT_OK(m->volume().checkpoint());
    m.file(kTop, "before");
    ASSERT_OK(m->sync());
    ASSERT_OK(m->unlink({}, kTop, "gone"));
    m.file(kTop, "after");
    ASSERT_OK(m->sync());
    image = m.disk.copy();
  }
  MemoryDisk damaged(std::move(image));
  unfit_last_erasure(damaged);
  FileSystemOptions options;
  options.volume.background = false;
  EXPECT_EQ(code(FileSystem::mount(damaged, options)), Errc::kCorrupt);
  const std::string found = problems_of(damaged.copy());
  EXPECT_NE(found.find("the log cannot be replayed"), std::string::npos) << found;
  check::CheckOptions safe;
  safe.repair = true;
  safe.only_safe = true;
  const auto careful = check::check_volume(damaged, safe);
  ASSERT_OK(careful);
  EXPECT_NE(careful->uncorrected, 0u) << "throws acknowledged changes away: not unasked";

  check::CheckOptions repair;
  repair.repair = true;
  const auto report = check::check_volume(damaged, repair);
  ASSERT_OK(report);
  EXPECT_EQ(report->uncorrected, 0u) << text_of(*report);
  EXPECT_EQ(problems_of(damaged.copy()), "");
  Mounted m(damaged.copy());
  EXPECT_EQ(m.read(m.find(kTop, "kept")), "kept");
  EXPECT_TRUE(m->lookup(kTop, "before"));
  EXPECT_TRUE(m->lookup(kTop, "gone"));
  EXPECT_EQ(code(m->lookup(kTop, "after")), Errc::kNotFound);
}

}  // namespace
}  // namespace weft::fs::test
