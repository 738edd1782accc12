#include "fs/scrub.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "fs/aligned_buffer.h"
#include "fs/btree.h"
#include "fs/data_in_flight.h"
#include "fs/format.h"
#include "kernel/crc32c.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kGroupsAtATime = 64;
constexpr std::uint64_t kGroupPhase = 0;

Key key_of(const ScrubPosition& position) noexcept { return Key::from_raw(position.object, position.tag); }
ScrubPosition at_key(Key key) noexcept { return {.phase = kGroupPhase + 1, .object = key.object, .tag = key.tag}; }

// One step through the tree.
class TreeStep {
 public:
  TreeStep(Volume& volume, std::uint64_t max_blocks, ScrubStep& step)
      : volume_(volume), max_blocks_(max_blocks), step_(step) {}

  Status run(Key from) {
    std::uint64_t nodes = 0;
    while (true) {
      const VerifiedLeaf leaf = TRY(volume_.verify_leaf(from));
      // In the middle of a leaf it was verified by the step that began it.
      if (from == leaf.low || !leaf.readable) note_nodes(leaf);
      nodes += leaf.nodes;
      Key next = leaf.high;
      if (leaf.readable) next = TRY(gather(from, leaf.high));
      from = next;
      step_.next = at_key(from);
      step_.done = from == Key::highest();
      if (step_.done || gathered_ + nodes >= max_blocks_) break;
    }
    return verify_data();
  }

 private:
  struct Part {
    Key key;
    std::vector<std::byte> value;  // DiskExtent and its checksums
    std::size_t at = 0;            // block of the buffer
    [[nodiscard]] DiskExtent extent() const {
      DiskExtent out;
      std::memcpy(&out, value.data(), sizeof(out));
      return out;
    }
    [[nodiscard]] std::uint32_t checksum(std::size_t i) const {
      le32 out;
      std::memcpy(&out, value.data() + sizeof(DiskExtent) + i * sizeof(out), sizeof(out));
      return out;
    }
  };

  void note_nodes(const VerifiedLeaf& leaf) {
    step_.metadata_blocks += leaf.nodes;
    for (const VerifiedLeaf::Bad& bad : leaf.bad) {
      ++step_.errors;
      step_.findings.push_back({.problem = ScrubProblem::kNode, .inode = {}, .file_block = {}, .block = bad.block});
      volume_.report_damage(Error(bad.why).with("scrub"), false);
    }
  }

  // Extents up to `end` or until there are enough blocks; the key to go on from.
  Result<Key> gather(Key from, Key end) {
    Key next = end;
    TRY(volume_.scan(from, end, [&](Key key, std::span<const std::byte> value) {
      if (key.kind() == KeyKind::kInode && value.size() == sizeof(DiskInode)) {
        DiskInode record;
        std::memcpy(&record, value.data(), sizeof(record));
        step_.files += S_ISREG(record.mode.get());
      }
      if (key.kind() != KeyKind::kExtent) return true;
      if (gathered_ >= max_blocks_) {
        next = key;
        return false;
      }
      Part part{.key = key, .value = {value.begin(), value.end()}, .at = gathered_};
      const DiskExtent extent = part.extent();
      if ((extent.flags & kExtentUnwritten) != 0) return true;
      if (extent.flags != 0) {
        step_.unchecked_blocks += extent.length;
        return true;
      }
      gathered_ += extent.length;
      parts_.push_back(std::move(part));
      return true;
    }));
    return next;
  }

  Status read(const Part& part) {
    const DiskExtent extent = part.extent();
    return volume_.device().read(
        extent.block * kBlockBytes,
        buffer_.bytes().subspan(part.at * kBlockBytes, std::size_t{extent.length} * kBlockBytes));
  }

  Status verify_data() {
    if (parts_.empty()) return {};
    volume_.data_in_flight().wait_for_begun();  // some of what is mapped may be on its way
    buffer_ = AlignedBuffer(gathered_ * kBlockBytes);
    std::vector<iovec> vectors(parts_.size());
    std::vector<BlockIo> requests;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const DiskExtent extent = parts_[i].extent();
      const std::size_t bytes = std::size_t{extent.length} * kBlockBytes;
      vectors[i] = {buffer_.bytes().data() + parts_[i].at * kBlockBytes, bytes};
      requests.push_back({BlockOp::kRead, extent.block * kBlockBytes, bytes, {&vectors[i], 1}});
    }
    const bool all_read = volume_.device().run(requests).has_value();
    step_.data_blocks += gathered_;
    for (const Part& part : parts_) {
      if (all_read && fits(part)) continue;
      TRY(look_again(part));
    }
    return {};
  }

  [[nodiscard]] bool fits(const Part& part) {
    for (std::size_t i = 0; i < part.extent().length; ++i) {
      if (crc32c(buffer_.block(part.at + i)) != part.checksum(i)) return false;
    }
    return true;
  }

  // Whether the tree maps the same blocks with the same checksums. If not, somebody else has them by now, or may.
  Result<bool> still_there(const Part& part) {
    bool same = false;
    TRY(volume_.get(part.key, [&](std::span<const std::byte> value) { same = std::ranges::equal(value, part.value); }));
    return same;
  }

  Status look_again(const Part& part) {
    // The first reading may be of what was written by whoever got the blocks next, just before the mapping was as it was.
    if (!TRY(still_there(part)) || (read(part) && fits(part)) || !TRY(still_there(part))) return {};
    const DiskExtent extent = part.extent();
    ScrubFinding run;
    run.count = 0;
    const auto end_run = [&] {
      if (run.count != 0) report(run);
      run.count = 0;
    };
    for (std::uint32_t i = 0; i < extent.length; ++i) {
      const auto bytes = buffer_.block(part.at + i);
      const bool readable = volume_.device().read((extent.block + i) * kBlockBytes, bytes).has_value();
      if (readable && crc32c(bytes) == part.checksum(i)) {
        end_run();
        continue;
      }
      const ScrubProblem problem = readable ? ScrubProblem::kData : ScrubProblem::kRead;
      if (run.count != 0 && run.problem != problem) end_run();
      if (run.count++ != 0) continue;
      run.problem = problem;
      run.inode = part.key.owner();
      run.file_block = FileBlock(part.key.offset() + i);
      run.block = BlockNo(extent.block + i);
    }
    end_run();
    return {};
  }

  void report(const ScrubFinding& run) {
    step_.errors += run.count;
    step_.findings.push_back(run);
    volume_.report_damage(
        Error(Errc::kChecksum,
              fmt::format("scrub: inode {}: {} block{} from block {} of the file on, block {} of the volume, {}",
                          run.inode.value(), run.count, run.count == 1 ? "" : "s", run.file_block.value(),
                          run.block.value(),
                          run.problem == ScrubProblem::kRead ? "cannot be read" : "not what was written")),
        false);
  }

  Volume& volume_;
  const std::uint64_t max_blocks_;
  ScrubStep& step_;
  std::vector<Part> parts_;
  std::uint64_t gathered_ = 0;
  AlignedBuffer buffer_;
};

Status scrub_groups(Volume& volume, std::uint64_t first, ScrubStep& step) {
  step.metadata_blocks += TRY(volume.verify_groups(first, kGroupsAtATime, [&](BlockNo block, const Error& why) {
    ++step.errors;
    step.findings.push_back({.problem = ScrubProblem::kFixed, .inode = {}, .file_block = {}, .block = block});
    volume.report_damage(Error(why).with("scrub"), false);
  }));
  const bool more = first + kGroupsAtATime < volume.group_count();
  step.next = more ? ScrubPosition{.phase = kGroupPhase, .object = first + kGroupsAtATime} : at_key(Key::lowest());
  return {};
}

}  // namespace

Result<ScrubStep> scrub_step(Volume& volume, const ScrubPosition& from, std::uint64_t max_blocks) {
  ScrubStep step;
  const std::uint64_t most = std::clamp<std::uint64_t>(max_blocks, 1, kMaxScrubBlocks);
  if (from.phase == kGroupPhase) {
    const std::uint64_t group = std::min(from.object, volume.group_count());
    TRY(scrub_groups(volume, group, step));
  } else {
    TRY(TreeStep(volume, most, step).run(key_of(from)));
  }
  return step;
}

}  // namespace weft::fs
