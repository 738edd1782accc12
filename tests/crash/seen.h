// tests/crash/seen.h - which states have been looked at, by all processes of a run together.
//
// A table of 64-bit hashes in memory that fork() shares, filled without locks: linear probing, each slot set once by
// compare-and-swap. Two different states of one hash would be taken for one: at ten million states the chance that this
// happens at all is 3 in a million.
//
// Thread- and process-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace weft::crash {

class Seen {
 public:
  // Holds up to about seven eighths of `slots`, a power of two. Memory is taken as it is used.
  explicit Seen(std::size_t slots);
  ~Seen();
  Seen(const Seen&) = delete;
  Seen& operator=(const Seen&) = delete;

  // True if it was not there before. A full table knows nothing new.
  bool insert(std::uint64_t hash) noexcept;
  [[nodiscard]] std::uint64_t size() const noexcept { return count_->load(std::memory_order_relaxed); }
  [[nodiscard]] bool full() const noexcept { return size() >= slots_ / 8 * 7; }

 private:
  const std::size_t slots_;
  std::size_t mapped_bytes_;
  std::atomic<std::uint64_t>* count_;  // then the table
  std::atomic<std::uint64_t>* table_;
};

// Zeroed memory that children made by fork() share with their parent. Ends the process if there is none.
[[nodiscard]] void* shared_memory(std::size_t bytes);

}  // namespace weft::crash
