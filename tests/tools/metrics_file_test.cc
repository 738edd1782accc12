#include "tools/metrics_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace weft::tools {
namespace {

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(MetricsFile, IsReplacedWholeInTheFormatOfItsName) {
  const std::string folder = "/tmp/weft_metrics_" + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  Metrics metrics;
  Counter& flushes = metrics.counter("fs.journal.flushes", "flushes");
  flushes.add(3);
  for (const auto& [name, format] : {std::pair{"m.json", MetricsFormat::kJson},
                                     {"m", MetricsFormat::kJson},
                                     {"m.prom", MetricsFormat::kPrometheus},
                                     {"m.txt", MetricsFormat::kText}}) {
    const std::string path = folder + "/" + name;
    std::ofstream(path) << "what was there before, longer than what comes: " << std::string(10000, 'x');
    ASSERT_TRUE(write_metrics_file(metrics, path));
    EXPECT_EQ(contents(path), metrics.render(format)) << name;
    EXPECT_NE(contents(path).find('3'), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  }
  std::filesystem::remove_all(folder);
}

TEST(MetricsFile, PlaceThatCannotBeWrittenIsAnErrorWithItsName) {
  const Metrics metrics;
  const Status written = write_metrics_file(metrics, "/nowhere/metrics.json");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error(), Errc::kNotFound);
  EXPECT_NE(written.error().message().find("/nowhere/metrics.json"), std::string::npos);
}

}  // namespace
}  // namespace weft::tools
