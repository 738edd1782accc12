#include "tests/crash/oracle.h"

#include <algorithm>
#include <unordered_set>

#include "fs/check/check.h"
#include "kernel/memory_disk.h"
#include "tests/crash/life.h"
#include "tests/support/tree_snapshot.h"

namespace weft::crash {
namespace {

// Reads remembered beyond this are forgotten, all at once.
constexpr std::size_t kMostNodes = 4'000'000;

std::uint64_t mix(std::uint64_t node, std::uint64_t hash) noexcept {
  std::uint64_t x = hash ^ (node + 1) * 0x9e3779b97f4a7c15ULL;
  x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
  return x ^ x >> 32;
}

std::string problems_on(BlockDevice& disk) {
  const auto report = fs::check::check_volume(disk, {.progress = {}, .clock = &stopped_clock()});
  if (!report) return "cannot be checked: " + report.error().message();
  std::string problems;
  for (const auto& finding : report->findings) problems += finding.message + "; ";
  return problems;
}

}  // namespace

fs::FileSystemOptions mount_options() {
  fs::FileSystemOptions options;
  options.volume.background = false;
  options.volume.clock = &stopped_clock();
  return options;
}

// Notes what is read of the image as it was at first.
class Oracle::Witness final : public BlockDevice {
 public:
  struct Read {
    std::uint64_t offset_bytes;
    std::uint64_t length_bytes;
    std::uint64_t hash;
  };
  explicit Witness(const DiskImage& image) : image_(image), disk_(image) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return disk_.geometry(); }
  [[nodiscard]] std::string name() const override { return disk_.name(); }
  Status run(std::span<const BlockIo> requests) override {
    for (const BlockIo& io : requests) {
      const std::uint64_t first = io.offset_bytes / DiskImage::kChunkBytes;
      const std::uint64_t end =
          (io.offset_bytes + io.length_bytes + DiskImage::kChunkBytes - 1) / DiskImage::kChunkBytes;
      bool news = false;
      for (std::uint64_t chunk = first; chunk < end; ++chunk) {
        if (io.op == BlockOp::kWrite && io.length_bytes % DiskImage::kChunkBytes == 0) written_.insert(chunk);
        if (io.op == BlockOp::kRead) news = news || !written_.contains(chunk);
      }
      if (news) reads_.push_back({io.offset_bytes, io.length_bytes, image_.hash(io.offset_bytes, io.length_bytes)});
    }
    return disk_.run(requests);
  }
  [[nodiscard]] const std::vector<Read>& reads() const noexcept { return reads_; }

 private:
  const DiskImage& image_;
  MemoryDisk disk_;
  std::unordered_set<std::uint64_t> written_;  // chunks
  std::vector<Read> reads_;
};

Verdict Oracle::recover(BlockDevice& disk) {
  Verdict verdict;
  auto mounted = fs::FileSystem::mount(disk, mount_options());
  if (!mounted) {
    verdict.wrong = "does not mount: " + mounted.error().message();
    return verdict;
  }
  fs::FileSystem& fs = **mounted;
  const auto tree = fs::test::take_snapshot(fs);
  if (!tree) {
    verdict.wrong = "cannot be read: " + tree.error().message();
    return verdict;
  }
  verdict.tree = hash_of(describe(*tree));
  const std::uint64_t inodes = fs.volume().space().inode_count;
  const std::uint64_t in_tree = fs::test::count_inodes(*tree);
  if (inodes != in_tree)
    verdict.wrong = "counts " + std::to_string(inodes) + " inodes, of which the tree has " + std::to_string(in_tree);
  if (const std::string problems = problems_on(disk); !problems.empty())
    verdict.wrong = "the checker finds: " + problems;
  return verdict;
}

Verdict Oracle::judge(const DiskImage& image) {
  ++judged_;
  if (remember_) {
    if (const Verdict* verdict = known(image)) return *verdict;
  }
  ++recovered_;
  if (!remember_) {
    MemoryDisk disk(image);
    return recover(disk);
  }
  Witness witness(image);
  const Verdict verdict = recover(witness);
  learn(witness, verdict);
  return verdict;
}

const Verdict* Oracle::known(const DiskImage& image) const {
  if (nodes_.empty()) return nullptr;
  std::size_t at = 0;
  while (nodes_[at].verdict == kNone) {
    const Node& node = nodes_[at];
    const auto next = next_.find(mix(at, image.hash(node.offset_bytes, node.length_bytes)));
    if (next == next_.end()) return nullptr;
    at = next->second;
  }
  return &verdicts_[nodes_[at].verdict - 1];
}

void Oracle::learn(const Witness& witness, const Verdict& verdict) {
  if (nodes_.size() > kMostNodes) nodes_.clear(), next_.clear(), verdicts_.clear();
  if (nodes_.empty()) nodes_.emplace_back();
  std::size_t at = 0;
  for (const auto& read : witness.reads()) {
    nodes_[at].offset_bytes = read.offset_bytes;
    nodes_[at].length_bytes = read.length_bytes;
    const auto [next, is_new] = next_.emplace(mix(at, read.hash), nodes_.size());
    at = next->second;
    if (is_new) nodes_.emplace_back();
  }
  const auto same = std::ranges::find_if(
      verdicts_, [&](const Verdict& one) { return one.tree == verdict.tree && one.wrong == verdict.wrong; });
  nodes_[at].verdict = static_cast<std::size_t>(same - verdicts_.begin()) + 1;
  if (same == verdicts_.end()) verdicts_.push_back(verdict);
}

std::string Oracle::look_at(const DiskImage& image) {
  MemoryDisk disk(image);
  auto mounted = fs::FileSystem::mount(disk, mount_options());
  if (!mounted) return mounted.error().message() + "\n";
  const auto tree = fs::test::take_snapshot(**mounted);
  return tree ? describe(*tree) : tree.error().message() + "\n";
}

Recording Oracle::record_recovery(const DiskImage& image) {
  MemoryDisk disk(image);
  RecordingDisk recorder(disk, image);
  static_cast<void>(fs::FileSystem::mount(recorder, mount_options()));
  return recorder.finish();
}

}  // namespace weft::crash
