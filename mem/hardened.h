// mem/hardened.h - the mode that finds misuse: WEFT_HEAP=hardened in the environment at start. Internal.
//
// No thread has a heap then: the lists of `no_heap` stay empty, so that every call takes the slow path and comes here, and the fast mode
// pays nothing. Blocks have the same classes, slabs and map; beside a slab stands what each block is: free, in quarantine, or its
// size to the byte.
//   free:    twice, of an address inside a block or where none was ever -> known exactly
//   beyond:  every byte from the size to the end of the class is a keyed canary, looked at when the block or the next one is freed;
//            a large block has canaries to the end of its page and an inaccessible page behind
//   after:   a freed block is zeroed, waits in quarantine, and must still be zero when it is given out again; a large one is inaccessible
//   size:    a delete that says another size than was asked for
// Where in a slab a block lies is random. What is found ends the process with a message (fatal.h).
// Locks    one for all, before that of PageRuns; a fork() holds it. Blocks of a mem::Heap are not looked at.
// Tests: tests/mem/hardened_test.cc, which counts what tests/preload/misuse.cc gets away with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::mem::hardened {

inline constexpr std::size_t kSizeUnknown = SIZE_MAX;

// Asked by a thread without a heap. The environment is read at the first call of the process.
bool on() noexcept;

// `align`: a power of two. All bytes are zero. nullptr: no memory.
void* allocate(std::size_t size, std::size_t align) noexcept;
// False: not a block of this mode. `size`: what the caller says it is, or kSizeUnknown.
bool release(void* block, std::size_t size) noexcept;
// What was asked for; kSizeUnknown: not a block of this mode.
std::size_t size_of(const void* block) noexcept;

void before_fork() noexcept;
void after_fork() noexcept;

}  // namespace weft::mem::hardened
