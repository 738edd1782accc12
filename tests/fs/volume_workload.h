// tests/fs/volume_workload.h - random transactions on a volume, a model of what each Lsn's state is, and the two oracles:
// the recovered state is the model's, and every block is used by exactly one thing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fs/volume.h"
#include "kernel/random.h"
#include "kernel/sim_disk.h"

namespace weft::fs::test {

// Readable key -> readable value; extents block by block, since where one ends and the next begins is the tree's affair.
using Model = std::map<std::string, std::string>;

class Workload {
 public:
  Workload(Volume& volume, std::uint64_t seed) : volume_(&volume), random_(seed) {
    history_[volume.committed().value()] = model_;
  }

  // One transaction, random. False: kNoSpace, nothing happened; any other error fails the test.
  bool step();
  // Puts `count` values in one transaction.
  bool put_many(unsigned count, std::size_t value_bytes);
  // Maps data to one large file until no space is left (which takes checkpoints), or so many blocks are mapped.
  void fill(std::uint64_t most_blocks = ~std::uint64_t{0});
  void unmap_filler(std::uint64_t first, std::uint64_t count);
  // Erases and unmaps all there is.
  void clear();
  // make_durable() of all committed so far; the Lsn.
  std::uint64_t sync();

  [[nodiscard]] const Model& model() const { return model_; }
  // State after each Lsn since construction.
  [[nodiscard]] const std::map<std::uint64_t, Model>& history() const { return history_; }
  // For a volume that already holds something.
  void start_from(Model model) {
    model_ = std::move(model);
    history_[volume_->committed().value()] = model_;
  }
  void forget_history() { keep_history_ = false; }
  void go_on_with(Volume& volume) { volume_ = &volume; }

 private:
  bool commit(Transaction&& transaction);
  bool map_fresh(Transaction& transaction, InodeNo owner, std::uint64_t first, std::uint64_t want);

  Volume* volume_;
  Random random_;
  Model model_;
  Model next_;
  std::map<std::uint64_t, Model> history_;
  bool keep_history_ = true;
};

inline SimDisk::Options sim(std::uint64_t seed) {
  SimDisk::Options options;
  options.seed = seed;
  return options;
}

// All keys of the volume but the root directory's inode.
Model dump(Volume& volume);
// What differs first, for messages; empty when equal.
std::string difference(const Model& expected, const Model& found);

// Of a volume that nobody has open and that was cleanly closed: walks the tree, and finds each block used once, and the bitmaps,
// the group table and the superblock saying the same. Returns what is wrong; empty when nothing is.
std::string check_image(BlockDevice& device);

}  // namespace weft::fs::test
