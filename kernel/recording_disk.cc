#include "kernel/recording_disk.h"

#include <algorithm>
#include <utility>

#include "kernel/check.h"

namespace weft {
namespace {

constexpr std::uint64_t kSector = 512;

void store(DiskImage& image, const Recording::Write& write, std::uint64_t from, std::uint64_t to) {
  if (from >= to) return;
  if (write.bytes.empty())
    image.discard(write.offset_bytes + from, to - from);
  else
    image.write(write.offset_bytes + from, std::span(write.bytes).subspan(from, to - from));
}

}  // namespace

Recording::Recording(DiskImage initial) { epochs_.push_back({0, 0, std::move(initial)}); }

std::size_t Recording::add(EventKind kind, std::uint64_t subject, std::string label) {
  events_.push_back({kind, subject, std::move(label)});
  return events_.size() - 1;
}

// The flush's end is the newest event. Writes that overlap were not under way together in a sound caller, so the order
// of their ends is the order of their contents.
void Recording::flushed(std::size_t flush_begin) {
  const std::size_t now = events_.size() - 1;
  DiskImage image = epochs_.back().image;
  std::erase_if(completed_, [&](std::size_t index) {
    Write& write = writes_[index];
    if (write.end > flush_begin) return false;
    store(image, write, 0, write.length_bytes);
    write.durable = now;
    return true;
  });
  std::size_t first = epochs_.back().first_unflushed;
  while (first < writes_.size() && writes_[first].durable != kNever) ++first;
  epochs_.push_back({now + 1, first, std::move(image)});
}

void Recording::flush_failed() {
  for (const std::size_t index : completed_) writes_[index].unsavable = true;
  completed_.clear();
}

const Recording::Epoch& Recording::epoch_at(std::size_t prefix) const {
  const auto after = std::upper_bound(epochs_.begin(), epochs_.end(), prefix,
                                      [](std::size_t at, const Epoch& epoch) { return at < epoch.from; });
  return *std::prev(after);
}

const DiskImage& Recording::durable_at(std::size_t prefix) const { return epoch_at(prefix).image; }

std::vector<std::size_t> Recording::unflushed_at(std::size_t prefix) const {
  std::vector<std::size_t> found;
  for (std::size_t i = epoch_at(prefix).first_unflushed; i < writes_.size() && writes_[i].begin < prefix; ++i)
    if (writes_[i].durable == kNever || writes_[i].durable >= prefix) found.push_back(i);
  return found;
}

void Recording::apply(DiskImage& image, const Survivor& survivor) const {
  const Write& write = writes_[survivor.write];
  const std::uint64_t sectors = write.length_bytes / kSector;
  const std::uint64_t first = std::min(survivor.first_sector, sectors);
  const std::uint64_t last = first + std::min(survivor.sectors, sectors - first);
  if (survivor.all_but) {
    store(image, write, 0, first * kSector);
    store(image, write, last * kSector, write.length_bytes);
  } else {
    store(image, write, first * kSector, last * kSector);
  }
}

DiskImage Recording::content(std::size_t prefix, std::span<const Survivor> survivors) const {
  DiskImage image = durable_at(prefix);
  std::size_t oldest_unsavable = kNever;
  for (const Survivor& survivor : survivors) {
    const Write& write = writes_[survivor.write];
    WEFT_CHECK(write.begin < prefix && (write.durable == kNever || write.durable >= prefix));
    apply(image, survivor);
    if (write.unsavable) oldest_unsavable = std::min(oldest_unsavable, survivor.write);
  }
  if (oldest_unsavable == kNever) return image;
  // What no flush could save may have been written anew since, and saved: the newer content stands.
  std::vector<std::size_t> newer;
  for (std::size_t i = oldest_unsavable; i < writes_.size(); ++i)
    if (writes_[i].durable < prefix && writes_[i].begin > writes_[oldest_unsavable].end) newer.push_back(i);
  if (newer.empty()) return image;
  std::sort(newer.begin(), newer.end(), [&](std::size_t a, std::size_t b) { return writes_[a].end < writes_[b].end; });
  for (const std::size_t index : newer) store(image, writes_[index], 0, writes_[index].length_bytes);
  for (const Survivor& survivor : survivors)
    if (!writes_[survivor.write].unsavable) apply(image, survivor);
  return image;
}

std::size_t Recording::marks_at(std::size_t prefix) const {
  return static_cast<std::size_t>(
      std::count_if(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(std::min(prefix, events_.size())),
                    [](const Event& event) { return event.kind == EventKind::kMark; }));
}

RecordingDisk::RecordingDisk(BlockDevice& under, DiskImage initial) : under_(under), log_(std::move(initial)) {
  WEFT_CHECK(log_.durable_at(0).size_bytes() == under.geometry().size_bytes);
}

RecordingDisk::RecordingDisk(BlockDevice& under) : RecordingDisk(under, DiskImage(under.geometry().size_bytes)) {}

Status RecordingDisk::run(std::span<const BlockIo> requests) {
  const Geometry geometry = under_.geometry();
  // Writes by their index in the log, flushes by the event of their beginning; as many as this run() has.
  std::vector<std::size_t> writes;
  std::vector<std::pair<std::uint64_t, std::size_t>> flushes;
  {
    const std::lock_guard lock(mutex_);
    ++running_;
    for (const BlockIo& io : requests) {
      if (io.op == BlockOp::kRead || !check_block_io(geometry, io, {})) continue;  // refused below, touching nothing
      if (io.op == BlockOp::kFlush) {
        flushes.emplace_back(flushes_, log_.add(Recording::EventKind::kFlushBegin, flushes_));
        ++flushes_;
        continue;
      }
      Recording::Write write;
      write.offset_bytes = io.offset_bytes;
      write.length_bytes = io.length_bytes;
      for (const iovec& vector : io.vectors) {
        const auto* data = static_cast<const std::byte*>(vector.iov_base);
        write.bytes.insert(write.bytes.end(), data, data + vector.iov_len);
      }
      write.begin = log_.add(Recording::EventKind::kWriteBegin, log_.writes_.size());
      writes.push_back(log_.writes_.size());
      log_.writes_.push_back(std::move(write));
    }
  }

  Status status = under_.run(requests);

  const std::lock_guard lock(mutex_);
  --running_;
  // Which request of a failed run() failed is not known: take the worst of each.
  for (const std::size_t index : writes) {
    log_.writes_[index].end =
        log_.add(status ? Recording::EventKind::kWriteEnd : Recording::EventKind::kWriteFailed, index);
    if (status)
      log_.completed_.push_back(index);
    else
      log_.writes_[index].unsavable = true;
  }
  for (const auto& [flush, begin] : flushes) {
    log_.add(status ? Recording::EventKind::kFlushEnd : Recording::EventKind::kFlushFailed, flush);
    if (status)
      log_.flushed(begin);
    else
      log_.flush_failed();
  }
  return status;
}

void RecordingDisk::mark(std::uint64_t value, std::string label) {
  const std::lock_guard lock(mutex_);
  log_.add(Recording::EventKind::kMark, value, std::move(label));
}

Recording RecordingDisk::finish() {
  const std::lock_guard lock(mutex_);
  WEFT_CHECK(running_ == 0);
  DiskImage now = log_.durable_at(log_.events_.size());
  for (const Recording::Write& write : log_.writes_)
    if (write.durable == Recording::kNever) store(now, write, 0, write.length_bytes);
  flushes_ = 0;
  return std::exchange(log_, Recording(std::move(now)));
}

}  // namespace weft
