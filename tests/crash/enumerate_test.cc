// tests/crash/enumerate_test.cc - a slice of the enumeration that `make crash` does, and whether what it is made of can be relied on:
// that cases read back as they were written, and that bugs which are there are found.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "kernel/crash_states.h"
#include "kernel/random.h"
#include "tests/crash/planted.h"
#include "tests/crash/search.h"
#include "tests/crash/workloads.h"

namespace weft::crash {
namespace {

std::uint64_t seed_of_the_day() {
  const char* given = std::getenv("WEFT_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
}

// Of `workloads` from number `from` on, until one fails or the time is over.
std::optional<Failure> search(const Workloads& workloads, std::uint64_t from, std::uint64_t count, double seconds,
                              SearchOptions options, std::uint64_t& states) {
  Seen contents(1 << 22);
  Seen judged(1 << 22);
  const auto start = std::chrono::steady_clock::now();
  options.enough = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds;
  };
  std::optional<Failure> failure;
  for (std::uint64_t number = from; number < from + count && !failure && !options.enough(); ++number) {
    Search one(contents, judged, options);
    failure = one.run(workloads.at(number).workload);
  }
  states = contents.size();
  return failure;
}

void expect_nothing(std::uint64_t from, double seconds) {
  const std::uint64_t seed = seed_of_the_day();
  const Workloads workloads(seed);
  std::uint64_t states = 0;
  const auto failure = search(workloads, from, 1'000'000, seconds, {.seed = seed}, states);
  std::printf("seed %llu: %llu states\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(states));
  if (failure)
    ADD_FAILURE() << failure->reason << "\nbuild/release/crash/enumerate --replay '" << failure->where.text() << "'";
  EXPECT_GT(states, 0u);
}

TEST(CrashEnumeration, FindsNothingAfterSingleOperations) {
  const Workloads workloads(1);
  expect_nothing(workloads.size(Family::kSpecial), 6);
}

TEST(CrashEnumeration, FindsNothingAfterPairsAndRandomSequences) {
  const Workloads workloads(1);
  expect_nothing(workloads.size(Family::kSpecial) + workloads.size(Family::kSingle), 8);
}

TEST(CrashEnumeration, GivesTheSameVerdictsFromMemoryAsFromMounting) {
  for (const char* text : {"small; write A/x 0 8192; fsync A/x; rename A/x B/n; syncfs",
                           "full; append A/x 3000; syncfs", "small; brim 700; create A/n; syncfs"}) {
    const Life life = live(Workload::parse(text));
    ASSERT_EQ(life.wrong, "");
    Oracle remembers(true);
    Oracle mounts(false);
    for_each_crash_state(life.recording, {}, [&](const CrashState& state) {
      const Verdict a = remembers.judge(state.content);
      const Verdict b = mounts.judge(state.content);
      EXPECT_EQ(a.tree, b.tree) << text;
      EXPECT_EQ(a.wrong, b.wrong) << text;
      return true;
    });
    EXPECT_LT(remembers.recovered(), mounts.recovered());
  }
}

TEST(CrashEnumeration, FindsADiskThatLies) {
  for (const PlantedBug& bug : planted_bugs()) {
    if (bug.disk == DiskBug::kNone) continue;
    SCOPED_TRACE(std::string(bug.name));
    std::uint64_t states = 0;
    const auto failure = search(Workloads(1), 0, 3'000, 20, {.seed = 1, .bug = bug.disk}, states);
    ASSERT_TRUE(failure.has_value()) << "in " << states << " states";
    EXPECT_FALSE(failure->where.crashes.empty()) << "found without a crash: " << failure->reason;
    // And sees it again when told where.
    const Case where = Case::parse(failure->where.text());
    EXPECT_EQ(where.text(), failure->where.text());
    testing::internal::CaptureStdout();
    EXPECT_TRUE(replay(where, bug.disk));
    EXPECT_FALSE(testing::internal::GetCapturedStdout().empty());
  }
}

TEST(CrashEnumeration, LeavesOutWhatAFailureDoesNotNeed) {
  Seen contents(1 << 16);
  Seen judged(1 << 16);
  Search one(contents, judged, {.bug = DiskBug::kNoFlushOfLog});
  const auto failure =
      one.run(Workload::parse("small; chmod A/x 600; mkdir A/n; write A/x 0 4096; fsync A/x; unlink B/z; chown A/y 3"));
  ASSERT_TRUE(failure.has_value());
  const Failure least = one.shrink(*failure);
  EXPECT_EQ(least.where.workload.operations.size(), 2u) << least.where.text();
}

TEST(CrashCase, ReadsBackAsItWasWritten) {
  const std::string text = "small; write A/x 0 100; during 1; fsync A/x @ 12: 0 3-0+1 4+8+4 / 5: / 0:";
  const Case read = Case::parse(text);
  EXPECT_EQ(read.text(), text);
  EXPECT_EQ(read.workload.image, "small");
  ASSERT_EQ(read.crashes.size(), 3u);
  EXPECT_EQ(read.crashes[0].prefix, 12u);
  ASSERT_EQ(read.crashes[0].survivors.size(), 3u);
  EXPECT_TRUE(read.crashes[0].survivors[1].all_but);
  EXPECT_EQ(read.crashes[0].survivors[2].first_sector, 8u);
  EXPECT_EQ(read.crashes[0].survivors[2].sectors, 4u);
}

TEST(CrashWorkloads, AreTheSameForTheSameSeedAndVisitEveryPairOnce) {
  const Workloads a(5), b(5), c(6);
  const std::uint64_t first = a.size(Family::kSpecial) + a.size(Family::kSingle);
  bool differs = false;
  for (std::uint64_t number = 0; number < first + 300; ++number) {
    ASSERT_EQ(a.at(number).workload.text(), b.at(number).workload.text());
    differs = differs || a.at(number).workload.text() != c.at(number).workload.text();
  }
  EXPECT_TRUE(differs);
  EXPECT_EQ(a.at(first).family, Family::kPair);
  EXPECT_EQ(a.at(first + 1).family, Family::kRandom);
  EXPECT_EQ(a.at(a.systematic() + 7).family, Family::kRandom);
}

TEST(Seen, KnowsWhatItHasSeen) {
  Seen seen(1 << 12);
  Random random(3);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(random.next()));
  Random again(3);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(seen.insert(again.next()));
  EXPECT_TRUE(seen.insert(0));
  EXPECT_FALSE(seen.insert(0));
  EXPECT_EQ(seen.size(), 1001u);
}

TEST(Seen, TakesAFullTableForKnowingEverything) {
  Seen seen(64);
  for (std::uint64_t i = 1; i <= 100; ++i) seen.insert(i * 0x9e3779b97f4a7c15ULL);
  EXPECT_TRUE(seen.full());
  EXPECT_EQ(seen.size(), 56u);
}

}  // namespace
}  // namespace weft::crash
