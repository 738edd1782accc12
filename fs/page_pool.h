// fs/page_pool.h - where pages come from: whole blocks of memory side by side, without a word of malloc's between them.
//
//   PageRef -> [page_pool] -> malloc (a megabyte at a time), madvise
//
// malloc gives a block aligned to its own size twice the room: what lies before it is touched and too small for the next. Nodes
// of the tree are most of what a server holds, so they are cut from chunks here, of the heap that the process has. What is given back beyond a
// few goes back to the system page by page, wherever it lies; the chunks themselves stay, as address space only.
//
// Locks       one spinlock, a leaf. Nothing parks. Thread-safe. Tests: tests/fs/page_pool_test.cc
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fs/types.h"
#include "kernel/spinlock.h"

namespace weft::fs {

// A block of memory and who refers to it; see PageRef.
struct Page {
  std::byte* bytes = nullptr;
  std::atomic<std::uint32_t> references{0};
  Page* next = nullptr;  // of those that are free
};

class PagePool {
 public:
  // `warm_pages`: so many free pages keep their memory.
  explicit PagePool(std::size_t warm_pages = 1024) : warm_limit_(warm_pages) {}
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // With whatever it held before. Ends the process where there is no memory left.
  Page* take();
  void give_back(Page* page) noexcept;

  [[nodiscard]] std::size_t taken() const noexcept { return taken_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t warm() const noexcept { return warm_count_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kPagesPerChunk = 256;
  struct Chunk {
    std::byte* start = nullptr;
    Page pages[kPagesPerChunk];
    std::unique_ptr<Chunk> next;
  };
  Page* take_free() noexcept;
  void grow();

  const std::size_t warm_limit_;
  Spinlock lock_;  // guards all below
  Page* warm_ = nullptr;
  Page* cold_ = nullptr;  // without memory behind them
  std::unique_ptr<Chunk> chunks_;
  std::atomic<std::size_t> warm_count_{0};
  std::atomic<std::size_t> taken_{0};
};

// The process's own, which PageRef uses. Lives for ever.
PagePool& page_pool() noexcept;

}  // namespace weft::fs
