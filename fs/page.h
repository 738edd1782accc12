// fs/page.h - one block's worth of memory, shared by reference count: what the device reads into and writes from.
//
// Invariant  a page that more than one PageRef names is not changed: clone() first. So a checkpoint may write a page
//            while the tree goes on with a copy of it.
// Aligned to kBlockBytes, for O_DIRECT; from fs/page_pool.h. PageRef: like shared_ptr, one PageRef per thread at a time; the count is atomic.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>
#include <utility>

#include "fs/page_pool.h"
#include "fs/types.h"

namespace weft::fs {

class PageRef {
 public:
  PageRef() noexcept = default;
  static PageRef make_zeroed();
  static PageRef make_uninitialised();
  [[nodiscard]] PageRef clone() const;

  PageRef(const PageRef& other) noexcept : page_(other.page_) {
    if (page_ != nullptr) page_->references.fetch_add(1, std::memory_order_relaxed);
  }
  PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageRef& operator=(PageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageRef() {
    if (page_ != nullptr && page_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
      page_pool().give_back(page_);
  }

  explicit operator bool() const noexcept { return page_ != nullptr; }
  // Acquire: whoever let go of it last is done reading.
  [[nodiscard]] bool shared() const noexcept { return page_->references.load(std::memory_order_acquire) > 1; }
  [[nodiscard]] std::byte* data() const noexcept { return page_->bytes; }
  [[nodiscard]] std::span<std::byte, kBlockBytes> bytes() const noexcept {
    return std::span<std::byte, kBlockBytes>(page_->bytes, kBlockBytes);
  }

 private:
  explicit PageRef(Page* page) noexcept : page_(page) {}

  Page* page_ = nullptr;
};

}  // namespace weft::fs
