#include "sched/stack.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <mutex>
#include <string>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) ((void)(start), (void)(end))
#endif

#include "kernel/check.h"
#include "kernel/units.h"

namespace weft::sched {
namespace {

constexpr int kMadvGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13; Debian 12's headers are older
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kMostSlabStacks = 32;
constexpr std::size_t kMostWarm = 128;
constexpr std::size_t kMostWarmBytes = 16 * 1024 * 1024;

// Pages from the lowest that has memory to the end.
std::size_t touched_pages(std::byte* start, std::size_t pages, std::vector<unsigned char>& scratch) {
  scratch.resize(pages);
  if (mincore(start, pages * kPageBytes, scratch.data()) != 0) return 0;
  for (std::size_t i = 0; i < pages; ++i)
    if ((scratch[i] & 1) != 0) return pages - i;
  return 0;
}

}  // namespace

std::size_t touched_bytes(const Stack& stack) {
  std::vector<unsigned char> scratch;
  return touched_pages(stack.bottom, stack.size_bytes / kPageBytes, scratch) * kPageBytes;
}

StackPool::StackPool(std::size_t size_bytes, StackMemory memory)
    : size_bytes_(round_up(std::max(size_bytes, kPageBytes), kPageBytes)),
      memory_(memory),
      most_warm_(std::clamp<std::size_t>(kMostWarmBytes / size_bytes_, 1, kMostWarm)),
      slab_stacks_(std::clamp<std::size_t>(kMostWarmBytes / size_bytes_, 1, kMostSlabStacks)) {}

StackPool::~StackPool() {
  WEFT_CHECK(warm_.size() + cold_.size() == made_);
  for (const Slab& slab : slabs_) give_slab(slab);
}

void* StackPool::take_slab(std::size_t bytes) const noexcept {
  if (memory_.take != nullptr) return memory_.take(bytes);
  void* mapped =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

void StackPool::give_slab(const Slab& slab) const noexcept {
  if (memory_.give != nullptr) return memory_.give(slab.start, slab.length_bytes);
  munmap(slab.start, slab.length_bytes);
}

Result<Stack> StackPool::take() {
  const std::lock_guard guard(lock_);
  if (warm_.empty() && cold_.empty()) TRY(grow());
  std::vector<Stack>& from = warm_.empty() ? cold_ : warm_;
  const Stack stack = from.back();
  from.pop_back();
  return stack;
}

void StackPool::give(Stack stack) noexcept {
  {
    const std::lock_guard guard(lock_);
    if (warm_.size() < most_warm_) return warm_.push_back(stack);  // room for it is reserved
  }
  madvise(stack.bottom, stack.size_bytes, MADV_DONTNEED);
  const std::lock_guard guard(lock_);
  cold_.push_back(stack);  // grow() has reserved the room
}

std::size_t StackPool::made() const noexcept {
  const std::lock_guard guard(lock_);
  return made_;
}

std::size_t StackPool::free() const noexcept {
  const std::lock_guard guard(lock_);
  return warm_.size() + cold_.size();
}

std::size_t StackPool::high_water_bytes() const {
  std::vector<Slab> slabs;
  {
    const std::lock_guard guard(lock_);
    slabs = slabs_;
  }
  std::vector<unsigned char> scratch;
  std::size_t most = 0;
  for (const Slab& slab : slabs)
    for (std::size_t at = Stack::kGuardBytes; at < slab.length_bytes; at += size_bytes_ + Stack::kGuardBytes)
      most = std::max(most, touched_pages(slab.start + at, size_bytes_ / kPageBytes, scratch) * kPageBytes);
  return most;
}

Status StackPool::grow() {
  const std::size_t stride = size_bytes_ + Stack::kGuardBytes;
  const std::size_t length = stride * slab_stacks_;
  const auto out_of_maps = [this](int os_errno) {
    return fail(Error::from_errno(os_errno, "no memory map for another fiber stack (" + std::to_string(made_) +
                                                " exist): raise vm.max_map_count or the address-space limit, or "
                                                "run fewer fibers at once"));
  };
  auto* start = static_cast<std::byte*>(take_slab(length));
  if (start == nullptr) return out_of_maps(errno);
  madvise(start, length, MADV_NOHUGEPAGE);  // the first touch of a large stack would cost 2 MiB
  for (std::size_t i = 0; i < slab_stacks_; ++i) {
    std::byte* guard = start + i * stride;
    if (madvise(guard, Stack::kGuardBytes, kMadvGuardInstall) == 0) continue;
    if (mprotect(guard, Stack::kGuardBytes, PROT_NONE) != 0) {
      const int os_errno = errno;
      give_slab({start, length});
      return out_of_maps(os_errno);
    }
  }
  slabs_.push_back({start, length});
  warm_.reserve(most_warm_);
  cold_.reserve(made_ + slab_stacks_);
  // Backwards, so that the lowest is taken first.
  for (std::size_t i = slab_stacks_; i-- > 0;) {
    std::byte* bottom = start + i * stride + Stack::kGuardBytes;
    (void)VALGRIND_STACK_REGISTER(bottom, bottom + size_bytes_);
    cold_.push_back({bottom, size_bytes_});
  }
  made_ += slab_stacks_;
  return {};
}

// --- Sizes ----------------------------------------------------------------------------------------------------------

StackDepot::~StackDepot() {
  for (auto& pool : pools_) delete pool.load(std::memory_order_acquire);
}

// Null: too large.
StackPool* StackDepot::pool_of(std::size_t size_bytes) {
  if (size_bytes == 0 || size_bytes == usual_.stack_bytes()) return &usual_;
  if (size_bytes > kLargestBytes) return nullptr;
  const std::size_t rounded = std::bit_ceil(std::max(size_bytes, kSmallestBytes));
  // The usual one may be no power of two, and lie between.
  if (size_bytes <= usual_.stack_bytes() && usual_.stack_bytes() <= rounded) return &usual_;
  std::atomic<StackPool*>& place = pools_[std::countr_zero(rounded / kSmallestBytes)];
  if (StackPool* pool = place.load(std::memory_order_acquire)) return pool;
  auto made = std::make_unique<StackPool>(rounded, memory_);
  const std::lock_guard guard(making_);
  if (StackPool* pool = place.load(std::memory_order_acquire)) return pool;
  place.store(made.get(), std::memory_order_release);
  return made.release();
}

Result<Stack> StackDepot::take(std::size_t size_bytes) {
  StackPool* pool = pool_of(size_bytes);
  if (pool == nullptr)
    return fail(Errc::kInvalid, "a fiber's stack has at most " + std::to_string(kLargestBytes / 1024 / 1024) + " MiB");
  return pool->take();
}

void StackDepot::give(Stack stack) noexcept { pool_of(stack.size_bytes)->give(stack); }

std::size_t StackDepot::made() const noexcept {
  std::size_t sum = usual_.made();
  for (const auto& place : pools_)
    if (const StackPool* pool = place.load(std::memory_order_acquire)) sum += pool->made();
  return sum;
}

std::size_t StackDepot::made_of(std::size_t size_bytes) {
  const StackPool* pool = pool_of(size_bytes);
  return pool != nullptr ? pool->made() : 0;
}

std::size_t StackDepot::free_of(std::size_t size_bytes) {
  const StackPool* pool = pool_of(size_bytes);
  return pool != nullptr ? pool->free() : 0;
}

std::size_t StackDepot::out() const noexcept {
  std::size_t sum = usual_.made() - usual_.free();
  for (const auto& place : pools_)
    if (const StackPool* pool = place.load(std::memory_order_acquire)) sum += pool->made() - pool->free();
  return sum;
}

std::vector<StackUse> StackDepot::use(bool with_high_water) const {
  std::vector<StackUse> all;
  const auto add = [&](const StackPool& pool) {
    const std::size_t made = pool.made();
    const std::size_t free = pool.free();
    all.push_back({.stack_bytes = pool.stack_bytes(),
                   .made = made,
                   .with_fibers = made > free ? made - free : 0,
                   .high_water_bytes = with_high_water ? pool.high_water_bytes() : 0});
  };
  add(usual_);
  for (const auto& place : pools_)
    if (const StackPool* pool = place.load(std::memory_order_acquire)) add(*pool);
  return all;
}

}  // namespace weft::sched
