#include "fs/page_pool.h"

#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#include "kernel/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define WEFT_POISON_PAGES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_POISON_PAGES 1
#endif
#endif
#if defined(WEFT_POISON_PAGES)
#include <sanitizer/asan_interface.h>
#endif

namespace weft::fs {
namespace {

// So that AddressSanitizer sees who uses a page that has been given back.
void mark_usable([[maybe_unused]] Page* page, [[maybe_unused]] bool usable) noexcept {
#if defined(WEFT_POISON_PAGES)
  if (usable) {
    ASAN_UNPOISON_MEMORY_REGION(page->bytes, kBlockBytes);
  } else {
    ASAN_POISON_MEMORY_REGION(page->bytes, kBlockBytes);
  }
#endif
}

}  // namespace

PagePool::~PagePool() {
  WEFT_CHECK(taken() == 0);
  while (chunks_ != nullptr) {
    for (Page& page : chunks_->pages) mark_usable(&page, true);
    std::free(chunks_->start);
    chunks_ = std::move(chunks_->next);
  }
}

void PagePool::grow() {
  void* memory = std::aligned_alloc(kBlockBytes, kPagesPerChunk * kBlockBytes);
  WEFT_CHECK(memory != nullptr);
  auto chunk = std::make_unique<Chunk>();
  chunk->start = static_cast<std::byte*>(memory);
  for (std::size_t i = 0; i < kPagesPerChunk; ++i) {
    Page& page = chunk->pages[i];
    page.bytes = chunk->start + i * kBlockBytes;
    page.next = i + 1 < kPagesPerChunk ? &chunk->pages[i + 1] : nullptr;
    mark_usable(&page, false);
  }
  const std::lock_guard guard(lock_);
  chunk->pages[kPagesPerChunk - 1].next = cold_;
  cold_ = &chunk->pages[0];
  chunk->next = std::move(chunks_);
  chunks_ = std::move(chunk);
}

Page* PagePool::take_free() noexcept {
  const std::lock_guard guard(lock_);
  if (warm_ != nullptr) {
    warm_count_.fetch_sub(1, std::memory_order_relaxed);
    return std::exchange(warm_, warm_->next);
  }
  return cold_ != nullptr ? std::exchange(cold_, cold_->next) : nullptr;
}

Page* PagePool::take() {
  Page* page;
  while ((page = take_free()) == nullptr) grow();
  taken_.fetch_add(1, std::memory_order_relaxed);
  page->references.store(1, std::memory_order_relaxed);
  mark_usable(page, true);
  return page;
}

void PagePool::give_back(Page* page) noexcept {
  mark_usable(page, false);
  taken_.fetch_sub(1, std::memory_order_relaxed);
  bool keep = warm() < warm_limit_;
  // A page without an owner can be taken from the process without the lock. Where that fails (a locked process) it stays.
  if (!keep && madvise(page->bytes, kBlockBytes, MADV_DONTNEED) != 0) keep = true;
  const std::lock_guard guard(lock_);
  page->next = std::exchange(keep ? warm_ : cold_, page);
  if (keep) warm_count_.fetch_add(1, std::memory_order_relaxed);
}

PagePool& page_pool() noexcept {
  // Never destroyed: pages may outlive everything else.
  alignas(PagePool) static std::byte memory[sizeof(PagePool)];
  static auto* const pool = new (memory) PagePool;
  return *pool;
}

}  // namespace weft::fs
