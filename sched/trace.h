// sched/trace.h - what ran where and when, and who woke whom: a trace of scheduling for Perfetto or chrome://tracing.
//
//   runtime.start_trace();  ...  write(path, TRY(runtime.stop_trace()));      // and open it at https://ui.perfetto.dev
//
// One track for each worker, with a slice for each time a fiber ran there (named after it, with how it ended), "asleep" while its
// thread slept, marks for steals and I/O, and arrows from a wake or spawn to the slice that followed. One row more for each wait
// of a fiber, named after its reason. What plain threads wake is on the track "outside".
//
// Each worker keeps its newest events in a ring, so a trace may run for as long as one likes. While none runs a switch costs a load
// and a branch; while one does, about 100 ns. Format: Trace Event Format, JSON. Tests: tests/sched/trace_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::sched {

struct TraceOptions {
  std::size_t events_per_worker = 65'536;  // of 64 bytes
};

struct TraceEvent;

// Internal: from the events of each worker (the last: of other threads), oldest first.
std::string trace_to_json(std::string_view runtime_name, const std::vector<std::vector<TraceEvent>>& tracks);

}  // namespace weft::sched
