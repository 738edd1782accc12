#include "kernel/sim_disk.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "kernel/check.h"

namespace weft {
namespace {

constexpr std::uint64_t kSector = 512;  // the most a disk promises to write in one piece

bool is_write(const BlockIo& io) { return io.op == BlockOp::kWrite || io.op == BlockOp::kDiscard; }

bool touches(const SimDisk::Fault& fault, const BlockIo& io) {
  if (fault.op != io.op) return false;
  if (io.op == BlockOp::kFlush) return true;
  if (io.offset_bytes + io.length_bytes <= fault.offset_bytes) return false;
  return fault.length_bytes == SimDisk::kForEver || io.offset_bytes < fault.offset_bytes + fault.length_bytes;
}

}  // namespace

SimDisk::SimDisk(std::uint64_t size_bytes, Options options) : SimDisk(DiskImage(size_bytes), std::move(options)) {}

SimDisk::SimDisk(DiskImage image, Options options)
    : geometry_{.size_bytes = image.size_bytes(),
                .alignment_bytes = options.alignment_bytes,
                .can_discard = true,
                .read_only = false},
      options_(std::move(options)),
      random_(options_.seed),
      current_(image),
      durable_(std::move(image)) {
  WEFT_CHECK(options_.absent_percent + options_.present_percent <= 100);
}

Status SimDisk::run(std::span<const BlockIo> requests) {
  std::uint64_t power_cuts = 0;
  std::uint64_t covered = 0;
  {
    const std::lock_guard lock(mutex_);
    power_cuts = power_cuts_;
    covered = next_sequence_;
  }
  if (options_.before) options_.before(requests);

  const std::lock_guard lock(mutex_);
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  if (options_.shuffle && order.size() > 1) {
    for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random_.below(i + 1)]);
  }

  Status result;
  std::size_t failed_at = requests.size();
  for (const std::size_t index : order) {
    const BlockIo& io = requests[index];
    Status status = check_block_io(geometry_, io, options_.name);
    if (status) {
      if (!powered_ || power_cuts != power_cuts_) {
        ++counters_.failed;
        // Cut by a write of this very run(): the rest had been started with it.
        if (is_write(io) && !powered_ && power_cuts == power_cuts_) unflushed_.push_back(gather(io, io.offset_bytes));
        status = fail(Errc::kClosed, options_.name + ": the power is off");
      } else if (is_write(io) && writes_until_cut_ == 1) {
        writes_until_cut_ = 0;
        ++counters_.failed;
        unflushed_.push_back(gather(io, io.offset_bytes));
        powered_ = false;
        status = fail(Errc::kClosed, options_.name + ": the power went off");
      } else {
        if (is_write(io) && writes_until_cut_ != 0) --writes_until_cut_;
        status = execute(io, covered);
        if (!status) ++counters_.failed;
      }
    }
    if (!status && index < failed_at) {
      failed_at = index;
      result = std::move(status);
    }
  }
  if (!powered_ && power_cuts == power_cuts_) {
    ++power_cuts_;
    settle_unflushed();
  }
  return result;
}

Status SimDisk::execute(const BlockIo& io, std::uint64_t flush_covers_below) {
  const Fault* fault = strike(io);
  const bool lost = fault != nullptr && fault->kind == FaultKind::kLost;
  const bool fails = fault != nullptr && fault->kind == FaultKind::kError;
  const bool flips = fault != nullptr && fault->kind == FaultKind::kFlipped;
  const auto io_error = [&] {
    return fail(Errc::kIo, options_.name + ": input/output error at offset " + std::to_string(io.offset_bytes));
  };

  switch (io.op) {
    case BlockOp::kRead:
      if (fails) return io_error();
      ++counters_.reads;
      counters_.read_bytes += io.length_bytes;
      return read_now(io, flips);

    case BlockOp::kWrite:
    case BlockOp::kDiscard: {
      if (fails) {
        // D3: whatever part of it happened is then as any unflushed write.
        Unflushed part = gather(io, io.offset_bytes);
        DiskImage after = current_;
        apply_fate(after, part);
        // A failed discard does nothing: the one of "anything between nothing and all" that needs no bytes kept.
        if (!part.bytes.empty()) {
          after.read(part.offset_bytes, part.bytes);
          apply_whole(current_, part);
          unflushed_.push_back(std::move(part));
        }
        return io_error();
      }
      if (io.op == BlockOp::kWrite) {
        ++counters_.writes;
        counters_.written_bytes += io.length_bytes;
      } else {
        ++counters_.discards;
      }
      if (lost) return {};
      std::uint64_t offset = io.offset_bytes;
      if (fault != nullptr && fault->kind == FaultKind::kMisdirected) {
        const std::uint64_t places = (geometry_.size_bytes - io.length_bytes) / geometry_.alignment_bytes;
        while (places > 0 && offset == io.offset_bytes) offset = random_.below(places + 1) * geometry_.alignment_bytes;
      }
      write_now(io, offset, flips);
      return {};
    }

    case BlockOp::kFlush:
      if (fails) return flush_now(true, flush_covers_below);
      ++counters_.flushes;
      if (lost) return {};
      return flush_now(false, flush_covers_below);
  }
  return fail(Errc::kInvalid, options_.name + ": unknown request");
}

const SimDisk::Fault* SimDisk::strike(const BlockIo& io) {
  const Fault* hit = nullptr;
  for (ArmedFault& armed : faults_) {
    if (!touches(armed.fault, io)) continue;
    const std::uint64_t number = armed.seen++;
    if (hit != nullptr || number < armed.fault.skip) continue;
    if (armed.fault.times == kForEver || number - armed.fault.skip < armed.fault.times) hit = &armed.fault;
  }
  return hit;
}

Status SimDisk::read_now(const BlockIo& io, bool flip) {
  std::uint64_t offset = io.offset_bytes;
  for (const iovec& vector : io.vectors) {
    current_.read(offset, {static_cast<std::byte*>(vector.iov_base), vector.iov_len});
    offset += vector.iov_len;
  }
  if (flip && io.length_bytes > 0) {
    std::uint64_t at = random_.below(io.length_bytes);
    for (const iovec& vector : io.vectors) {
      if (at < vector.iov_len) {
        static_cast<std::byte*>(vector.iov_base)[at] ^= static_cast<std::byte>(1U << random_.below(8));
        break;
      }
      at -= vector.iov_len;
    }
  }
  return {};
}

SimDisk::Unflushed SimDisk::gather(const BlockIo& io, std::uint64_t offset_bytes) {
  Unflushed write;
  write.sequence = next_sequence_++;
  write.offset_bytes = offset_bytes;
  if (io.op == BlockOp::kDiscard) {
    write.discard_bytes = io.length_bytes;
    return write;
  }
  write.bytes.reserve(io.length_bytes);
  for (const iovec& vector : io.vectors) {
    const auto* data = static_cast<const std::byte*>(vector.iov_base);
    write.bytes.insert(write.bytes.end(), data, data + vector.iov_len);
  }
  return write;
}

void SimDisk::write_now(const BlockIo& io, std::uint64_t offset_bytes, bool flip) {
  Unflushed write = gather(io, offset_bytes);
  if (flip && !write.bytes.empty())
    write.bytes[random_.below(write.bytes.size())] ^= static_cast<std::byte>(1U << random_.below(8));
  apply_whole(current_, write);
  unflushed_.push_back(std::move(write));
}

// DURABLE HERE, for what had completed before the flush was submitted.
Status SimDisk::flush_now(bool fails, std::uint64_t covers_below) {
  if (fails) {
    // What it should have saved is past saving; that each write's fate is drawn now rather than at the next power cut
    // cannot be told from outside.
    settle_unflushed();
    return fail(Errc::kIo, options_.name + ": flush failed");
  }
  const auto end = std::find_if(unflushed_.begin(), unflushed_.end(),
                                [&](const Unflushed& write) { return write.sequence >= covers_below; });
  for (auto write = unflushed_.begin(); write != end; ++write) apply_whole(durable_, *write);
  unflushed_.erase(unflushed_.begin(), end);
  return {};
}

void SimDisk::apply_whole(DiskImage& image, const Unflushed& write) {
  if (write.bytes.empty())
    image.discard(write.offset_bytes, write.discard_bytes);
  else
    image.write(write.offset_bytes, write.bytes);
}

void SimDisk::apply_fate(DiskImage& image, const Unflushed& write) {
  const std::uint64_t draw = random_.below(100);
  if (draw < options_.absent_percent) return;
  if (draw < options_.absent_percent + options_.present_percent) {
    apply_whole(image, write);
    return;
  }
  const std::uint64_t length = write.bytes.empty() ? write.discard_bytes : write.bytes.size();
  const std::uint64_t sectors = length / kSector;
  if (sectors == 0) return;
  const auto apply_part = [&](std::uint64_t first, std::uint64_t count) {
    if (count == 0) return;
    if (write.bytes.empty())
      image.discard(write.offset_bytes + first * kSector, count * kSector);
    else
      image.write(write.offset_bytes + first * kSector,
                  std::span(write.bytes).subspan(first * kSector, count * kSector));
  };
  const std::uint64_t cut = random_.below(sectors + 1);
  switch (random_.below(4)) {
    case 0: apply_part(0, cut); break;
    case 1: apply_part(cut, sectors - cut); break;
    case 2:  // a hole of one sector
      if (cut > 0) apply_part(0, cut - 1);
      apply_part(cut, sectors - cut);
      break;
    default:
      // A discard may be of many TiB: two pieces then tell as much as a billion coins.
      if (sectors > (1U << 16)) {
        apply_part(0, cut / 2);
        apply_part(cut, sectors - cut);
        break;
      }
      for (std::uint64_t sector = 0; sector < sectors; ++sector)
        if (random_.one_in(2)) apply_part(sector, 1);
  }
}

void SimDisk::settle_unflushed() {
  for (std::size_t i = unflushed_.size(); i > 1; --i) std::swap(unflushed_[i - 1], unflushed_[random_.below(i)]);
  for (const Unflushed& write : unflushed_) apply_fate(durable_, write);
  unflushed_.clear();
}

void SimDisk::inject(const Fault& fault) {
  const std::lock_guard lock(mutex_);
  faults_.push_back({fault, 0});
}

void SimDisk::clear_faults() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

void SimDisk::flip_bit(DiskImage& image, std::uint64_t bit) {
  std::byte byte{};
  image.read(bit / 8, {&byte, 1});
  byte ^= static_cast<std::byte>(1U << (bit % 8));
  image.write(bit / 8, {&byte, 1});
}

void SimDisk::rot(std::uint64_t offset_bytes, std::uint64_t length_bytes, std::uint32_t bits) {
  WEFT_CHECK(length_bytes > 0 && offset_bytes + length_bytes <= geometry_.size_bytes);
  const std::lock_guard lock(mutex_);
  for (std::uint32_t i = 0; i < bits; ++i) {
    const std::uint64_t bit = (offset_bytes * 8) + random_.below(length_bytes * 8);
    flip_bit(current_, bit);
    flip_bit(durable_, bit);
  }
}

std::uint64_t SimDisk::rot_random(std::uint32_t bits) {
  std::uint64_t offset = kForEver;
  {
    const std::lock_guard lock(mutex_);
    const auto chunks = current_.chunks();
    if (chunks.empty()) return offset;
    offset = chunks[random_.below(chunks.size())];
  }
  rot(offset, std::min(DiskImage::kChunkBytes, geometry_.size_bytes - offset), bits);
  return offset;
}

void SimDisk::cut_power() {
  const std::lock_guard lock(mutex_);
  if (!powered_) return;
  powered_ = false;
  ++power_cuts_;
  settle_unflushed();
}

void SimDisk::cut_power_at_write(std::uint64_t n) {
  const std::lock_guard lock(mutex_);
  writes_until_cut_ = n;
}

void SimDisk::restart() {
  const std::lock_guard lock(mutex_);
  if (powered_) return;
  current_ = durable_;
  writes_until_cut_ = 0;
  powered_ = true;
}

bool SimDisk::powered() const {
  const std::lock_guard lock(mutex_);
  return powered_;
}

DiskImage SimDisk::copy() const {
  const std::lock_guard lock(mutex_);
  return current_;
}

DiskImage SimDisk::durable_copy() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

std::size_t SimDisk::unflushed_writes() const {
  const std::lock_guard lock(mutex_);
  return unflushed_.size();
}

SimDisk::Counters SimDisk::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

}  // namespace weft
