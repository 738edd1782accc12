// tests/trace/record.cc - a library to preload that notes each call of malloc and its kin, and leaves the work to glibc.
//
//   WEFT_TRACE=PREFIX LD_PRELOAD=record.so PROGRAM      one file a process: PREFIX.NAME.PID, see trace.h
//
// The file is sparse, and as long as it may become; it is written through a mapping, so what was called is known however the process
// ends. The child of a fork is not recorded until it becomes another program.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "tests/trace/trace.h"

extern "C" {
void* __libc_malloc(std::size_t);
void __libc_free(void*);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

using namespace weft::trace;

constinit std::atomic<RawEvent*> events{nullptr};
constinit std::atomic<bool> begun{false};
constinit std::atomic<std::uint64_t> next_event{0};
constinit std::atomic<std::uint32_t> next_thread{0};
constinit thread_local std::uint32_t this_thread = UINT32_MAX;

const char* asked_prefix() {
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    if (std::strncmp(*each, "WEFT_TRACE=", 11) == 0) return *each + 11;
  }
  return nullptr;
}

void stop() { events.store(nullptr, std::memory_order_relaxed); }

// No allocation of ours, and whatever the C library allocates meanwhile is not recorded.
void begin() {
  const char* prefix = asked_prefix();
  if (prefix == nullptr) return;
  char name[32] = "?";
  if (const int file = open("/proc/self/comm", O_RDONLY | O_CLOEXEC); file >= 0) {
    const ssize_t length = read(file, name, sizeof name - 1);
    name[length > 0 ? length - 1 : 0] = '\0';
    close(file);
  }
  char path[4096];
  std::snprintf(path, sizeof path, "%s.%s.%d", prefix, name, getpid());
  const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return;
  const std::size_t bytes = kMostRawEvents * sizeof(RawEvent);
  void* mapped = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0)
    mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) return;
  pthread_atfork(nullptr, nullptr, &stop);
  events.store(static_cast<RawEvent*>(mapped), std::memory_order_release);
}

void note(Operation operation, const void* address, std::size_t size, std::size_t align = 1) {
  if (!begun.load(std::memory_order_relaxed) && !begun.exchange(true)) {
    const int before = errno;
    begin();
    errno = before;
  }
  RawEvent* all = events.load(std::memory_order_acquire);
  if (all == nullptr) return;
  if (this_thread == UINT32_MAX) this_thread = next_thread.fetch_add(1);
  const std::uint64_t at = next_event.fetch_add(1);
  if (at >= kMostRawEvents) return stop();
  all[at].size_thread = std::uint64_t{size} << 16 | this_thread;
  all[at].address_operation = reinterpret_cast<std::uintptr_t>(address) << 16 |
                              static_cast<std::uint64_t>(std::countr_zero(align)) << 8 |
                              static_cast<std::uint64_t>(operation);
}

void* made(Operation operation, void* block, std::size_t size, std::size_t align = 1) {
  if (block != nullptr) note(operation, block, size, align);
  return block;
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) { return made(Operation::kAllocate, __libc_malloc(size), size); }
void free(void* block) {
  if (block == nullptr) return;
  note(Operation::kRelease, block, 0);
  __libc_free(block);
}
void* calloc(std::size_t count, std::size_t size) {
  return made(Operation::kZeroed, __libc_calloc(count, size), count * size);
}
void* realloc(void* block, std::size_t size) {
  if (block == nullptr) return malloc(size);
  note(Operation::kResize, block, size);
  void* moved = __libc_realloc(block, size);
  note(Operation::kResized, moved, size);
  return moved;
}
void* reallocarray(void* block, std::size_t count, std::size_t size) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(block, bytes);
}
void* memalign(std::size_t align, std::size_t size) {
  return made(Operation::kAligned, __libc_memalign(align, size), size, std::bit_ceil(align));
}
void* aligned_alloc(std::size_t align, std::size_t size) { return memalign(align, size); }
void* valloc(std::size_t size) { return memalign(4096, size); }
void* pvalloc(std::size_t size) { return memalign(4096, (size + 4095) & ~std::size_t{4095}); }
int posix_memalign(void** block, std::size_t align, std::size_t size) {
  if (!std::has_single_bit(align) || align < sizeof(void*)) return EINVAL;
  void* there = memalign(align, size);
  if (there == nullptr) return ENOMEM;
  *block = there;
  return 0;
}

}  // extern "C"
