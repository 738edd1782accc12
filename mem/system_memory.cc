// mem/system_memory.cc - see system_memory.h.
#include "mem/system_memory.h"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "mem/keep_errno.h"

namespace weft::mem::system {
namespace {

constinit std::atomic<long> calls_left{-1};
// 0: not tried; the kernel takes lists of ranges: 1, or not: 2.
constinit std::atomic<int> ranged_purge{0};

bool planned_failure() noexcept {
  long left = calls_left.load(std::memory_order_relaxed);
  if (left < 0) [[likely]]
    return false;
  while (left > 0) {
    if (calls_left.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return false;
  }
  return left == 0;
}

bool purge_list(const Range* ranges, std::size_t count) noexcept {
#if defined(SYS_process_madvise)
  constexpr int kSelf = -10000;  // PIDFD_SELF: this thread's own memory, without a descriptor
  const int known = ranged_purge.load(std::memory_order_relaxed);
  if (count < 2 || known == 2) return false;
  std::array<iovec, kMaxPurgeRanges> list;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    list[i] = {.iov_base = ranges[i].start, .iov_len = ranges[i].bytes};
    bytes += ranges[i].bytes;
  }
  const long done = syscall(SYS_process_madvise, kSelf, list.data(), count, MADV_DONTNEED, 0U);
  if (done == static_cast<long>(bytes)) {
    ranged_purge.store(1, std::memory_order_relaxed);
    return true;
  }
  if (known == 0) ranged_purge.store(2, std::memory_order_relaxed);
#else
  static_cast<void>(ranges);
  static_cast<void>(count);
#endif
  return false;
}

}  // namespace

void* reserve(std::size_t bytes) noexcept {
  if (planned_failure()) return nullptr;
  const KeepErrno keep;
  void* start = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return start == MAP_FAILED ? nullptr : start;
}

void unreserve(void* start, std::size_t bytes) noexcept {
  const KeepErrno keep;
  munmap(start, bytes);
}

bool commit(void* start, std::size_t bytes) noexcept {
  if (planned_failure()) return false;
  const KeepErrno keep;
  return mprotect(start, bytes, PROT_READ | PROT_WRITE) == 0;
}

void purge(const Range* ranges, std::size_t count) noexcept {
  const KeepErrno keep;
  if (purge_list(ranges, count)) return;
  for (std::size_t i = 0; i < count; ++i) {
    // Locked pages refuse; a new mapping does not.
    if (madvise(ranges[i].start, ranges[i].bytes, MADV_DONTNEED) != 0) replace(ranges[i].start, ranges[i].bytes);
  }
}

bool move_pages(void* from, void* to, std::size_t bytes) noexcept {
  const KeepErrno keep;
  return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) == to;
}

bool replace(void* start, std::size_t bytes) noexcept {
  const KeepErrno keep;
  return mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == start;
}

void forbid(void* start, std::size_t bytes) noexcept {
  const KeepErrno keep;
  mprotect(start, bytes, PROT_NONE);
}

void replace_forbidden(void* start, std::size_t bytes) noexcept {
  const KeepErrno keep;
  if (mmap(start, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != start) {
    mprotect(start, bytes, PROT_NONE);
  }
}

void advise_huge(void* start, std::size_t bytes) noexcept {
  const KeepErrno keep;
  madvise(start, bytes, MADV_HUGEPAGE);
}

bool barrier_on_all_threads() noexcept {
  const KeepErrno keep;
  const auto barrier = [] { return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0U, 0) == 0; };
  if (barrier()) return true;
  // Not registered yet.
  return errno == EPERM && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0U, 0) == 0 && barrier();
}

std::size_t address_space_limit() noexcept {
  const KeepErrno keep;
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  return limit.rlim_cur;
}

unsigned long now_ms() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<unsigned long>(now.tv_sec) * 1000 + static_cast<unsigned long>(now.tv_nsec) / 1000000;
}

void fail_after(long calls) noexcept { calls_left.store(calls, std::memory_order_relaxed); }

}  // namespace weft::mem::system
