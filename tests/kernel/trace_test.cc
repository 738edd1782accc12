#include "kernel/trace.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

namespace weft {
namespace {

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Trace, SpansOfARequestReachTheFileThoughTheyEndOnAnotherThread) {
  const std::string path = "/tmp/weft_trace_" + std::to_string(getpid()) + ".json";
  { TraceSpan before("before.start"); }
  ASSERT_TRUE(trace_start(path));
  EXPECT_TRUE(tracing());
  EXPECT_EQ(trace_start(path).error(), Errc::kBusy);
  const std::uint64_t id = new_trace_id();
  EXPECT_NE(new_trace_id(), id);
  std::optional<TraceSpan> span;
  span.emplace("fs.write", id);
  { TraceSpan inner("fs.journal.commit", id); }
  std::thread([&] { span.reset(); }).join();
  ASSERT_TRUE(trace_stop());
  EXPECT_FALSE(tracing());
  { TraceSpan after("after.stop"); }
  const std::string text = contents(path);
  std::filesystem::remove(path);
  EXPECT_NE(text.find("\"fs.write\",\"ph\":\"X\",\"pid\":1,\"tid\":" + std::to_string(id)), std::string::npos) << text;
  EXPECT_LT(text.find("fs.journal.commit"), text.find("fs.write"));
  EXPECT_EQ(text.find("before.start"), std::string::npos);
  EXPECT_EQ(text.find("after.stop"), std::string::npos);
  EXPECT_TRUE(text.starts_with("{\"traceEvents\":[\n{")) << text;
  EXPECT_TRUE(text.ends_with("}\n]}\n")) << text;
}

TEST(Trace, FileThatCannotBeMadeIsAnErrorAndTracingStaysOff) {
  EXPECT_EQ(trace_start("/nowhere/trace.json").error(), Errc::kNotFound);
  EXPECT_FALSE(tracing());
  EXPECT_TRUE(trace_stop());
}

}  // namespace
}  // namespace weft
