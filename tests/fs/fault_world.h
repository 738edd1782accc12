// tests/fs/fault_world.h - fault_steps(), run on a disk that misbehaves, beside a model that says what is true.
//
//   fault_*_test -> [fault_world] -> FileSystem -> SimDisk
//                                 -> TreeModel: every state there was, and from which on a crash may not lose
//
// A step that fails must have left one of the states that it says it has in between; which, is looked up with the faults taken away
// for a moment.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/check/check.h"
#include "kernel/sim_disk.h"
#include "tests/fs/fault_steps.h"
#include "tests/support/mounted.h"
#include "tests/support/tree_model.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {

// Errors that a disk's misbehaviour excuses.
bool is_trouble(Errc code);

// Looks at all that `truth` has. Errors are counted; what is answered and not true makes a line in `wrong`.
struct Look {
  std::string wrong;
  unsigned errors = 0;
};
Look look_for(FileSystem& fs, const SnapshotTree& truth);

class FaultRun {
 public:
  explicit FaultRun(std::uint64_t seed = 1, const PopulatedVolume& volume = populated_volume());

  // Besides is_trouble(): the volume is full.
  void excuse_no_space() { no_space_ = true; }

  // The faults at work from the next mount on; none of them may be of the past.
  void inject(const SimDisk::Fault& fault) { faults_.push_back(fault), disk.inject(fault); }
  // Mounts if the disk lets it, runs all steps, and checks each answer. Where `silent`, the disk lies instead of failing: then what
  // cannot be read is excused, what is wrong is not.
  void run_steps(bool silent);
  // Ends without (a crash) or with unmounting; from here on the disk is well.
  void end(bool unmount);
  // The tree is one of the model's, none older than the last acknowledged; the volume works, and fsck has nothing to say.
  void expect_recovery();
  // For a disk that lied: what can be read was written once; fsck repairs or reports, and a second run is clean.
  void expect_nothing_wrong() { expect_nothing_wrong_with(disk.copy()); }
  void expect_nothing_wrong_with(const DiskImage& image);

  [[nodiscard]] std::size_t failed_steps() const noexcept { return failed_; }
  // Everything goes, as `rm -r` would have it; on a full volume, too.
  void remove_all();

  StepClock clock;
  SimDisk disk;
  std::unique_ptr<FileSystem> fs;
  TreeModel model;

 private:
  struct State {
    std::string text;
    SnapshotTree tree;
  };
  void remember();
  void acknowledged(const std::string& about);
  void step(const FaultStep& step, bool silent);
  void settle(std::vector<TreeModel> states);
  [[nodiscard]] Look look_in_history(FileSystem& on, bool with_holes);

  std::vector<SimDisk::Fault> faults_;
  std::vector<State> history_;
  std::size_t floor_ = 0;  // index of the oldest state that a crash may leave
  std::size_t failed_ = 0;
  bool no_space_ = false;
  bool uncertain_ = false;  // a lie was noticed, and which of the model's states is the one in memory is not to be seen
};

// Repairs, then looks once more; empty, or what is still wrong. `said`: what the repair found, a line each.
std::string problems_after_repair(BlockDevice& device, std::string* said = nullptr);

// Where WEFT_FAULTS=all is set every point is tried, else each `stride`-th.
std::uint64_t fault_stride(std::uint64_t stride);
// WEFT_TEST_SEED, or 1: which points, what a disk does where it has a choice.
std::uint64_t fault_seed();

}  // namespace weft::fs::test
