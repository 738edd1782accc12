// tests/sched/io_modes.h - the ways a system call is made: each test of sockets and the like runs in all of them.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sched/runtime.h"

namespace weft::sched {

enum class IoMode { kRing, kRestrictedRing, kEpoll, kThread };

inline std::string name_of(const testing::TestParamInfo<IoMode>& info) {
  switch (info.param) {
    case IoMode::kRing: return "WithIoUring";
    case IoMode::kRestrictedRing: return "WithIoUringForOpenFilesOnly";
    case IoMode::kEpoll: return "WithoutIoUring";
    case IoMode::kThread: return "OnAPlainThread";
  }
  return "?";
}

class InEachMode : public testing::TestWithParam<IoMode> {
 protected:
  InEachMode() {
    if (GetParam() == IoMode::kThread) return;
    auto made = Runtime::create({.workers = 2,
                                 .use_io_uring = GetParam() != IoMode::kEpoll,
                                 .open_files_only = GetParam() == IoMode::kRestrictedRing});
    EXPECT_TRUE(made.has_value());
    runtime_.emplace(std::move(*made));
  }
  [[nodiscard]] static bool on_fibers() { return GetParam() != IoMode::kThread; }
  template <typename F>
  void run(F&& body) {
    if (runtime_) {
      runtime_->block_on(body);
    } else {
      body();
    }
  }
  std::optional<Runtime> runtime_;
};

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;  // NOLINT(concurrency-mt-unsafe)
  closedir(directory);
  return count;
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace weft::sched
