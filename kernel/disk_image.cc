#include "kernel/disk_image.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "kernel/check.h"
#include "kernel/units.h"

namespace weft {
namespace {

constexpr unsigned kFanOutBits = 6;
constexpr std::uint64_t kFanOut = 1ULL << kFanOutBits;
constexpr std::uint64_t kStale = 1;  // a hash yet to be taken; no content has it

constexpr std::array<std::byte, DiskImage::kChunkBytes> kZeros{};

// How many chunks lie below one child at `level`; a child at level 1 is a leaf.
std::uint64_t chunks_per_child(unsigned level) {
  WEFT_CHECK(level >= 1);
  return 1ULL << (kFanOutBits * (level - 1));
}

}  // namespace

// The hash is a cache that several threads may fill at once, with the same value.
struct DiskImage::Part : RefCounted<DiskImage::Part> {
  mutable std::atomic<std::uint64_t> hash{kStale};
  virtual ~Part() = default;
};

struct DiskImage::Inner final : Part {
  std::array<Ref<Part>, kFanOut> children;
  Inner() = default;
  Inner(const Inner& other) : Part(), children(other.children) {}
};

struct DiskImage::Leaf final : Part {
  std::array<std::byte, kChunkBytes> bytes;
  Leaf() : bytes{} {}
  Leaf(const Leaf& other) : Part(), bytes(other.bytes) {}
};

DiskImage::DiskImage(std::uint64_t size_bytes) : size_bytes_(size_bytes), height_(0) {
  const std::uint64_t chunks = divide_up(size_bytes, kChunkBytes);
  while (height_ * kFanOutBits < 64 && (chunks == 0 ? 0 : (chunks - 1) >> (height_ * kFanOutBits)) != 0) ++height_;
}

DiskImage::DiskImage(const DiskImage& other) noexcept = default;
DiskImage::DiskImage(DiskImage&& other) noexcept = default;
DiskImage::~DiskImage() = default;

DiskImage& DiskImage::operator=(DiskImage other) noexcept {
  size_bytes_ = other.size_bytes_;
  height_ = other.height_;
  root_.swap(other.root_);
  return *this;
}

const DiskImage::Leaf* DiskImage::find(std::uint64_t chunk) const noexcept {
  const Part* part = root_.get();
  for (unsigned level = height_; level > 0 && part != nullptr; --level)
    part = static_cast<const Inner*>(part)->children[(chunk / chunks_per_child(level)) % kFanOut].get();
  return static_cast<const Leaf*>(part);
}

// From the root down, so that what a shared parent holds is seen to be shared once the parent has been copied (I1).
DiskImage::Leaf& DiskImage::leaf_for_write(std::uint64_t chunk) {
  Ref<Part>* slot = &root_;
  for (unsigned level = height_; level > 0; --level) {
    if (!*slot)
      *slot = make_ref<Inner>();
    else if (!(*slot)->unique())
      *slot = make_ref<Inner>(static_cast<const Inner&>(**slot));
    (*slot)->hash.store(kStale, std::memory_order_relaxed);
    slot = &static_cast<Inner&>(**slot).children[(chunk / chunks_per_child(level)) % kFanOut];
  }
  if (!*slot)
    *slot = make_ref<Leaf>();
  else if (!(*slot)->unique())
    *slot = make_ref<Leaf>(static_cast<const Leaf&>(**slot));
  (*slot)->hash.store(kStale, std::memory_order_relaxed);
  return static_cast<Leaf&>(**slot);
}

void DiskImage::read(std::uint64_t offset_bytes, std::span<std::byte> into) const noexcept {
  WEFT_CHECK(into.size() <= size_bytes_ && offset_bytes <= size_bytes_ - into.size());
  while (!into.empty()) {
    const std::uint64_t within = offset_bytes % kChunkBytes;
    const std::size_t step = std::min<std::uint64_t>(into.size(), kChunkBytes - within);
    if (const Leaf* leaf = find(offset_bytes / kChunkBytes); leaf != nullptr)
      std::memcpy(into.data(), leaf->bytes.data() + within, step);
    else
      std::memset(into.data(), 0, step);
    into = into.subspan(step);
    offset_bytes += step;
  }
}

void DiskImage::write(std::uint64_t offset_bytes, std::span<const std::byte> from) {
  WEFT_CHECK(from.size() <= size_bytes_ && offset_bytes <= size_bytes_ - from.size());
  while (!from.empty()) {
    const std::uint64_t within = offset_bytes % kChunkBytes;
    const std::size_t step = std::min<std::uint64_t>(from.size(), kChunkBytes - within);
    std::memcpy(leaf_for_write(offset_bytes / kChunkBytes).bytes.data() + within, from.data(), step);
    from = from.subspan(step);
    offset_bytes += step;
  }
}

// Empties chunks [first, last) of the subtree in `slot`, counted from its own beginning.
void DiskImage::drop(Ref<Part>& slot, unsigned level, std::uint64_t first, std::uint64_t last) {
  if (!slot || first >= last) return;
  const std::uint64_t covers = level == 0 ? 1 : chunks_per_child(level) * kFanOut;
  if (first == 0 && last >= covers) {
    slot.reset();
    return;
  }
  if (!slot->unique()) slot = make_ref<Inner>(static_cast<const Inner&>(*slot));
  slot->hash.store(kStale, std::memory_order_relaxed);
  const std::uint64_t per_child = chunks_per_child(level);
  for (std::uint64_t child = first / per_child; child < kFanOut && child * per_child < last; ++child) {
    const std::uint64_t base = child * per_child;
    drop(static_cast<Inner&>(*slot).children[child], level - 1, first > base ? first - base : 0,
         std::min(last - base, per_child));
  }
}

void DiskImage::discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  WEFT_CHECK(length_bytes <= size_bytes_ && offset_bytes <= size_bytes_ - length_bytes);
  const std::uint64_t end = offset_bytes + length_bytes;
  const std::uint64_t whole_begin = std::min(round_up(offset_bytes, kChunkBytes), end);
  const std::uint64_t whole_end = std::max(round_down(end, kChunkBytes), whole_begin);
  const auto zero = [&](std::uint64_t begin, std::uint64_t stop) {
    if (begin < stop && find(begin / kChunkBytes) != nullptr) write(begin, std::span(kZeros).first(stop - begin));
  };
  zero(offset_bytes, whole_begin);
  zero(whole_end, end);
  drop(root_, height_, whole_begin / kChunkBytes, whole_end / kChunkBytes);
}

// Of content alone: a part of zeros hashes to 0, as an absent one does, and a parent adds up its children's (I2).
std::uint64_t DiskImage::hash_of(const Part* part, unsigned level) noexcept {
  if (part == nullptr) return 0;
  if (const std::uint64_t known = part->hash.load(std::memory_order_relaxed); known != kStale) return known;
  std::uint64_t hash = 0;
  if (level == 0) {
    const auto& bytes = static_cast<const Leaf*>(part)->bytes;
    if (std::memcmp(bytes.data(), kZeros.data(), bytes.size()) != 0) hash = XXH3_64bits(bytes.data(), bytes.size());
  } else {
    for (std::uint64_t child = 0; child < kFanOut; ++child) {
      const std::uint64_t below = hash_of(static_cast<const Inner*>(part)->children[child].get(), level - 1);
      if (below == 0) continue;
      const std::array<std::uint64_t, 2> placed{child, below};
      hash += XXH3_64bits(placed.data(), sizeof placed);
    }
  }
  if (hash == kStale) hash = kStale + 1;
  part->hash.store(hash, std::memory_order_relaxed);
  return hash;
}

std::uint64_t DiskImage::hash() const noexcept { return hash_of(root_.get(), height_); }

std::uint64_t DiskImage::hash(std::uint64_t offset_bytes, std::uint64_t length_bytes) const noexcept {
  std::uint64_t hash = 0;
  for (std::uint64_t at = offset_bytes, end = offset_bytes + length_bytes; at < end;) {
    const std::uint64_t within = at % kChunkBytes;
    const std::uint64_t step = std::min(end - at, kChunkBytes - within);
    const Leaf* leaf = find(at / kChunkBytes);
    std::uint64_t part = 0;
    if (leaf != nullptr && step == kChunkBytes) {
      part = hash_of(leaf, 0);
    } else if (leaf != nullptr && std::memcmp(leaf->bytes.data() + within, kZeros.data(), step) != 0) {
      part = XXH3_64bits(leaf->bytes.data() + within, step);
    }
    const std::array<std::uint64_t, 2> placed{at - offset_bytes, part};
    if (part != 0) hash += XXH3_64bits(placed.data(), sizeof placed);
    at += step;
  }
  return hash;
}

void DiskImage::list(const Part* part, unsigned level, std::uint64_t base, std::vector<std::uint64_t>& into) {
  if (part == nullptr) return;
  if (level == 0) {
    into.push_back(base * kChunkBytes);
    return;
  }
  for (std::uint64_t child = 0; child < kFanOut; ++child)
    list(static_cast<const Inner*>(part)->children[child].get(), level - 1, base + child * chunks_per_child(level),
         into);
}

std::vector<std::uint64_t> DiskImage::chunks() const {
  std::vector<std::uint64_t> found;
  list(root_.get(), height_, 0, found);
  return found;
}

}  // namespace weft
