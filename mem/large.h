// mem/large.h - blocks of more than 128 KiB, and whatever else wants pages of its own: a run of units each. Internal.
//
// Pages are 4 KiB: what a block's last unit has beyond its pages is never touched. Growing takes what follows if it is free; else, from
// 128 KiB on, the pages move to a longer run by mremap(2) and are not copied.
// Tests: tests/mem/large_test.cc.
#pragma once

#include <cstddef>

#include "mem/descriptor.h"

namespace weft::mem {

class LocalHeap;

// `align`: a power of two. `zero`: whether the bytes must read as zero. `heap`: the mem::Heap it belongs to, or nullptr; the caller owns it.
void* allocate_large(std::size_t size, std::size_t align, bool zero, LocalHeap* heap = nullptr) noexcept;
// For what has outgrown its place: with free address space behind it, so that it can go on growing. nullptr: no memory.
void* allocate_growing(std::size_t size) noexcept;
void free_large(Descriptor& run) noexcept;
// The block where it is now, or where it was moved; nullptr: it must be copied.
void* resize_large(Descriptor& run, std::size_t size) noexcept;

}  // namespace weft::mem
