// fs/aligned_buffer.h - memory that any block device takes: zeroed, and aligned to a block.
//
// Thread-safety: a value. Never parks.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "fs/types.h"
#include "kernel/check.h"
#include "kernel/units.h"

namespace weft::fs {

class AlignedBuffer {
 public:
  AlignedBuffer() noexcept = default;
  // `size_bytes` is rounded up to whole blocks.
  explicit AlignedBuffer(std::size_t size_bytes) : size_bytes_(round_up(size_bytes, kBlockBytes)) {
    if (size_bytes_ == 0) return;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, size_bytes_)));
    WEFT_CHECK(memory_ != nullptr);
    std::memset(memory_.get(), 0, size_bytes_);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_bytes_; }
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {memory_.get(), size_bytes_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {memory_.get(), size_bytes_}; }
  [[nodiscard]] std::span<std::byte> block(std::size_t index) noexcept {
    return bytes().subspan(index * kBlockBytes, kBlockBytes);
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t size_bytes_ = 0;
};

}  // namespace weft::fs
