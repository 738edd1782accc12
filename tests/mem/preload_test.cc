// The heap in programs that know nothing of it: the same output with as without, and the rules of the manuals.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/mem/commands.h"

namespace weft::mem {
namespace {

using test::build_folder;
using test::have;
using test::Outcome;
using test::preload_library;
using test::preloaded;
using test::shell;

class Preload : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(preload_library())) {
      GTEST_SKIP() << "libweft-mem.so is not built beside this: a sanitizer brings a malloc of its own";
    }
  }
};

TEST_F(Preload, TheRulesOfTheManualsHold) {
  const Outcome end = preloaded((build_folder() / "tests/preload/rules").string());
  EXPECT_EQ(end.status, 0) << end.said;
  EXPECT_EQ(end.said, "0 rules are broken\n");
}

TEST_F(Preload, ItNeedsTheCLibraryAlone) {
  const Outcome end = shell("readelf -d " + preload_library() + " | grep -c NEEDED");
  EXPECT_EQ(end.said, "1\n");
}

TEST_F(Preload, EverythingThatGlibcExportsOfMallocIsThere) {
  const Outcome end = shell("nm -D --defined-only " + preload_library() + " | cut -d' ' -f3");
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
  const Outcome end = shell("objdump -d --no-show-raw-insn " + preload_library() + " | awk '/<" + function +
                            ">:/ { on = 1; next } on && NF { n++; if ($2 == \"ret\") { print n; exit } }'");
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

// A slice of `make heap-programs`.
class PreloadedProgram : public Preload, public ::testing::WithParamInterface<const char*> {};

TEST_P(PreloadedProgram, SaysTheSameAsWithout) {
  const Outcome end =
      shell("cd " + (build_folder() / "../..").string() + " && QUICK=1 WEFT_BUILD=" + build_folder().string() +
            " bash tests/preload/programs.sh " + GetParam());
  if (end.status == 77) GTEST_SKIP() << end.said;
  EXPECT_EQ(end.status, 0) << end.said;
}

INSTANTIATE_TEST_SUITE_P(All, PreloadedProgram,
                         ::testing::Values("redis", "sqlite3", "python3", "gxx", "node", "git", "postgres"),
                         [](const auto& of) { return of.param; });

TEST_F(Preload, UnderALimitOfAddressSpaceProgramsRun) {
  if (!have("sqlite3")) GTEST_SKIP() << "no sqlite3 here";
  const Outcome end = preloaded("sh -c 'ulimit -v 200000; sqlite3 :memory: \"select 6*7\"'");
  EXPECT_EQ(end.said, "42\n");
}

TEST_F(Preload, AProgramThatLimitsItselfHearsOfIt) {
  if (!have("/usr/bin/python3")) GTEST_SKIP() << "no python3 here";
  const Outcome end = preloaded(
      "env PYTHONMALLOC=malloc /usr/bin/python3 -c \"\n"
      "import resource, threading\n"
      "resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
      "blocks = []\n"
      "try:\n"
      "  while True: blocks.append(bytearray(100000))\n"
      "except MemoryError: print('no memory', 100 < len(blocks) * 100000 >> 20 < 300)\n"
      "blocks.clear()\n"
      "print(len(bytearray(20 << 20)))\"");
  EXPECT_EQ(end.said, "no memory True\n20971520\n");
  EXPECT_EQ(end.status, 0);
}

TEST_F(Preload, ATrivialProgramStaysSmall) {
  // The most that a small program had resident, in KiB, as it reads itself.
  const auto peak = [](const std::string& environment) {
    const Outcome end = shell("env " + environment + " grep VmHWM /proc/self/status | tr -dc 0-9");
    return end.said.empty() ? 0L : std::stol(end.said);
  };
  const long without = peak("A=b");
  const long with = peak("LD_PRELOAD=" + preload_library());
  EXPECT_GT(without, 0);
  EXPECT_LT(with, without + 1300);
}

TEST_F(Preload, WhatAllProcessesWriteOfTheLibraryLiesTogether) {
  // KiB of its variables, and of nameless mappings that follow at once.
  const Outcome end = preloaded(
      "awk '/^[0-9a-f]+-/ {ours = /libweft-mem/ || (ours && NF == 5)} /^Anonymous:/ && ours {sum += $2} "
      "END {print sum}' /proc/self/smaps");
  ASSERT_FALSE(end.said.empty());
  EXPECT_GT(std::stol(end.said), 0);
  EXPECT_LE(std::stol(end.said), 28);
}

}  // namespace
}  // namespace weft::mem
