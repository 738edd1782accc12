// tests/mem/checked.h - what tests of the heap share: the walker as an assertion, and blocks that know what they hold.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "mem/heap_check.h"

namespace weft::mem::test {

inline ::testing::AssertionResult invariants_hold() {
  const Checked checked = check_invariants();
  if (checked.broken == nullptr) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "broken at " << checked.where << ": " << checked.broken;
}

// Fills a block, or says whether it is still filled, with what only this block has.
inline void fill(void* block, std::size_t size, std::uint64_t mark) {
  auto* bytes = static_cast<unsigned char*>(block);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<unsigned char>((mark * 0x9e3779b97f4a7c15ULL >> 32) + i * 7);
}
inline bool is_filled(const void* block, std::size_t size, std::uint64_t mark) {
  const auto* bytes = static_cast<const unsigned char*>(block);
  for (std::size_t i = 0; i < size; ++i) {
    if (bytes[i] != static_cast<unsigned char>((mark * 0x9e3779b97f4a7c15ULL >> 32) + i * 7)) return false;
  }
  return true;
}

inline std::uint64_t test_seed(std::uint64_t usual) {
  const char* asked = std::getenv("WEFT_TEST_SEED");  // NOLINT(concurrency-mt-unsafe): before threads
  return asked != nullptr ? std::strtoull(asked, nullptr, 10) : usual;
}

}  // namespace weft::mem::test
