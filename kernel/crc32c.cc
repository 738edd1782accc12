#include "kernel/crc32c.h"

#include <isa-l/crc.h>

#include <climits>

namespace weft {

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) noexcept {
  // ISA-L neither inverts its input nor its output, and takes an int length and a non-const pointer it only reads.
  std::uint32_t crc = ~seed;
  while (!bytes.empty()) {
    const std::size_t step = bytes.size() < INT_MAX ? bytes.size() : INT_MAX;
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
    crc = crc32_iscsi(data, static_cast<int>(step), crc);
    bytes = bytes.subspan(step);
  }
  return ~crc;
}

}  // namespace weft
