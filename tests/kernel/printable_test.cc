#include "kernel/printable.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(Printable, IsNothingThatATerminalActsOn) {
  EXPECT_EQ(printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(printable("a\\b\n"), "a\\\\b\\x0a");
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b") << "a control of the upper half";
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae") << "turns the direction of text";
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "half a surrogate pair";
  EXPECT_EQ(printable("\xc0\x80"), "\\xc0\\x80") << "overlong";
}

TEST(Printable, CanBeToldApart) { EXPECT_NE(printable("\\x1b"), printable("\x1b")); }

}  // namespace
}  // namespace weft
