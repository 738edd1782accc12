// Very many fibers that wait at once. With 200,000: build/release/bench/parked.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "sched/runtime.h"
#include "sched/sanitizers.h"
#include "sched/semaphore.h"

namespace weft::sched {
namespace {

double resident_kib() {
  std::string line;
  for (std::ifstream status("/proc/self/status"); std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::atof(line.c_str() + 6);
  return 0;
}

std::size_t mappings() {
  std::size_t count = 0;
  std::string line;
  for (std::ifstream maps("/proc/self/maps"); std::getline(maps, line);) ++count;
  return count;
}

bool guards_need_no_mapping() {
  constexpr int kMadvGuardInstall = 102;
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool installs = madvise(page, 4096, kMadvGuardInstall) == 0;
  munmap(page, 4096);
  return installs;
}

TEST(Parked, ManyFibersAtOnceTakeLittleMemoryAndAllComeBack) {
  // ThreadSanitizer counts fibers as threads, of which it knows some thousands.
  const std::size_t count = kSanitizerHandlesFaults ? 2'000 : 20'000;
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  const double resident_before = resident_kib();
  const std::size_t mappings_before = mappings();
  Semaphore arrived(0), gate(0);
  std::vector<Fiber> fibers;
  for (std::size_t i = 0; i < count; ++i) {
    fibers.push_back(runtime->spawn("parked", [&] {
      arrived.release();
      (void)gate.acquire();
    }));
  }
  for (std::size_t i = 0; i < count; ++i) ASSERT_TRUE(arrived.acquire(1, Deadline::after(std::chrono::seconds(60))));
  if (!kSanitizerHandlesFaults) {
    EXPECT_LT((resident_kib() - resident_before) / static_cast<double>(count), 16.0) << "KiB a fiber";
    if (guards_need_no_mapping()) {
      EXPECT_LT(mappings(), mappings_before + 1'000);
    }
  }
  gate.release(count);
  for (Fiber& fiber : fibers) fiber.join();
}

}  // namespace
}  // namespace weft::sched
