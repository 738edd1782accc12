#include "tools/mount_options.h"

#include <gtest/gtest.h>
#include <sys/mount.h>

namespace weft::tools {
namespace {

Result<MountOptions> parse(std::vector<std::string> words, bool by_mount = false) {
  return parse_mount_options(words, by_mount);
}

TEST(MountOptions, TakesImageAndDirectoryWhereverTheyStand) {
  const auto options = parse({"-v", "disk.img", "-o", "ro,noatime", "/mnt"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->image, "disk.img");
  EXPECT_EQ(options->directory, "/mnt");
  EXPECT_TRUE(options->read_only());
  EXPECT_TRUE(options->verbose);
  EXPECT_EQ(options->flags, static_cast<unsigned long>(MS_RDONLY | MS_NOATIME));
}

TEST(MountOptions, LetsTheLastOfContraryOptionsWin) {
  EXPECT_FALSE(parse({"a", "b", "-oro", "-o", "rw"})->read_only());
  EXPECT_EQ(parse({"a", "b", "-o", "user,exec"})->flags, static_cast<unsigned long>(MS_NOSUID | MS_NODEV));
}

TEST(MountOptions, KnowsWhatFstabMaySay) {
  const auto options =
      parse({"a", "b", "-o", "defaults,noauto,nofail,_netdev,x-systemd.automount,comment=x,user"}, true);
  EXPECT_TRUE(options) << options.error().message();
}

TEST(MountOptions, NamesAnOptionItDoesNotKnow) {
  const auto options = parse({"a", "b", "-o", "ro,nobarrier"});
  ASSERT_FALSE(options);
  EXPECT_NE(options.error().message().find("nobarrier"), std::string::npos);
  EXPECT_TRUE(parse({"a", "b", "-s", "-o", "ro,nobarrier"})) << "sloppy";
  EXPECT_FALSE(parse({"a", "b", "-x"}));
  EXPECT_FALSE(parse({"a", "b", "--frobnicate"}));
}

TEST(MountOptions, ReadsSizesAndNumbersWithinTheirBounds) {
  const auto options = parse({"a", "b", "-o", "memory=1G,commit=30,workers=3"});
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->memory_bytes, 1ULL << 30);
  EXPECT_EQ(options->commit_interval_ms, 30000U);
  EXPECT_EQ(options->workers, 3U);
  for (const char* wrong : {"memory=lots", "memory=", "memory=31M", "commit=0", "workers=-1", "workers=9x",
                            "io_uring=maybe", "open=wide"}) {
    EXPECT_FALSE(parse({"a", "b", "-o", wrong})) << wrong;
  }
}

TEST(MountOptions, ConfinesAsFarAsTheMachineLetsItUnlessTold) {
  EXPECT_EQ(parse({"a", "b"})->confine, Confine::kAuto);
  EXPECT_EQ(parse({"a", "b", "-o", "confine=on"})->confine, Confine::kOn);
  EXPECT_EQ(parse({"a", "b", "-o", "confine=on,confine=off"})->confine, Confine::kOff);
  EXPECT_EQ(parse({"a", "b", "-o", "confine=off,confine=auto"})->confine, Confine::kAuto);
  EXPECT_FALSE(parse({"a", "b", "-o", "confine=a little"}));
}

TEST(MountOptions, OpensCheckedUnlessToldToBeFast) {
  EXPECT_TRUE(parse({"a", "b"})->check_open);
  EXPECT_FALSE(parse({"a", "b", "-o", "open=fast"})->check_open);
  EXPECT_TRUE(parse({"a", "b", "-o", "open=fast,open=checked"})->check_open);
}

TEST(MountOptions, SupervisesWhenAskedAndWatchesUnlessToldNotTo) {
  EXPECT_FALSE(parse({"a", "b"})->supervise);
  EXPECT_TRUE(parse({"a", "b", "-o", "supervise"})->supervise);
  EXPECT_FALSE(parse({"a", "b", "-o", "supervise,nosupervise"})->supervise);
  EXPECT_EQ(parse({"a", "b"})->watchdog_seconds, 120U);
  EXPECT_EQ(parse({"a", "b", "-o", "watchdog=0"})->watchdog_seconds, 0U);
  EXPECT_FALSE(parse({"a", "b", "-o", "watchdog=soon"}));
}

TEST(MountOptions, TakesFilesOfTraceAndMetricsInEveryWayOfWritingThem) {
  const auto spaced = parse({"a", "b", "--trace", "t.json", "--metrics", "m.prom"});
  const auto joined = parse({"a", "b", "--trace=t.json", "--metrics=m.prom"});
  const auto listed = parse({"a", "b", "-o", "trace=t.json,metrics=m.prom"});
  for (const auto* options : {&spaced, &joined, &listed}) {
    ASSERT_TRUE(*options) << options->error().message();
    EXPECT_EQ((*options)->trace_file, "t.json");
    EXPECT_EQ((*options)->metrics_file, "m.prom");
  }
  EXPECT_FALSE(parse({"a", "b", "-o", "metrics="}));
}

TEST(MountOptions, UnderstandsMinusFAsItsCallerDoes) {
  EXPECT_TRUE(parse({"a", "b", "-f"})->foreground);
  EXPECT_FALSE(parse({"a", "b", "-f"})->fake);
  EXPECT_TRUE(parse({"a", "b", "-f"}, true)->fake);
}

TEST(MountOptions, PassesOverWhatMountAddsForItself) {
  const auto options = parse({"a", "b", "-n", "-N", "/proc/1/ns/mnt", "-t", "fuse.weft", "-o", "rw"}, true);
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->directory, "b");
}

TEST(MountOptions, WantsExactlyTwoPlaces) {
  EXPECT_FALSE(parse({"a"}));
  EXPECT_FALSE(parse({"a", "b", "c"}));
  EXPECT_TRUE(parse({"--help"}));
}

}  // namespace
}  // namespace weft::tools
