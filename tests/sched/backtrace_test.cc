#include "sched/backtrace.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <random>

namespace weft::sched {
namespace {

[[gnu::noinline]] std::size_t walk_from_here(std::span<const void*> into) {
  const auto* frame = static_cast<const std::byte*>(__builtin_frame_address(0));
  const auto* pc = reinterpret_cast<const std::byte*>(&walk_from_here) + 4;
  return walk_frames({pc, frame}, frame, frame + 4096, into);
}
[[gnu::noinline]] std::size_t walk_called_by_another(std::span<const void*> into) {
  const std::size_t count = walk_from_here(into);
  asm volatile("" ::: "memory");  // no tail call
  return count;
}

TEST(Backtrace, NamesTheCallersInTheirOrder) {
  std::array<const void*, 16> places{};
  const std::size_t count = walk_called_by_another(places);
  ASSERT_GE(count, 3U);
  Symbolizer names;
  EXPECT_NE(names.describe(places[0]).find("walk_from_here"), std::string::npos) << names.describe(places[0]);
  EXPECT_NE(names.describe(places[1]).find("walk_called_by_another"), std::string::npos) << names.describe(places[1]);
  EXPECT_NE(names.describe(places[2]).find("NamesTheCallersInTheirOrder"), std::string::npos);
}

TEST(Backtrace, KnowsFunctionsOfSharedLibrariesAndWhatIsNone) {
  Symbolizer names;
  const auto* inside = static_cast<const std::byte*>(dlsym(RTLD_DEFAULT, "getpid")) + 1;
  EXPECT_NE(names.describe(inside).find("getpid"), std::string::npos) << names.describe(inside);
  EXPECT_EQ(names.describe(reinterpret_cast<const void*>(0x10)), "0x10");
}

TEST(Backtrace, WhateverAStackHoldsNothingOutsideOfItIsRead) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  // The page lies between two that may not be read.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t words = page / sizeof(void*);
  void* mapped = mmap(nullptr, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto* stack = reinterpret_cast<std::uintptr_t*>(static_cast<std::byte*>(mapped) + page);
  ASSERT_EQ(mprotect(stack, page, PROT_READ | PROT_WRITE), 0);
  const auto low = reinterpret_cast<std::uintptr_t>(stack);
  for (int round = 0; round < 2'000; ++round) {
    for (std::size_t i = 0; i < words; ++i) {
      switch (random() % 4) {
        case 0: stack[i] = low + random() % (page + 32); break;
        case 1: stack[i] = low - random() % 64; break;
        case 2: stack[i] = random() % page; break;
        default: stack[i] = random();
      }
    }
    std::array<const void*, 600> places{};
    const auto* begin = reinterpret_cast<const void*>(low + random() % (page + 512) - 256);
    const std::size_t count = walk_frames({stack, begin}, stack, stack + words, places);
    EXPECT_LE(count, words / 2 + 1) << "each frame lies above the one before";
  }
  munmap(mapped, 3 * page);
}

TEST(Backtrace, TextForHandlersNeedsNoMemory) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  SignalText text;
  text << "fiber \"a\" " << std::uint64_t{128} << " KiB, ";
  text.hex(0xdeadbeef) << " " << std::uint64_t{0} << " ";
  text.place(reinterpret_cast<const void*>(&walk_called_by_another)) << "\n";
  text.write_to(ends[1]);
  char said[512] = {};
  ASSERT_GT(read(ends[0], said, sizeof said - 1), 0);
  EXPECT_EQ(std::strncmp(said, "fiber \"a\" 128 KiB, 0xdeadbeef 0 program+0x", 41), 0) << said;
  for (int i = 0; i < 3000; ++i) text << "too long ";
  text.write_to(ends[1]);
  EXPECT_EQ(read(ends[0], said, sizeof said - 1), static_cast<ssize_t>(sizeof said - 1));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace weft::sched
