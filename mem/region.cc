// mem/region.cc - see region.h.
#include "mem/region.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include "mem/allocate.h"

namespace weft::mem {
namespace {
// Each chunk is twice as long as the one before, within these.
constexpr std::size_t kLeastChunk = std::size_t{4} << 10;
constexpr std::size_t kMostChunk = std::size_t{1} << 20;
}  // namespace

void* Region::allocate_in_new_chunk(std::size_t size, std::size_t align) noexcept {
  if (size > kMaxRequest - sizeof(Chunk) - align) {
    errno = ENOMEM;
    return nullptr;
  }
  const std::size_t usual = newest_ == nullptr ? kLeastChunk : std::min(newest_->bytes * 2, kMostChunk);
  void* made = mem::allocate(std::max(usual, size + align + sizeof(Chunk)));
  if (made == nullptr) return nullptr;
  const std::size_t bytes = usable_size(made);
  auto* chunk = ::new (made) Chunk{.before = newest_, .bytes = bytes};
  newest_ = chunk;
  held_bytes_ += bytes;
  start(*chunk);
  const std::uintptr_t at = (next_ + align - 1) & ~(align - 1);
  next_ = at + size;
  return reinterpret_cast<void*>(at);
}

void Region::free_chunks(const Chunk* keep) noexcept {
  Chunk* chunk = newest_;
  while (chunk != nullptr) {
    Chunk* before = chunk->before;
    if (chunk != keep) {
      held_bytes_ -= chunk->bytes;
      mem::release(chunk);
    }
    chunk = before;
  }
}

void Region::reset() noexcept {
  if (newest_ == nullptr) return;
  free_chunks(newest_);
  newest_->before = nullptr;
  start(*newest_);
}

}  // namespace weft::mem
