#include "fs/name_hash.h"

#include <gtest/gtest.h>

#include <array>

namespace weft::fs {
namespace {

TEST(NameHash, IsSipHash24AsItsAuthorsGiveIt) {
  std::array<std::uint8_t, 16> key;
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(i);
  std::string message;
  for (char i = 0; i < 15; ++i) message.push_back(i);
  EXPECT_EQ(NameHash(key).hash(message), 0xa129ca6149be45e5u);  // appendix A of the paper
}

}  // namespace
}  // namespace weft::fs
