#include "kernel/trace.h"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <utility>

namespace weft {
namespace {

std::mutex mutex;
std::FILE* file = nullptr;  // guarded by mutex
bool first = true;          // guarded by mutex
constinit std::atomic<std::uint64_t> last_id{0};

}  // namespace

namespace trace_detail {

constinit std::atomic<bool> on{false};

std::int64_t now_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

void record(const char* name, std::uint64_t trace_id, std::int64_t start_ns) noexcept {
  const std::int64_t end_ns = now_ns();
  const std::lock_guard lock(mutex);
  if (file == nullptr) return;  // stopped while the span was open
  std::fprintf(file, "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%" PRIu64 ",\"ts\":%.3f,\"dur\":%.3f}",
               first ? "" : ",", name, trace_id, static_cast<double>(start_ns) / 1000.0,
               static_cast<double>(end_ns - start_ns) / 1000.0);
  first = false;
}

}  // namespace trace_detail

Status trace_start(const std::string& path) {
  const std::lock_guard lock(mutex);
  if (file != nullptr) return fail(Errc::kBusy, "a trace is being written already");
  file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return fail(Error::from_errno(errno, "open " + path));
  std::fputs("{\"traceEvents\":[", file);
  first = true;
  trace_detail::on.store(true, std::memory_order_relaxed);
  return {};
}

Status trace_stop() {
  const std::lock_guard lock(mutex);
  if (file == nullptr) return {};
  trace_detail::on.store(false, std::memory_order_relaxed);
  std::fputs("\n]}\n", file);
  const bool failed = std::ferror(file) != 0;
  const bool closed = std::fclose(std::exchange(file, nullptr)) == 0;
  if (failed || !closed) return fail(Errc::kIo, "the trace could not be written whole");
  return {};
}

std::uint64_t new_trace_id() noexcept { return last_id.fetch_add(1, std::memory_order_relaxed) + 1; }

}  // namespace weft
