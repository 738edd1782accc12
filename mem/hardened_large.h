// mem/hardened_large.h - large blocks of the hardened mode: a canary, an inaccessible page behind, and a while out of reach. Internal.
//
// A freed block becomes inaccessible, with its pages, and waits among others: 16 of them, or as many as 16 MiB. A block that has grown has
// no inaccessible page behind it, because it would have to move with each step; nor do those beyond 16,384: each is a
// mapping of its own to the kernel, which allows 65,530.
// Locks   one for those that wait, before that of PageRuns; a fork() holds it.
// Tests: tests/mem/hardened_test.cc.
#pragma once

#include <cstddef>

namespace weft::mem::hardened {

// nullptr: no memory.
void* allocate_guarded(std::size_t size, std::size_t align, bool zero) noexcept;
// Without the page behind, and with room to grow.
void* allocate_unguarded(std::size_t size) noexcept;
// As release(), size_of() and resize() of hardened.h.
bool release_guarded(void* block, std::size_t said) noexcept;
std::size_t size_of_guarded(const void* block) noexcept;
void* resize_guarded(void* block, std::size_t size) noexcept;

void quarantine_before_fork() noexcept;
void quarantine_after_fork() noexcept;

}  // namespace weft::mem::hardened
