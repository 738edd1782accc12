#include "sched/stack.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <string>

#include "kernel/check.h"
#include "kernel/units.h"

namespace weft::sched {
namespace {

constexpr int kMadvGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13; Debian 12's headers are older
constexpr std::size_t kGuardBytes = 4096;
constexpr std::size_t kStacksPerSlab = 32;
constexpr std::size_t kWarmStacks = 128;

}  // namespace

StackPool::StackPool(std::size_t size_bytes) : size_bytes_(round_up(size_bytes, kGuardBytes)) {}

StackPool::~StackPool() {
  WEFT_CHECK(warm_.size() + cold_.size() == made_);
  for (const Slab& slab : slabs_) munmap(slab.start, slab.length_bytes);
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
    if (warm_.size() < kWarmStacks) return warm_.push_back(stack);  // room for it is reserved
  }
  madvise(stack.bottom, stack.size_bytes, MADV_DONTNEED);
  const std::lock_guard guard(lock_);
  cold_.push_back(stack);  // grow() has reserved the room
}

std::size_t StackPool::made() const noexcept {
  const std::lock_guard guard(lock_);
  return made_;
}

Status StackPool::grow() {
  const std::size_t stride = size_bytes_ + kGuardBytes;
  const std::size_t length = stride * kStacksPerSlab;
  const auto out_of_maps = [this](int os_errno) {
    return fail(Error::from_errno(os_errno, "no memory map for another fiber stack (" + std::to_string(made_) +
                                                " exist): raise vm.max_map_count or the address-space limit, or "
                                                "run fewer fibers at once"));
  };
  void* mapped =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapped == MAP_FAILED) return out_of_maps(errno);
  auto* start = static_cast<std::byte*>(mapped);
  for (std::size_t i = 0; i < kStacksPerSlab; ++i) {
    std::byte* guard = start + i * stride;
    if (madvise(guard, kGuardBytes, kMadvGuardInstall) == 0) continue;
    if (mprotect(guard, kGuardBytes, PROT_NONE) != 0) {
      const int os_errno = errno;
      munmap(mapped, length);
      return out_of_maps(os_errno);
    }
  }
  slabs_.push_back({start, length});
  warm_.reserve(kWarmStacks);
  cold_.reserve(made_ + kStacksPerSlab);
  // Backwards, so that the lowest is taken first.
  for (std::size_t i = kStacksPerSlab; i-- > 0;) cold_.push_back({start + i * stride + kGuardBytes, size_bytes_});
  made_ += kStacksPerSlab;
  return {};
}

}  // namespace weft::sched
