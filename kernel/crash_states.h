// kernel/crash_states.h - every content a recorded disk may legally have after a crash, or as many as one can afford.
//
//   Recording -> for_each_crash_state() -> [state] -> recovery -> oracle
//
// For each prefix of the log: what is durable, plus subsets of the unflushed writes. All 2^n of them while n is small; else
// none, all, each in-order prefix, all but one, one alone, pairs, and random samples. The newest write, and after
// a mark each of them, is also torn: without its first, last or middle sector, or with its first half alone.
// (After CrashMonkey and ACE: Mohan et al., OSDI 2018.) A state is shown once for each (content, marks set by then).
//
// Thread-safety: a function of its arguments; calls `visit` on the calling thread. Tests: tests/kernel/recording_disk_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernel/disk_image.h"
#include "kernel/recording_disk.h"

namespace weft {

struct CrashOptions {
  std::size_t exhaustive_up_to = 12;  // unflushed writes of which all subsets are tried
  std::size_t pairs_up_to = 32;       // unflushed writes of which all pairs are dropped and kept
  std::size_t samples = 32;           // random subsets at each prefix, where not exhaustive
  bool tears = true;
  std::uint64_t seed = 1;
  std::size_t most_states = ~std::size_t{0};
};

struct CrashState {
  const DiskImage& content;
  std::size_t prefix;                                 // the crash came after this many events
  const std::vector<Recording::Survivor>& survivors;  // what of the unflushed is there: enough to build it again
  std::uint64_t hash;                                 // of the content
};

// Returns how many states were shown. `visit` returns false to end early. At each prefix the state with all that had
// begun comes first.
std::size_t for_each_crash_state(const Recording& recording, const CrashOptions& options,
                                 const std::function<bool(const CrashState&)>& visit);

}  // namespace weft
