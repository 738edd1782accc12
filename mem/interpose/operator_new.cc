// mem/interpose/operator_new.cc - all operators new and delete.
//
// A failing new calls the new-handler until there is memory or none, then throws std::bad_alloc, or gives nullptr if it is the
// one that does not throw.
// The library that is preloaded into everything does not bring the C++ library along (WEFT_MEM_WEAK): what it needs of it is there
// whenever somebody calls these, or is found by its name.
// Tests: tests/preload/, run by tests/mem/preload_test.cc.
#include <cstddef>
#include <cstdlib>
#include <new>

#include "mem/allocate.h"
#include "mem/stack_trace.h"

#ifdef WEFT_MEM_WEAK
#include <dlfcn.h>
asm(".weak __gxx_personality_v0\n.weak __cxa_begin_catch\n.weak __cxa_end_catch\n.weak _Unwind_Resume\n");
#define WEFT_CXX_LIBRARY [[gnu::weak]]
#else
#define WEFT_CXX_LIBRARY
#endif

// std::__throw_bad_alloc() and std::get_new_handler(), by names that may be missing.
extern "C" {
WEFT_CXX_LIBRARY void weft_throw_bad_alloc() __asm__("_ZSt17__throw_bad_allocv");
WEFT_CXX_LIBRARY std::new_handler weft_get_new_handler() noexcept __asm__("_ZSt15get_new_handlerv");
}

namespace {

using namespace weft::mem;

#ifdef WEFT_MEM_WEAK
// Where the C++ library was loaded after us, and not for all: by dlopen() of a program in C.
template <typename Function>
Function* found(Function* linked, const char* name) noexcept {
  if (linked != nullptr) return linked;
  void* library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library, name));
}
#else
template <typename Function>
Function* found(Function* linked, const char*) noexcept {
  return linked;
}
#endif

[[noreturn]] void throw_bad_alloc() {
  auto* thrower = found<void()>(&weft_throw_bad_alloc, "_ZSt17__throw_bad_allocv");
  if (thrower != nullptr) thrower();
  std::abort();
}

std::new_handler handler() noexcept {
  auto* getter = found<std::new_handler() noexcept>(&weft_get_new_handler, "_ZSt15get_new_handlerv");
  return getter == nullptr ? nullptr : getter();
}

// align == 0: none was asked for.
void* try_once(std::size_t size, std::size_t align) noexcept {
  return align == 0 ? detail::allocate_slow(size) : allocate_aligned(align, size);
}

[[gnu::noinline]] WEFT_HEAP_ENTRY void* new_slow(std::size_t size, std::size_t align) {
  for (;;) {
    if (void* block = try_once(size, align); block != nullptr) [[likely]]
      return block;
    std::new_handler make_room = handler();
    if (make_room == nullptr) throw_bad_alloc();
    make_room();
  }
}

[[gnu::noinline]] WEFT_HEAP_ENTRY void* new_nothrow_slow(std::size_t size, std::size_t align) noexcept {
  if (void* block = try_once(size, align); block != nullptr) [[likely]]
    return block;
  try {
    return new_slow(size, align);
  } catch (...) {
    return nullptr;
  }
}

[[gnu::always_inline]] inline void* new_block(std::size_t size) {
  if (size <= kTableMax) [[likely]] {
    void* block = current_heap->pop(class_table[size]);
    if (block != nullptr) [[likely]]
      return block;
  }
  return new_slow(size, 0);
}

[[gnu::always_inline]] inline void* new_block_nothrow(std::size_t size) noexcept {
  if (size <= kTableMax) [[likely]] {
    void* block = current_heap->pop(class_table[size]);
    if (block != nullptr) [[likely]]
      return block;
  }
  return new_nothrow_slow(size, 0);
}

constexpr std::size_t bytes_of(std::align_val_t align) noexcept { return static_cast<std::size_t>(align); }

}  // namespace

#pragma GCC visibility push(default)

void* operator new(std::size_t size) { return new_block(size); }
void* operator new[](std::size_t size) { return new_block(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return new_block_nothrow(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return new_block_nothrow(size); }
void* operator new(std::size_t size, std::align_val_t align) { return new_slow(size, bytes_of(align)); }
void* operator new[](std::size_t size, std::align_val_t align) { return new_slow(size, bytes_of(align)); }
void* operator new(std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  return new_nothrow_slow(size, bytes_of(align));
}
void* operator new[](std::size_t size, std::align_val_t align, const std::nothrow_t&) noexcept {
  return new_nothrow_slow(size, bytes_of(align));
}

void operator delete(void* block) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete(void* block, std::size_t size) noexcept { release_sized(block, size); }
void operator delete[](void* block, std::size_t size) noexcept { release_sized(block, size); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept { release(block); }
void operator delete(void* block, std::size_t size, std::align_val_t) noexcept { release_sized(block, size); }
void operator delete[](void* block, std::size_t size, std::align_val_t) noexcept { release_sized(block, size); }

#pragma GCC visibility pop
