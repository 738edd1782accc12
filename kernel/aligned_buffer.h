// kernel/aligned_buffer.h - memory that a device will take: owned, aligned, zeroed, and moved but never copied.
//
// Thread-safety: as a vector. Allocation never parks.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>

namespace weft {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // `alignment_bytes` is a power of two. Like any allocation here, running out of memory ends the process.
  explicit AlignedBuffer(std::size_t size_bytes, std::size_t alignment_bytes = 4096)
      : bytes_(static_cast<std::byte*>(::operator new(size_bytes, std::align_val_t(alignment_bytes))),
               Free{alignment_bytes}),
        size_(size_bytes) {
    std::memset(bytes_.get(), 0, size_bytes);
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  [[nodiscard]] std::byte* data() const noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<std::byte> span() const noexcept { return {bytes_.get(), size_}; }

 private:
  struct Free {
    std::size_t alignment_bytes = 4096;
    void operator()(std::byte* memory) const noexcept { ::operator delete(memory, std::align_val_t(alignment_bytes)); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::size_t size_ = 0;
};

}  // namespace weft
