// kernel/crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4) by ISA-L.
//
// Thread-safe, never parks. About 0.2 us for 4 KiB on a CPU with SSE 4.2 and PCLMULQDQ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace weft {

// The checksum of `bytes`; pass an earlier result as `seed` to go on from it. crc32c("123456789") == 0xE3069283.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0) noexcept;

}  // namespace weft
