#include "mem/profile.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "mem/allocate.h"
#include "tests/mem/commands.h"
#include "tests/mem/own_process.h"

namespace weft::mem {
namespace {

using test::Outcome;
using test::shell;

std::string content_of(const std::filesystem::path& path) {
  std::ostringstream all;
  all << std::ifstream(path).rdbuf();
  return all.str();
}

class HeapProfile : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(test::preload_library())) GTEST_SKIP() << "libweft-mem.so is not built beside this";
    folder_ = std::filesystem::temp_directory_path() / ("weft-profile." + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string program(const std::string& name) {
    return (test::build_folder() / "tests/preload" / name).string();
  }
  static Outcome run(const std::string& options, const std::string& command) {
    // Not into timeout(1): it would write its own over the program's.
    return shell("timeout 60 env WEFT_HEAP=" + options + " LD_PRELOAD=" + test::preload_library() + " " + command);
  }

  std::filesystem::path folder_;
};

// The bytes that stand before "in N blocks ... allocated at" and this function in a report of holders.
double bytes_held_by(const std::string& report, const std::string& function) {
  const std::size_t at = report.find(" " + function + "+0x");
  const std::size_t line = report.rfind(" bytes in ", at);
  if (at == std::string::npos || line == std::string::npos) return 0;
  return std::stod(report.substr(report.rfind('\n', line) + 1));
}

constexpr double kSmallLeak = 1024.0 * ((48 << 20) / 1000);
constexpr double kLargeLeak = 32 << 20;

TEST_F(HeapProfile, ALeakIsNamedByItsFunctionAndItsSize) {
  const Outcome end = run("leaks,sample=64k", program("leaky"));
  EXPECT_EQ(end.status, 0);
  // 786 samples and 32.
  EXPECT_NEAR(bytes_held_by(end.said, "leak_small") / kSmallLeak, 1, 0.2) << end.said;
  EXPECT_NEAR(bytes_held_by(end.said, "leak_large") / kLargeLeak, 1, 0.01) << end.said;
  EXPECT_EQ(end.said.find("for_a_moment"), std::string::npos) << end.said;
  EXPECT_EQ(end.said.find("free_later"), std::string::npos) << end.said;
  // Nothing of the heap's own stands in between.
  EXPECT_EQ(end.said.find("weft3mem"), std::string::npos) << end.said;
}

TEST_F(HeapProfile, AProcessThatHoldsNothingSaysNothing) {
  const Outcome end = run("leaks", program("idle") + " one 0 0");
  EXPECT_EQ(end.status, 0);
  EXPECT_EQ(end.said.find("weft heap"), std::string::npos) << end.said;
  EXPECT_NE(run("leaks", program("leaky")).said.find("holds about"), std::string::npos);
}

TEST_F(HeapProfile, PprofReadsIt) {
  if (!test::have("google-pprof")) GTEST_SKIP() << "google-pprof (Debian: google-perftools) is not installed";
  const std::string path = (folder_ / "leaky.heap").string();
  EXPECT_EQ(run("profile=" + path + ",sample=64k", program("leaky")).said, "");
  const Outcome read = shell("google-pprof --text " + program("leaky") + " " + path);
  EXPECT_EQ(read.status, 0);
  std::istringstream lines(read.said);
  double total = 0, leak = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Total:")) total = std::stod(line.substr(6));
    if (line.ends_with(" leak_small")) leak = std::stod(line);
  }
  EXPECT_NEAR(total / ((kSmallLeak + kLargeLeak) / (1 << 20)), 1, 0.15) << read.said;
  EXPECT_NEAR(leak / (kSmallLeak / (1 << 20)), 1, 0.2) << read.said;
}

TEST_F(HeapProfile, EveryProcessWritesItsOwnWhereThePathSaysSo) {
  const Outcome end =
      run("profile=" + (folder_ / "p.%p.heap").string(), "sh -c 'sort /dev/null; sort /dev/null | sort'");
  EXPECT_EQ(end.status, 0) << end.said;
  int files = 0;
  for (const auto& each : std::filesystem::directory_iterator(folder_)) {
    ++files;
    EXPECT_TRUE(content_of(each.path()).starts_with("heap profile: ")) << each.path();
  }
  // Three of sort; the shell ends without exit handlers.
  EXPECT_GE(files, 3);
}

TEST_F(HeapProfile, AFileThatCannotBeWrittenIsSaid) {
  const Outcome end = run("profile=/nowhere/p,report=/nowhere/r", program("leaky"));
  EXPECT_NE(end.said.find("weft heap: profile=/nowhere/p: cannot be written: No such file or directory"),
            std::string::npos)
      << end.said;
  EXPECT_NE(end.said.find("weft heap: report=/nowhere/r: cannot be written"), std::string::npos);
}

TEST_F(HeapProfile, HardenedModeSaysWhereABlockWasAllocatedAndFreed) {
  std::string doubled, overflow;
  std::istringstream cases(shell(program("misuse")).said);
  for (std::string line; std::getline(cases, line);) {
    if (doubled.empty() && line.find("double free of 100 bytes") != std::string::npos)
      doubled = line.substr(0, line.find(' '));
    if (overflow.empty() && line.find(" overflow of 100 bytes") != std::string::npos)
      overflow = line.substr(0, line.find(' '));
  }
  const Outcome twice = run("hardened,profile", program("misuse") + " " + doubled);
  EXPECT_NE(twice.said.find("a block was freed twice: 0x"), std::string::npos) << twice.said;
  EXPECT_NE(twice.said.find("a block of 100 bytes was allocated there at\n"), std::string::npos) << twice.said;
  EXPECT_NE(twice.said.find("and freed at\n"), std::string::npos) << twice.said;
  EXPECT_NE(twice.said.find(" main+0x"), std::string::npos) << twice.said;
  const Outcome beyond = run("hardened,sample=1", program("misuse") + " " + overflow);
  EXPECT_NE(beyond.said.find("written to beyond its end: 0x"), std::string::npos) << beyond.said;
  EXPECT_NE(beyond.said.find("a block of 100 bytes was allocated there at\n"), std::string::npos) << beyond.said;
  // Without a profile there is nothing to say.
  EXPECT_EQ(run("hardened", program("misuse") + " " + doubled).said.find("was allocated there"), std::string::npos);
}

TEST_F(HeapProfile, ProgramsRunWhileEveryBlockIsSampled) {
  for (const char* mode : {"sample=1", "sample=1,hardened", "sample=10k"}) {
    EXPECT_EQ(run(mode, program("rules")).said, "0 rules are broken\n") << mode;
    for (const char* load : {"containers", "larson", "handover"}) {
      const Outcome done = run(mode, program("load") + " " + load + " 0");
      EXPECT_EQ(done.status, 0) << mode << " " << load << ": " << done.said;
    }
  }
}

TEST_F(HeapProfile, AProgramThatIsLinkedWithItHasItAsWell) {
  ASSERT_TRUE(test::have("g++")) << "it builds this project: tools/packages.sh";
  const std::string source = (folder_ / "linked.cc").string();
  std::ofstream(source)
      << "#include <cstdlib>\n"
         "extern \"C\" [[gnu::noinline]] void* held() { void* volatile b = malloc(100000); return b; }\n"
         "int main() { for (int i = 0; i < 500; ++i) held(); }\n";
  for (const char* how : {"", "-static "}) {
    const std::string binary = (folder_ / "linked").string();
    const std::string lib = (test::build_folder() / "lib").string();
    const Outcome built = shell("g++ -O1 -pthread " + std::string(how) + source + " -o " + binary + " -L" + lib +
                                " -Wl,--whole-archive -lweft-malloc -Wl,--no-whole-archive -l:libweft-mem.a");
    ASSERT_EQ(built.status, 0) << built.said;
    const Outcome end = shell("WEFT_HEAP=leaks,sample=10k " + binary);
    EXPECT_EQ(end.status, 0) << how << end.said;
    EXPECT_NEAR(bytes_held_by(end.said, "held") / 50e6, 1, 0.2) << how << end.said;
    EXPECT_EQ(end.said.find("weft3mem"), std::string::npos) << how << end.said;
  }
}

TEST(HeapProfileApi, WithoutSamplingThereIsNothingToWrite) {
  errno = 0;
  EXPECT_FALSE(write_profile("/dev/null"));
  EXPECT_EQ(errno, ENODATA);
  EXPECT_FALSE(write_holders("/dev/null"));
  EXPECT_FALSE(start_profile(0));
  EXPECT_FALSE(is_profiling());
}

[[gnu::noinline]] void* weft_test_holder() {
  void* volatile block = allocate(4 << 20);
  return block;
}

TEST(HeapSampled, DISABLED_TheProgramAsksForAProfileItself) {
  ASSERT_TRUE(start_profile());
  void* block = weft_test_holder();
  const auto path = std::filesystem::temp_directory_path() / ("weft-profile-api." + std::to_string(getpid()));
  ASSERT_TRUE(write_profile(path.c_str()));
  const std::string profile = content_of(path);
  EXPECT_TRUE(profile.starts_with("heap profile: 1: 4194304 [1: 4194304] @ heap_v2/524288\n"))
      << profile.substr(0, 200);
  EXPECT_NE(profile.find("MAPPED_LIBRARIES:\n"), std::string::npos);
  EXPECT_NE(profile.find("libc.so.6"), std::string::npos);
  ASSERT_TRUE(write_holders(path.c_str()));
  EXPECT_NE(content_of(path).find("weft_test_holder"), std::string::npos) << content_of(path);
  release(block);
  ASSERT_TRUE(write_holders(path.c_str()));
  EXPECT_EQ(content_of(path).find("weft_test_holder"), std::string::npos);
  errno = 0;
  EXPECT_FALSE(write_profile("/nowhere/p"));
  EXPECT_EQ(errno, ENOENT);
  std::filesystem::remove(path);
}

TEST(HeapProfileApi, AProgramAsksForAProfileItself) {
  EXPECT_EQ(test::status_of_body("HeapSampled.DISABLED_TheProgramAsksForAProfileItself"), 0);
}

}  // namespace
}  // namespace weft::mem
