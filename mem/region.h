// mem/region.h - memory that is given out by moving a pointer, and given back all at once.
//
// For what lives as long as one request or one parse. Not thread-safe: one owner at a time, which may be a fiber. No destructor of
// what lies in it is called.
// Tests: tests/mem/region_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace weft::mem {

class [[gnu::visibility("default")]] Region {
 public:
  Region() noexcept = default;
  ~Region() { free_chunks(nullptr); }
  Region(Region&& other) noexcept { swap(other); }
  Region& operator=(Region&& other) noexcept {
    swap(other);
    return *this;
  }

  // `align`: a power of two up to 4096. nullptr with errno ENOMEM: no memory. O(1), but for a new chunk.
  void* allocate(std::size_t size, std::size_t align = 16) noexcept {
    const std::uintptr_t at = (next_ + align - 1) & ~(align - 1);
    // Without a chunk both are 0.
    if (at + size < at || at + size >= end_) [[unlikely]]
      return allocate_in_new_chunk(size, align);
    next_ = at + size;
    return reinterpret_cast<void*>(at);
  }

  // All is free again; the newest chunk stays for what comes next.
  void reset() noexcept;
  // Of chunks.
  std::size_t held_bytes() const noexcept { return held_bytes_; }

 private:
  struct Chunk {
    Chunk* before;
    std::size_t bytes;
  };

  void* allocate_in_new_chunk(std::size_t size, std::size_t align) noexcept;
  void free_chunks(const Chunk* keep) noexcept;
  void start(Chunk& chunk) noexcept {
    next_ = reinterpret_cast<std::uintptr_t>(&chunk) + sizeof(Chunk);
    end_ = reinterpret_cast<std::uintptr_t>(&chunk) + chunk.bytes;
  }
  void swap(Region& other) noexcept {
    std::swap(newest_, other.newest_);
    std::swap(next_, other.next_);
    std::swap(end_, other.end_);
    std::swap(held_bytes_, other.held_bytes_);
  }

  Chunk* newest_ = nullptr;
  std::uintptr_t next_ = 0;
  std::uintptr_t end_ = 0;
  std::size_t held_bytes_ = 0;
};

}  // namespace weft::mem
