#include "fs/check/data_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/check/name_check.h"
#include "kernel/crc32c.h"
#include "kernel/printable.h"

namespace weft::fs::check {
namespace {

constexpr std::size_t kBufferBlocks = 1024;
constexpr int kMaxDepth = 4096;  // of a path, should names form a loop

class DataWalk final : public BTree::Visitor {
 public:
  DataWalk(CheckedVolume& volume, BlockDevice& device, const Progress& progress)
      : volume_(volume), device_(device), progress_(progress), buffer_(kBufferBlocks * kBlockBytes) {}

  bool on_node(BlockNo, std::uint8_t) override {
    return !progress_ || progress_("data", done_, volume_.facts().data_blocks);
  }
  void on_lost(const BTree::LostNode&, const Error&) override {}
  void on_item(Key key, std::span<const std::byte> value) override {
    if (key.kind() != KeyKind::kExtent) return;
    Part part;
    std::memcpy(&part.extent, value.data(), sizeof(part.extent));
    done_ += part.extent.length;
    if (part.extent.flags != 0) return;
    if (gathered_ + part.extent.length > kBufferBlocks) finish();
    part.key = key;
    part.sums.resize(part.extent.length);
    std::memcpy(part.sums.data(), value.data() + sizeof(part.extent), part.sums.size() * sizeof(le32));
    part.at = gathered_;
    gathered_ += part.extent.length;
    parts_.push_back(std::move(part));
  }

  // Reads what is gathered, all at once, and compares.
  void finish() {
    std::vector<iovec> vectors(parts_.size());
    std::vector<BlockIo> requests;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const std::size_t bytes = std::size_t{parts_[i].extent.length} * kBlockBytes;
      vectors[i] = {buffer_.bytes().data() + parts_[i].at * kBlockBytes, bytes};
      requests.push_back({BlockOp::kRead, parts_[i].extent.block * kBlockBytes, bytes, {&vectors[i], 1}});
    }
    const bool all_read = requests.empty() || device_.run(requests).has_value();
    for (const Part& part : parts_) compare(part, all_read);
    parts_.clear();
    gathered_ = 0;
  }

 private:
  struct Part {
    Key key;
    DiskExtent extent;
    std::vector<le32> sums;
    std::size_t at = 0;  // block of the buffer
  };

  void compare(const Part& part, bool all_read) {
    std::uint32_t first = 0, count = 0;
    for (std::uint32_t i = 0; i < part.extent.length; ++i) {
      const auto bytes = buffer_.bytes().subspan((part.at + i) * kBlockBytes, kBlockBytes);
      const bool there = all_read || device_.read((part.extent.block + i) * kBlockBytes, bytes).has_value();
      if (there && crc32c(bytes) == part.sums[i]) continue;
      if (count != 0 && first + count != i) report(part, first, std::exchange(count, 0));
      if (count++ == 0) first = i;
    }
    if (count != 0) report(part, first, count);
  }

  void report(const Part& part, std::uint32_t first, std::uint32_t count) {
    const InodeNo inode = part.key.owner();
    const std::string path = path_of(volume_, inode);
    volume_.findings()
        .add(Problem::kDataChecksum, inode,
             fmt::format("{}: {} block{} from block {} of the file on (block {} of the volume) {} not what was written",
                         path.empty() ? fmt::format("inode {}", inode.value()) : printable(path), count,
                         count == 1 ? "" : "s", part.key.offset() + first, part.extent.block + first,
                         count == 1 ? "is" : "are"))
        .block = BlockNo(part.extent.block + first);
  }

  CheckedVolume& volume_;
  BlockDevice& device_;
  const Progress& progress_;
  AlignedBuffer buffer_;
  std::vector<Part> parts_;
  std::size_t gathered_ = 0;
  std::uint64_t done_ = 0;
};

}  // namespace

Status check_data(CheckedVolume& volume, BlockDevice& device, const Progress& progress) {
  DataWalk walk(volume, device, progress);
  TRY(volume.walk(walk));
  walk.finish();
  return {};
}

std::string path_of(CheckedVolume& volume, InodeNo inode) {
  std::string path;
  for (int depth = 0; inode != kRootInode; ++depth) {
    // check_names() has left them in order of their targets.
    const auto name = std::ranges::lower_bound(volume.facts().names, inode.value(), {}, &NameRef::target);
    if (depth == kMaxDepth || name == volume.facts().names.end() || name->target != inode.value()) return {};
    const auto value = volume.get(name->key());
    if (!value || !*value || (*value)->size() < sizeof(DiskDirent)) return {};
    const std::string_view text(reinterpret_cast<const char*>((*value)->data()) + sizeof(DiskDirent),
                                (*value)->size() - sizeof(DiskDirent));
    path.insert(0, text).insert(0, "/");
    inode = InodeNo(name->directory);
  }
  return path.empty() ? "/" : path;
}

}  // namespace weft::fs::check
