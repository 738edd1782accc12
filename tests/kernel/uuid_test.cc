#include "kernel/uuid.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(Uuid, TextAndBackIsTheSame) {
  SeededEntropy entropy(1);
  const Uuid made = Uuid::make(entropy);
  EXPECT_EQ(made.text().size(), 36U);
  EXPECT_EQ(made.text()[14], '4');
  EXPECT_EQ(Uuid::parse(made.text()).value(), made);
  EXPECT_NE(Uuid::make(entropy), made);
  EXPECT_EQ(Uuid::parse("00112233-4455-6677-8899-AABBCCDDEEFF").value().text(), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_TRUE(Uuid().is_nil());
}

TEST(Uuid, WhatIsNoneIsRefused) {
  for (const char* text : {"", "0011", "00112233-4455-6677-8899-aabbccddeefg", "00112233x4455-6677-8899-aabbccddeeff",
                           "00112233-4455-6677-8899-aabbccddeeff0"})
    EXPECT_EQ(Uuid::parse(text).error(), Errc::kInvalid) << text;
}

}  // namespace
}  // namespace weft
