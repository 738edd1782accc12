// tests/bench/parked_bench.cc - what very many parked fibers cost: memory, mappings, and the time to start and to wake them all.
//
//   build/release/bench/parked [FIBERS]      200,000 if not told; ends with 1 if a fiber takes more than 16 KiB
//
// Memory is all of the process's, resident and page tables, over what it had before, divided by the fibers.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "sched/runtime.h"
#include "sched/semaphore.h"

namespace {

using namespace weft;

struct Memory {
  double resident_kib = 0;
  double tables_kib = 0;
  std::size_t mappings = 0;
};

Memory memory_now() {
  Memory now;
  std::string line;
  for (std::ifstream status("/proc/self/status"); std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) now.resident_kib = std::atof(line.c_str() + 6);
    if (line.starts_with("VmPTE:")) now.tables_kib = std::atof(line.c_str() + 6);
  }
  for (std::ifstream maps("/proc/self/maps"); std::getline(maps, line);) ++now.mappings;
  return now;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const long wanted = argc > 1 ? std::atol(argv[1]) : 200'000;
  if (wanted <= 0) {
    std::fprintf(stderr, "usage: parked [FIBERS]\n");
    return 2;
  }
  const auto count = static_cast<std::size_t>(wanted);
  auto runtime = sched::Runtime::create();
  if (!runtime) {
    std::fprintf(stderr, "%s\n", runtime.error().message().c_str());
    return 2;
  }
  const Memory before = memory_now();
  const auto start = std::chrono::steady_clock::now();
  sched::Semaphore arrived(0), gate(0);
  std::vector<sched::Fiber> fibers;
  fibers.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    fibers.push_back(runtime->spawn("parked", [&] {
      arrived.release();
      (void)gate.acquire();
    }));
  }
  for (std::size_t i = 0; i < count; ++i) (void)arrived.acquire();
  const double to_park = seconds_since(start);
  const Memory parked = memory_now();
  const auto wake = std::chrono::steady_clock::now();
  gate.release(count);
  for (auto& fiber : fibers) fiber.join();
  const double to_end = seconds_since(wake);

  const auto each = static_cast<double>(count);
  const double resident = (parked.resident_kib - before.resident_kib) / each;
  const double tables = (parked.tables_kib - before.tables_kib) / each;
  std::printf("%zu parked fibers: %.2f KiB each (%.2f resident, %.2f page tables), %zu mappings more (%zu in all)\n",
              count, resident + tables, resident, tables, parked.mappings - before.mappings, parked.mappings);
  std::printf("started and parked in %.2f s (%.2f us each), woken and joined in %.2f s (%.2f us each)\n", to_park,
              to_park * 1e6 / each, to_end, to_end * 1e6 / each);
  return resident + tables <= 16 ? 0 : 1;
}
