// The heap in programs that know nothing of it: the same output with as without, and the rules of the manuals.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

namespace weft::mem {
namespace {

std::filesystem::path build_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

struct Outcome {
  int status = -1;
  std::string said;
  bool operator==(const Outcome&) const = default;
};

Outcome shell(const std::string& command) {
  std::FILE* pipe = popen(("{ " + command + "; } 2>&1 </dev/null").c_str(), "r");
  Outcome end;
  std::array<char, 4096> part;
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe)) end.said.append(part.data(), count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) end.status = WEXITSTATUS(status);
  return end;
}

Outcome preloaded(const std::string& command) {
  return shell("LD_PRELOAD=" + (build_folder() / "lib/libweft-mem.so").string() + " timeout 120 " + command);
}

class Preload : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(build_folder() / "lib/libweft-mem.so")) {
      GTEST_SKIP() << "libweft-mem.so is not built beside this: a sanitizer brings a malloc of its own";
    }
    folder_ = std::filesystem::temp_directory_path() / ("weft-preload." + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Whether the program is there; without it the test is skipped.
  static bool have(const std::string& program) { return shell("command -v " + program).status == 0; }
  void same_with_and_without(const std::string& command) {
    const Outcome without = shell("cd " + folder_.string() + " && " + command);
    const Outcome with = preloaded("sh -c 'cd " + folder_.string() + " && " + command + "'");
    EXPECT_EQ(without.status, 0) << without.said;
    EXPECT_EQ(with.status, without.status) << with.said;
    EXPECT_EQ(with.said, without.said);
  }

  std::filesystem::path folder_;
};

TEST_F(Preload, TheRulesOfTheManualsHold) {
  const Outcome end = preloaded((build_folder() / "tests/preload/rules").string());
  EXPECT_EQ(end.status, 0) << end.said;
  EXPECT_EQ(end.said, "0 rules are broken\n");
}

TEST_F(Preload, ItNeedsTheCLibraryAlone) {
  const Outcome end = shell("readelf -d " + (build_folder() / "lib/libweft-mem.so").string() + " | grep -c NEEDED");
  EXPECT_EQ(end.said, "1\n");
}

TEST_F(Preload, EverythingThatGlibcExportsOfMallocIsThere) {
  const Outcome end =
      shell("nm -D --defined-only " + (build_folder() / "lib/libweft-mem.so").string() + " | cut -d' ' -f3");
  for (const char* name : {"malloc",
                           "free",
                           "calloc",
                           "realloc",
                           "reallocarray",
                           "memalign",
                           "aligned_alloc",
                           "posix_memalign",
                           "valloc",
                           "pvalloc",
                           "malloc_usable_size",
                           "mallinfo",
                           "mallinfo2",
                           "mallopt",
                           "malloc_trim",
                           "malloc_stats",
                           "malloc_info",
                           "cfree",
                           "free_sized",
                           "free_aligned_sized",
                           "__libc_malloc",
                           "__libc_free",
                           "__libc_calloc",
                           "__libc_realloc",
                           "__libc_memalign",
                           "__libc_valloc",
                           "__libc_pvalloc",
                           "_Znwm",
                           "_Znam",
                           "_ZnwmRKSt9nothrow_t",
                           "_ZnamRKSt9nothrow_t",
                           "_ZnwmSt11align_val_t",
                           "_ZnamSt11align_val_t",
                           "_ZnwmSt11align_val_tRKSt9nothrow_t",
                           "_ZnamSt11align_val_tRKSt9nothrow_t",
                           "_ZdlPv",
                           "_ZdaPv",
                           "_ZdlPvRKSt9nothrow_t",
                           "_ZdaPvRKSt9nothrow_t",
                           "_ZdlPvm",
                           "_ZdaPvm",
                           "_ZdlPvSt11align_val_t",
                           "_ZdaPvSt11align_val_t",
                           "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                           "_ZdaPvSt11align_val_tRKSt9nothrow_t",
                           "_ZdlPvmSt11align_val_t",
                           "_ZdaPvmSt11align_val_t"}) {
    EXPECT_NE(("\n" + end.said).find("\n" + std::string(name) + "\n"), std::string::npos) << name;
  }
}

// The fast paths, counted in what the compiler made of them: from the first instruction to the first return.
std::size_t instructions_to_return(const std::string& function) {
  const Outcome end =
      shell("objdump -d --no-show-raw-insn " + (build_folder() / "lib/libweft-mem.so").string() + " | awk '/<" +
            function + ">:/ { on = 1; next } on && NF { n++; if ($2 == \"ret\") { print n; exit } }'");
  return end.said.empty() ? 0 : std::stoul(end.said);
}

TEST_F(Preload, AMallocTakesTwelveInstructionsAndAFreeSixteen) {
  for (const char* function : {"__libc_malloc", "_Znwm"}) {
    const std::size_t count = instructions_to_return(function);
    EXPECT_GT(count, 5U) << function;
    EXPECT_LE(count, 12U) << function;
  }
  for (const char* function : {"__libc_free", "_ZdlPv"}) {
    const std::size_t count = instructions_to_return(function);
    EXPECT_GT(count, 5U) << function;
    EXPECT_LE(count, 16U) << function;
  }
}

TEST_F(Preload, Python3SaysTheSame) {
  if (!have("/usr/bin/python3")) GTEST_SKIP() << "no python3 here";
  same_with_and_without(
      "/usr/bin/python3 -c \"import json, threading; d = {str(i): list(range(i % 50)) for i in range(20000)}; s = "
      "json.dumps(d); "
      "ts = [threading.Thread(target=json.loads, args=(s,)) for _ in range(4)]; [t.start() for t in ts]; [t.join() for "
      "t in ts]; "
      "print(len(s), hash(len(json.loads(s))))\"");
}

TEST_F(Preload, Sqlite3SaysTheSame) {
  if (!have("sqlite3")) GTEST_SKIP() << "no sqlite3 here";
  same_with_and_without(
      "rm -f t.db && sqlite3 t.db \"create table t(a integer primary key, b text); with recursive n(i) as (select 1 "
      "union all select "
      "i+1 from n where i < 50000) insert into t select i, hex(i*7919) from n; create index x on t(b); select "
      "count(*), "
      "sum(length(b)), max(b) from t; delete from t where a % 3 = 0; vacuum; select count(*) from t;\"");
}

TEST_F(Preload, GitSaysTheSame) {
  if (!have("git")) GTEST_SKIP() << "no git here";
  same_with_and_without(
      "rm -rf r && git init -q r && cd r && for i in $(seq 50); do seq $i 2000 > f$i; done && git add -A && "
      "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z GIT_COMMITTER_DATE=2026-01-01T00:00:00Z git -c user.name=a -c "
      "user.email=a@b commit -qm one && git gc -q && git fsck && "
      "git log --format=%H && git diff --stat HEAD");
}

TEST_F(Preload, GxxMakesTheSameObject) {
  if (!have("g++")) GTEST_SKIP() << "no g++ here";
  same_with_and_without(
      "printf \"#include <map>\\n#include <string>\\nint f() { std::map<std::string, int> m; return m.size(); }\\n\" > "
      "t.cc && "
      "g++ -std=c++20 -O1 -c t.cc -o t.o && sha256sum t.o");
}

TEST_F(Preload, UnderALimitOfAddressSpaceProgramsRun) {
  if (!have("sqlite3")) GTEST_SKIP() << "no sqlite3 here";
  const Outcome end = preloaded("sh -c 'ulimit -v 200000; sqlite3 :memory: \"select 6*7\"'");
  EXPECT_EQ(end.said, "42\n");
}

TEST_F(Preload, ATrivialProgramStaysSmall) {
  // The most that a small program had resident, in KiB, as it reads itself.
  const auto peak = [](const std::string& environment) {
    const Outcome end = shell("env " + environment + " grep VmHWM /proc/self/status | tr -dc 0-9");
    return end.said.empty() ? 0L : std::stol(end.said);
  };
  const long without = peak("A=b");
  const long with = peak("LD_PRELOAD=" + (build_folder() / "lib/libweft-mem.so").string());
  EXPECT_GT(without, 0);
  EXPECT_LT(with, without + 1300);
}

}  // namespace
}  // namespace weft::mem
