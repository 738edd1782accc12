// mem/counter.h - a number that one thread at a time changes and anybody may read. Internal.
//
// Not an atomic addition: the writers have a lock or are one owner, and the addition is two plain instructions.
#pragma once

#include <atomic>
#include <cstddef>

namespace weft::mem {

class Counter {
 public:
  constexpr Counter() noexcept = default;
  constexpr explicit Counter(std::size_t value) noexcept : value_(value) {}
  // NOLINTNEXTLINE(google-explicit-constructor): it stands for its value
  operator std::size_t() const noexcept { return value_.load(std::memory_order_relaxed); }
  Counter& operator=(std::size_t value) noexcept {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  Counter& operator+=(std::size_t more) noexcept { return *this = *this + more; }
  Counter& operator-=(std::size_t less) noexcept { return *this = *this - less; }
  Counter& operator++() noexcept { return *this += 1; }

 private:
  std::atomic<std::size_t> value_{0};
};

}  // namespace weft::mem
