// The way of a write, as README.md tells it, read off a trace: which room is entered when, for one WRITE and one FSYNC.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "fs/fuse/session.h"
#include "kernel/memory_disk.h"
#include "kernel/trace.h"
#include "tests/fs/fuse/requests.h"

namespace weft::fs::fuse {
namespace {

using test::KeptAnswers;
using test::raw;
using test::request_of;

struct Span {
  std::string name;
  double start_us = 0;
  double end_us = 0;
};

// In the order in which they began.
std::vector<Span> spans_of(const std::string& path) {
  std::vector<Span> spans;
  std::ifstream file(path);
  const auto field = [](const std::string& line, const std::string& name) {
    const std::size_t at = line.find("\"" + name + "\":");
    return at == std::string::npos ? std::string() : line.substr(at + name.size() + 3);
  };
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("{\"name\"")) continue;
    const std::string name = field(line, "name").substr(1);
    const double start = std::stod(field(line, "ts"));
    spans.push_back({name.substr(0, name.find('"')), start, start + std::stod(field(line, "dur"))});
  }
  std::ranges::stable_sort(spans, {}, &Span::start_us);
  return spans;
}

class WayOfAWrite : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(make_volume(disk_, {}, 0, 0));
    FileSystemOptions options;
    options.volume.background = false;
    options.volume.metrics = &metrics_;
    auto mounted = FileSystem::mount(disk_, options);
    ASSERT_TRUE(mounted) << mounted.error().message();
    file_system_ = std::move(*mounted);
    SessionOptions session_options;
    session_options.writeback = false;
    session_ = std::make_unique<Session>(*file_system_, session_options);
    fuse_init_in init{};
    init.major = 7;
    init.minor = 45;
    init.flags = ~0U;
    ASSERT_EQ(ask(FUSE_INIT, 0, raw(init)), 0);
    ASSERT_EQ(ask(FUSE_MKNOD, 1, raw(fuse_mknod_in{S_IFREG | 0666, 0, 022, 0}) + "file" + '\0'), 0);
    std::memcpy(&file_, sink_.answers.back().data() + sizeof(fuse_out_header) + offsetof(fuse_entry_out, nodeid),
                sizeof file_);
    ASSERT_EQ(sync_file(), 0);
  }
  // The answer's errno.
  int ask(std::uint32_t opcode, std::uint64_t node, const std::string& body) {
    const std::string message = request_of(opcode, node, body);
    session_->handle(std::as_bytes(std::span(message)), sink_);
    fuse_out_header out;
    std::memcpy(&out, sink_.answers.back().data(), sizeof out);
    return -out.error;
  }
  int write_block() {
    fuse_write_in in{};
    in.size = 4096;
    return ask(FUSE_WRITE, file_, raw(in) + std::string(4096, 'x'));
  }
  int sync_file() { return ask(FUSE_FSYNC, file_, raw(fuse_fsync_in{})); }

  Metrics metrics_;
  MemoryDisk disk_{32 << 20};
  std::unique_ptr<FileSystem> file_system_;
  std::unique_ptr<Session> session_;
  KeptAnswers sink_;
  std::uint64_t file_ = 0;
};

TEST_F(WayOfAWrite, GoesThroughTheRoomsInTheOrderThatReadmeTells) {
  const std::string path = "/tmp/weft_way_of_a_write_" + std::to_string(getpid()) + ".json";
  ASSERT_TRUE(trace_start(path));
  EXPECT_EQ(write_block(), 0);
  EXPECT_EQ(sync_file(), 0);
  ASSERT_TRUE(trace_stop());
  const std::vector<Span> spans = spans_of(path);
  std::filesystem::remove(path);

  std::vector<std::string> names;
  for (const Span& span : spans) names.push_back(span.name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "fs.fuse.write",     // 1  the request
                       "fs.write",          // 2, 3
                       "device.write",      // data to fresh blocks, before anything says that it is there
                       "fs.volume.commit",  // 6  in force, not durable
                       "fs.fuse.fsync", "fs.fsync",
                       "fs.journal.commit",  // 7
                       "device.write",       // 8  the record
                       "device.flush",       //    durable
                   }));
  // Each room is left before the one that it was entered from: the last to begin is the first to end.
  const auto within = [&](std::size_t inner, std::size_t outer) { return spans[inner].end_us <= spans[outer].end_us; };
  ASSERT_EQ(spans.size(), 9u);
  EXPECT_TRUE(within(2, 1) && within(3, 1) && within(1, 0));
  EXPECT_TRUE(within(7, 6) && within(8, 6) && within(6, 5) && within(5, 4));
  EXPECT_LE(spans[7].end_us, spans[8].start_us) << "the flush begins when the record has been taken";
}

TEST_F(WayOfAWrite, IsCountedOnceInEveryRoom) {
  const auto value = [&](const char* name, const char* label = "") {
    return metrics_.counter(name, "", label).value();
  };
  const auto before = std::pair(value("device.flushes"), value("fs.journal.flushes"));
  const std::uint64_t commits = value("fs.volume.commits");
  EXPECT_EQ(write_block(), 0);
  EXPECT_EQ(sync_file(), 0);
  EXPECT_EQ(value("fs.fuse.requests", "op=write"), 1u);
  EXPECT_EQ(value("fs.fuse.written_bytes"), 4096u);
  EXPECT_EQ(metrics_.histogram("fs.fuse.latency_us", "", "op=write").read().count, 1u);
  EXPECT_EQ(value("fs.volume.commits"), commits + 1);
  EXPECT_EQ(value("fs.journal.flushes"), before.second + 1);
  EXPECT_EQ(value("device.flushes"), before.first + 1) << "one flush makes data and record durable";
  EXPECT_EQ(ask(FUSE_GETATTR, 12345, raw(fuse_getattr_in{})), ESTALE);
  EXPECT_EQ(value("fs.fuse.errors", "op=getattr"), 1u);
  EXPECT_GT(value("fs.node_cache.hits"), 0u);
  EXPECT_GT(metrics_.gauge("fs.node_cache.bytes", "").value(), 0);
  const std::uint64_t checkpoints = value("fs.checkpoint.count");
  ASSERT_TRUE(file_system_->unmount());
  EXPECT_EQ(value("fs.checkpoint.count"), checkpoints + 1);
  session_.reset();
  file_system_.reset();
  EXPECT_EQ(metrics_.gauge("fs.node_cache.bytes", "").value(), 0) << "a volume that is gone holds nothing";
}

}  // namespace
}  // namespace weft::fs::fuse
