#include "tools/command_line.h"

#include <gtest/gtest.h>

namespace weft::tools {
namespace {

TEST(ParseSize, TakesBytesAndPowersOf1024) {
  EXPECT_EQ(*parse_size("4096"), 4096U);
  EXPECT_EQ(*parse_size("4096B"), 4096U);
  EXPECT_EQ(*parse_size("64k"), 65536U);
  EXPECT_EQ(*parse_size("8MiB"), 8U << 20);
  EXPECT_EQ(*parse_size("1.5G"), 3ULL << 29);
  EXPECT_EQ(*parse_size("2TB"), 2ULL << 40);
}

TEST(ParseSize, KeepsTheLastBitOfLargeWholeNumbers) {
  EXPECT_EQ(*parse_size("9007199254740993"), 9007199254740993U) << "one more than a double can hold";
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* text : {"", "G", "-1", "1Q", "1GiBs", "1 G", "0x10", "nan", "inf", "1e3"}) {
    EXPECT_EQ(parse_size(text).error().code(), Errc::kInvalid) << text;
  }
}

TEST(ParseSize, RefusesWhatDoesNotFit63Bits) {
  EXPECT_TRUE(parse_size("7.9E"));
  EXPECT_EQ(parse_size("8E").error().code(), Errc::kInvalid);
  EXPECT_EQ(parse_size("99999999999999999999").error().code(), Errc::kInvalid);
}

TEST(FormatSize, IsShort) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1536), "1.5 KiB");
  EXPECT_EQ(format_size(10ULL << 30), "10 GiB");
  EXPECT_EQ(format_size((100ULL << 20) + 12345), "100 MiB");
}

TEST(ProgressBar, DrawsOnlyWhereItIsWanted) {
  ::testing::internal::CaptureStderr();
  {
    ProgressBar bar("Silent", ProgressBar::When::kNever);
    bar.update(1, 2);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  ::testing::internal::CaptureStderr();
  {
    ProgressBar bar("Loud", ProgressBar::When::kAlways);
    bar.update(1, 2);
    bar.update(2, 2);
  }
  const std::string drawn = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(drawn.find("Loud [===================="), std::string::npos) << drawn;
  EXPECT_NE(drawn.find(" 50.0%"), std::string::npos) << drawn;
  EXPECT_EQ(drawn.find("100.0%"), std::string::npos) << "drawn twice within a tenth of a second";
  EXPECT_TRUE(drawn.ends_with("\r\033[K")) << "left on the screen";
}

}  // namespace
}  // namespace weft::tools
