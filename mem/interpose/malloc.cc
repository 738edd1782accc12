// mem/interpose/malloc.cc - the C names: everything of malloc that glibc exports, so that no call ends on another heap.
//
// Rules where standards, manuals and glibc differ: aligned_alloc() and posix_memalign() refuse alignments that are no power of two;
// memalign() rounds them up, as glibc does. posix_memalign() returns its error and leaves errno alone. realloc(p, 0) frees. A size
// above PTRDIFF_MAX, or a product that overflows, is ENOMEM. free() keeps errno.
// Tests: tests/preload/, run by tests/mem/preload_test.cc.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "mem/allocate.h"
#include "mem/interpose/process.h"
#include "mem/keep_errno.h"
#include "mem/stack_trace.h"

#define WEFT_EXPORT [[gnu::visibility("default")]]

namespace {

using namespace weft::mem;

[[gnu::used]] const char* const kHooks = &kProcessHooks;

// A power of two at least as large; 0: there is none.
std::size_t rounded_align(std::size_t align) noexcept {
  return align > SIZE_MAX / 2 + 1 ? 0 : std::bit_ceil(std::max(align, std::size_t{1}));
}

}  // namespace

extern "C" {

WEFT_EXPORT void* malloc(std::size_t size) noexcept { return allocate(size); }

WEFT_EXPORT void free(void* block) noexcept { release(block); }

WEFT_EXPORT WEFT_HEAP_ENTRY void* calloc(std::size_t count, std::size_t size) noexcept {
  return allocate_zeroed(count, size);
}

WEFT_EXPORT WEFT_HEAP_ENTRY void* realloc(void* block, std::size_t size) noexcept { return reallocate(block, size); }

WEFT_EXPORT WEFT_HEAP_ENTRY void* reallocarray(void* block, std::size_t count, std::size_t size) noexcept {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  return reallocate(block, bytes);
}

WEFT_EXPORT WEFT_HEAP_ENTRY void* aligned_alloc(std::size_t align, std::size_t size) noexcept {
  return allocate_aligned(align, size);
}

WEFT_EXPORT WEFT_HEAP_ENTRY void* memalign(std::size_t align, std::size_t size) noexcept {
  return allocate_aligned(rounded_align(align), size);
}

WEFT_EXPORT WEFT_HEAP_ENTRY int posix_memalign(void** block, std::size_t align, std::size_t size) noexcept {
  if (!std::has_single_bit(align) || align < sizeof(void*)) return EINVAL;
  const KeepErrno keep;
  void* made = allocate_aligned(align, size);
  if (made == nullptr) return ENOMEM;
  *block = made;
  return 0;
}

WEFT_EXPORT WEFT_HEAP_ENTRY void* valloc(std::size_t size) noexcept { return allocate_aligned(kPageBytes, size); }

WEFT_EXPORT WEFT_HEAP_ENTRY void* pvalloc(std::size_t size) noexcept {
  if (size > kMaxRequest) {
    errno = ENOMEM;
    return nullptr;
  }
  return allocate_aligned(kPageBytes, (std::max(size, std::size_t{1}) + kPageBytes - 1) & ~(kPageBytes - 1));
}

// C23.
WEFT_EXPORT void free_sized(void* block, std::size_t size) noexcept { release_sized(block, size); }
WEFT_EXPORT void free_aligned_sized(void* block, [[maybe_unused]] std::size_t align, std::size_t size) noexcept {
  release_sized(block, size);
}
WEFT_EXPORT void cfree(void* block) noexcept { release(block); }

WEFT_EXPORT std::size_t malloc_usable_size(void* block) noexcept { return usable_size(block); }

// The names by which glibc calls its own.
#if __has_attribute(copy)
#define WEFT_ALSO(name) [[gnu::visibility("default"), gnu::alias(#name), gnu::copy(name)]]
#else
#define WEFT_ALSO(name) [[gnu::visibility("default"), gnu::alias(#name)]]
#endif
WEFT_ALSO(malloc) void* libc_malloc(std::size_t size) noexcept __asm__("__libc_malloc");
WEFT_ALSO(free) void libc_free(void* block) noexcept __asm__("__libc_free");
WEFT_ALSO(calloc) void* libc_calloc(std::size_t count, std::size_t size) noexcept __asm__("__libc_calloc");
WEFT_ALSO(realloc) void* libc_realloc(void* block, std::size_t size) noexcept __asm__("__libc_realloc");
WEFT_ALSO(memalign) void* libc_memalign(std::size_t align, std::size_t size) noexcept __asm__("__libc_memalign");
WEFT_ALSO(valloc) void* libc_valloc(std::size_t size) noexcept __asm__("__libc_valloc");
WEFT_ALSO(pvalloc) void* libc_pvalloc(std::size_t size) noexcept __asm__("__libc_pvalloc");

}  // extern "C"
