// tests/crash/oracle.h - what is found on a disk after a crash: mounted, checked, read.
//
//   search -> [oracle] -> FileSystem::mount, fs/check, tree_snapshot
//
// A disk passes when it mounts, the checker then finds nothing wrong with what is on it, the volume counts as many inodes as
// the tree has, and everything in the tree can be read; what the tree is, the caller compares.
//
// Recovery is deterministic: it knows nothing but what it reads. So for two disks that gave the same bytes to every read, in
// order, the verdict is the same, and it is remembered by those reads instead of found again. (Bytes it had written itself by
// then are no news, and left out.) Many crashes differ only in blocks that nothing leads to.
//
// Thread-safety: one owner's. Tests: tests/crash/enumerate_test.cc
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/file_system.h"
#include "kernel/disk_image.h"
#include "kernel/recording_disk.h"

namespace weft::crash {

struct Verdict {
  std::uint64_t tree = 0;  // hash_of() it
  std::string wrong;       // empty: nothing
};

// As workloads and recoveries mount.
[[nodiscard]] fs::FileSystemOptions mount_options();

class Oracle {
 public:
  explicit Oracle(bool remember) : remember_(remember) {}

  Verdict judge(const DiskImage& image);
  // The tree, in lines; for people.
  static std::string look_at(const DiskImage& image);
  // What mounting writes.
  static Recording record_recovery(const DiskImage& image);

  [[nodiscard]] std::uint64_t judged() const noexcept { return judged_; }
  [[nodiscard]] std::uint64_t recovered() const noexcept { return recovered_; }  // really, not from memory

 private:
  // After some reads comes another one, or the end.
  struct Node {
    std::uint64_t offset_bytes = 0;
    std::uint64_t length_bytes = 0;
    std::size_t verdict = kNone;  // index + 1
  };
  static constexpr std::size_t kNone = 0;
  class Witness;

  const Verdict* known(const DiskImage& image) const;
  void learn(const Witness& witness, const Verdict& verdict);
  static Verdict recover(BlockDevice& disk);

  const bool remember_;
  std::vector<Node> nodes_;
  std::unordered_map<std::uint64_t, std::size_t> next_;  // by node and what was read
  std::vector<Verdict> verdicts_;
  std::uint64_t judged_ = 0;
  std::uint64_t recovered_ = 0;
};

}  // namespace weft::crash
