#include "kernel/crc32c.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string_view>
#include <vector>

namespace weft {
namespace {

std::uint32_t of(std::string_view text) { return crc32c(std::as_bytes(std::span(text))); }

// The examples of RFC 3720, B.4, and the check value of the CRC catalogues.
TEST(Crc32c, IsThatOfTheStandard) {
  EXPECT_EQ(of("123456789"), 0xE3069283u);
  EXPECT_EQ(of(""), 0u);
  std::vector<std::byte> bytes(32);
  EXPECT_EQ(crc32c(bytes), 0x8A9136AAu);
  std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
  EXPECT_EQ(crc32c(bytes), 0x62A8AB43u);
  for (std::size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(bytes), 0x46DD794Eu);
}

TEST(Crc32c, PartsOneAfterTheOtherGiveTheSumOfTheWhole) {
  std::vector<std::byte> bytes(5000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * i + i / 7);
  const std::uint32_t whole = crc32c(bytes);
  for (const std::size_t cut : {0ul, 1ul, 7ul, 512ul, 4097ul, 5000ul}) {
    EXPECT_EQ(crc32c(std::span(bytes).subspan(cut), crc32c(std::span(bytes).first(cut))), whole) << cut;
  }
}

}  // namespace
}  // namespace weft
