#include "mem/report.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "mem/allocate.h"
#include "mem/limits.h"

namespace weft::mem {
namespace {

std::string report(ReportFormat format) {
  std::array<char, 16384> text{};
  const std::size_t length = write_report(format, text);
  EXPECT_LT(length, text.size());
  return std::string(text.data());
}

TEST(HeapReport, JsonSaysWhatIsHeld) {
  void* large = allocate(5000000);
  void* small = allocate(448);
  const auto json = nlohmann::json::parse(report(ReportFormat::kJson));
  EXPECT_GE(json["large_bytes"].get<std::size_t>(), 5000000U);
  EXPECT_EQ(json["used_bytes"].get<std::size_t>(),
            json["small_bytes"].get<std::size_t>() + json["large_bytes"].get<std::size_t>());
  EXPECT_EQ(json["soft_limit_bytes"], 0);
  EXPECT_EQ(json["hard_limit_bytes"], 0);
  EXPECT_EQ(json["sample_mean_bytes"], 0);
  bool found = false;
  for (const auto& each : json["classes"])
    found = found || (each["bytes"] == 448 && each["used"].get<std::size_t>() >= 1);
  EXPECT_TRUE(found);
  release(large);
  release(small);
}

TEST(HeapReport, SaysTheLimitsThatAreSet) {
  set_limits({.soft_bytes = std::size_t{1} << 40, .hard_bytes = std::size_t{1} << 41});
  const auto json = nlohmann::json::parse(report(ReportFormat::kJson));
  set_limits({});
  EXPECT_EQ(json["soft_limit_bytes"], std::size_t{1} << 40);
  EXPECT_EQ(json["hard_limit_bytes"], std::size_t{1} << 41);
  EXPECT_TRUE(json.contains("soft_limit_passed_total") && json.contains("hard_limit_refused_total"));
}

TEST(HeapReport, PrometheusHasTypeAndValueOfEachName) {
  void* block = allocate(64);
  std::istringstream lines(report(ReportFormat::kPrometheus));
  int values = 0;
  std::string type;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) {
      type = line.substr(7, line.find(' ', 7) - 7);
    } else if (!line.starts_with("#")) {
      EXPECT_TRUE(line.starts_with(type)) << line;
      EXPECT_NE(line.find_last_of("0123456789"), std::string::npos);
      ++values;
    }
  }
  EXPECT_GE(values, 17);
  release(block);
}

TEST(HeapReport, TextHasALineAClass) {
  void* block = allocate(96);
  const std::string text = report(ReportFormat::kText);
  EXPECT_NE(text.find("used_bytes"), std::string::npos);
  EXPECT_NE(text.find("\n      96 "), std::string::npos) << text;
  release(block);
}

TEST(HeapReport, WhatDoesNotFitIsCutAndItsLengthTold) {
  std::array<char, 10> little{};
  EXPECT_GT(write_report(ReportFormat::kJson, little), 200U);
  EXPECT_EQ(std::string(little.data()), "{\"used_by");
}

TEST(HeapReport, APreloadedHeapWritesItAtExit) {
  const auto built = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  if (!std::filesystem::exists(built / "lib/libweft-mem.so")) {
    GTEST_SKIP() << "libweft-mem.so is not built beside this: a sanitizer brings a malloc of its own";
  }
  const auto path = std::filesystem::temp_directory_path() / ("weft-heap." + std::to_string(getpid()) + ".json");
  const std::string command = "WEFT_HEAP=report=" + path.string() +
                              " LD_PRELOAD=" + (built / "lib/libweft-mem.so").string() + " sort /dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0);  // NOLINT(concurrency-mt-unsafe): no threads here
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file);
  EXPECT_GT(json["used_bytes"].get<std::size_t>(), 0U);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace weft::mem
