// kernel/disk_image.h - the bytes of a disk that exists only in memory.
//
//   MemoryDisk, SimDisk, RecordingDisk  ->  [DiskImage]
//
// Sparse, so a disk of many TiB costs what was written to it, and a value whose copy is O(1): a radix tree of 4 KiB
// chunks, shared between copies and copied along the path of a write (Driscoll et al., "Making data structures
// persistent", 1989). Holding the content after each of ten thousand flushes is therefore cheap.
//
// Invariants   I1  a part reached by two images, or twice from one, is never written
//              I2  equal content has an equal hash(), whatever was written and discarded on the way
//
// Thread-safety: as an int. Copies share parts yet may live on different threads. Never parks.
// Tests: tests/kernel/disk_image_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel/ref.h"

namespace weft {

class DiskImage {
 public:
  static constexpr std::uint64_t kChunkBytes = 4096;

  explicit DiskImage(std::uint64_t size_bytes);
  DiskImage(const DiskImage& other) noexcept;
  DiskImage(DiskImage&& other) noexcept;
  DiskImage& operator=(DiskImage other) noexcept;
  ~DiskImage();

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

  // Ranges lie within the size; anything else is the caller's bug. What was never written is zeros.
  void read(std::uint64_t offset_bytes, std::span<std::byte> into) const noexcept;
  void write(std::uint64_t offset_bytes, std::span<const std::byte> from);
  // Zeros, giving the memory back.
  void discard(std::uint64_t offset_bytes, std::uint64_t length_bytes);

  // A 64-bit hash of the content (not of the size). After a write only what changed is hashed again.
  [[nodiscard]] std::uint64_t hash() const noexcept;
  // Of a range; that of chunks that lie in it entirely is known already.
  [[nodiscard]] std::uint64_t hash(std::uint64_t offset_bytes, std::uint64_t length_bytes) const noexcept;
  // Offsets of the chunks that have memory, ascending.
  [[nodiscard]] std::vector<std::uint64_t> chunks() const;

 private:
  struct Part;
  struct Inner;
  struct Leaf;

  [[nodiscard]] const Leaf* find(std::uint64_t chunk) const noexcept;
  Leaf& leaf_for_write(std::uint64_t chunk);
  static std::uint64_t hash_of(const Part* part, unsigned level) noexcept;
  static void drop(Ref<Part>& slot, unsigned level, std::uint64_t first, std::uint64_t last);
  static void list(const Part* part, unsigned level, std::uint64_t base, std::vector<std::uint64_t>& into);

  std::uint64_t size_bytes_;
  unsigned height_;  // levels of Inner above the leaves
  Ref<Part> root_;
};

}  // namespace weft
