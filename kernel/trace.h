// kernel/trace.h - spans of time named after the rooms they pass through, for chrome://tracing and Perfetto.
//
//   TraceSpan span("fs.journal.commit", trace_id);      // ends with its scope, on whichever thread that is
//
// Off, a span costs one relaxed load. A span holds its start and ids by value and nothing thread_local, so a fiber may
// migrate while it is open. Spans of one trace id form one request's row. Any thread or fiber. Never parks; on, a span's
// end takes mutex, a leaf, and now and then writes to the file. Format: Trace Event Format, complete events ("ph":"X").
// Tests: tests/kernel/trace_test.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "kernel/result.h"

namespace weft {

namespace trace_detail {
extern constinit std::atomic<bool> on;
[[nodiscard]] std::int64_t now_ns() noexcept;
void record(const char* name, std::uint64_t trace_id, std::int64_t start_ns) noexcept;
}  // namespace trace_detail

[[nodiscard]] inline bool tracing() noexcept { return trace_detail::on.load(std::memory_order_relaxed); }

// Replaces the file. kBusy if a trace is being written already.
Status trace_start(const std::string& path);
// Completes the file; kIo if anything did not get there. Nothing to do when none is being written.
Status trace_stop();
// A new id, for the start of a request; never 0.
[[nodiscard]] std::uint64_t new_trace_id() noexcept;

class TraceSpan {
 public:
  // `name` lives for ever: a literal.
  explicit TraceSpan(const char* name, std::uint64_t trace_id = 0) noexcept {
    if (!tracing()) [[likely]]
      return;
    name_ = name;
    trace_id_ = trace_id;
    start_ns_ = trace_detail::now_ns();
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;
  ~TraceSpan() {
    if (name_ != nullptr) [[unlikely]]
      trace_detail::record(name_, trace_id_, start_ns_);
  }

 private:
  const char* name_ = nullptr;  // null while off
  std::uint64_t trace_id_ = 0;
  std::int64_t start_ns_ = 0;
};

}  // namespace weft
