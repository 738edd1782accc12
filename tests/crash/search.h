// tests/crash/search.h - all legal states after a crash of one life, and of the recoveries from it, each one judged.
//
//   life -> [search] -> kernel/crash_states.h -> oracle ; seen (each state once) ; case line (to see it again)
//
// A state is legal if the oracle finds nothing wrong and its tree is one of the history at or past the last mark. Some of the
// states, chosen by their hash, are recovered once more with the recovery recorded, and the power goes in that as well (and in the recovery from
// that): there the tree must be exactly the one that undisturbed recovery finds.
//
// Thread-safety: one owner's; Seen may be shared. Tests: tests/crash/enumerate_test.cc
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/crash/life.h"
#include "tests/crash/oracle.h"
#include "tests/crash/seen.h"
#include "tests/crash/workload.h"

namespace weft::crash {

// One crash: after so many events, with these of the unflushed writes. One more for each recovery it comes in.
struct Crash {
  std::size_t prefix = 0;
  std::vector<Recording::Survivor> survivors;
};

// A workload and where it fails: the line that --replay takes.
//   small; write A/x 0 8192; fsync A/x @ 12: 0 3-0+1 / 5: 2+0+4
// After @ a crash: events, then which writes survive; "3+0+4" only sectors 0..3 of it, "3-0+1" all but sector 0.
struct Case {
  Workload workload;
  std::vector<Crash> crashes;  // none: the workload itself goes wrong

  [[nodiscard]] std::string text() const;
  static Case parse(std::string_view text);
};

struct Failure {
  Case where;
  std::string reason;
};

struct SearchOptions {
  std::uint64_t seed = 1;
  unsigned recoveries = 2;           // how deep: crashes inside recovery, inside the recovery of that
  std::uint64_t recover_one_in = 8;  // of the states at each depth
  bool remember = true;              // verdicts by what was read, see oracle.h
  DiskBug bug = DiskBug::kNone;
  std::function<bool()> enough = nullptr;  // asked now and then; may be empty
};

struct SearchCounts {
  std::uint64_t states = 0;     // distinct in (content, what was promised)
  std::uint64_t recovered = 0;  // mounted and checked; the others are known by what mounting reads
  std::uint64_t shown = 0;      // with repetitions
};

class Search {
 public:
  // `contents` counts distinct contents of the disk, `judged` those together with what was promised by then.
  Search(Seen& contents, Seen& judged, SearchOptions options);

  // The first failure, if there is one.
  std::optional<Failure> run(const Workload& workload);
  // A failing workload with every operation left out that it fails without. Forgets nothing it has seen: takes tables of its own.
  Failure shrink(Failure failure);
  [[nodiscard]] const SearchCounts& counts() const noexcept { return counts_; }

 private:
  struct Promise {
    std::span<const std::uint64_t> trees;  // any of these
    std::uint64_t hash;
  };
  bool explore(const Recording& recording, const Life* life, std::uint64_t tree, unsigned depth);
  [[nodiscard]] std::string check(const DiskImage& content, std::span<const std::uint64_t> legal, Verdict& verdict);

  Seen& contents_;
  Seen& judged_;
  SearchOptions options_;
  Oracle oracle_;
  SearchCounts counts_;
  const Workload* workload_ = nullptr;
  std::vector<Crash> path_;
  std::optional<Failure> failure_;
};

// Does it again, with everything said; true if it (still) fails.
bool replay(const Case& what, DiskBug bug);

}  // namespace weft::crash
