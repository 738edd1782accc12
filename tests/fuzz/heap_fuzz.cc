// The heap: any sequence of calls, from two heaps of threads, also while the kernel refuses memory, beside a model of what each block must
// hold. check_invariants() holds after all.
//
// Input: (operation u8, its arguments: see Walk::step()). Nothing stays from one input to the next but free memory.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "kernel/check.h"
#include "mem/allocate.h"
#include "mem/heap.h"
#include "mem/heap_check.h"
#include "mem/heap_registry.h"
#include "mem/region.h"
#include "mem/system_memory.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace weft;

constexpr unsigned kMaxSteps = 3000;
constexpr std::size_t kSlots = 64;
constexpr std::size_t kMostHeld = std::size_t{64} << 20;
constexpr std::size_t kKeptDirty = std::size_t{4} << 20;  // not faulted in anew each time
constexpr std::size_t kHeapLimit = std::size_t{4} << 20;

// What a second thread would be to the heap, on this one: its own lists and batches, and its end. So each run is like the last.
class OtherThread {
 public:
  OtherThread() = default;
  ~OtherThread() { end(); }
  OtherThread(const OtherThread&) = delete;
  OtherThread& operator=(const OtherThread&) = delete;

  template <typename Call>
  void run(const Call& call) {
    if (heap_ == nullptr) heap_ = mem::heap_registry.attach();
    if (heap_ == nullptr) return;  // as a thread that finds no memory for its heap
    mem::LocalHeap* const mine = std::exchange(mem::current_heap, heap_);
    call();
    mem::current_heap = mine;
  }
  void end() {
    if (heap_ != nullptr) mem::heap_registry.detach(*std::exchange(heap_, nullptr));
  }

 private:
  mem::LocalHeap* heap_ = nullptr;
};

class Walk {
 public:
  explicit Walk(fuzz::FuzzInput input) : input_(input) {}

  void run() {
    for (unsigned steps = 0; !input_.empty() && steps < kMaxSteps; ++steps) step();
    mem::system::fail_after(-1);
    for (Block& block : blocks_) release(block);
    heap_.reset();
    region_.reset();
    other_.end();
    mem::trim(kKeptDirty);
    check();
  }

 private:
  struct Block {
    unsigned char* at = nullptr;
    std::size_t size = 0;
    unsigned char mark = 0;
    bool of_heap = false;
  };

  void step() {
    const auto what = input_.take<std::uint8_t>();
    const bool elsewhere = what >= 0xc0;
    switch (what % 24) {
      case 0:
      case 1:
      case 2: return make(elsewhere, [](std::size_t size) { return mem::allocate(size); });
      case 3: return make_zeroed(elsewhere);
      case 4: return make_aligned(elsewhere);
      case 5:
      case 6: return resize(elsewhere);
      case 7:
      case 8:
      case 9:
      case 10: return perform(elsewhere, [&] { release(slot()); });
      case 11: return many(elsewhere);
      case 12: return every_second(elsewhere);
      case 13: return perform(elsewhere, [&] { mem::heap_idle(std::size_t{input_.take<std::uint8_t>()} << 14); });
      case 14: return perform(elsewhere, [&] { mem::trim(std::size_t{input_.take<std::uint8_t>()} << 14); });
      case 15: return mem::system::fail_after(input_.take<std::uint8_t>() % 8);
      case 16: return mem::system::fail_after(-1);
      case 17: return own_heap();
      case 18:
      case 19: return make_in_heap(elsewhere);
      case 20: return from_region();
      case 21: return refused();
      case 22: return other_.end();
      default: return check();
    }
  }

  // -- Arguments
  Block& slot() { return blocks_[input_.take<std::uint8_t>() % kSlots]; }
  // Most are small or at the edge of a class, some are pages, few are megabytes.
  std::size_t size() {
    const auto kind = input_.take<std::uint8_t>();
    const std::size_t n = input_.take<std::uint16_t>();
    if (kind < 0x80) return n % 300;
    if (kind < 0xc0) return n % 0x9000;
    if (kind < 0xe0) return (std::size_t{16} << (n % 18)) + (n >> 5) % 3 - 1;
    return n << (kind % 8);
  }

  // -- Calls
  template <typename Call>
  void perform(bool elsewhere, const Call& call) {
    if (elsewhere) {
      other_.run(call);
    } else {
      call();
    }
  }
  template <typename Make>
  void make(bool elsewhere, const Make& allocate, bool of_heap = false) {
    Block& block = slot();
    const std::size_t wanted = size();
    perform(elsewhere, [&] {
      release(block);
      if (held_ + wanted > kMostHeld) return;
      keep(block, allocate(wanted), wanted);
      block.of_heap = of_heap && block.at != nullptr;
    });
  }
  void make_zeroed(bool elsewhere) {
    make(elsewhere, [](std::size_t wanted) {
      void* made = mem::allocate_zeroed(1, wanted);
      const auto* bytes = static_cast<const unsigned char*>(made);
      WEFT_CHECK(made == nullptr || std::all_of(bytes, bytes + wanted, [](unsigned char byte) { return byte == 0; }));
      return made;
    });
  }
  void make_aligned(bool elsewhere) {
    const std::size_t align = std::size_t{1} << input_.take<std::uint8_t>() % 23;
    make(elsewhere, [&](std::size_t wanted) {
      void* made = mem::allocate_aligned(align, wanted);
      WEFT_CHECK(reinterpret_cast<std::uintptr_t>(made) % align == 0);
      return made;
    });
  }
  void resize(bool elsewhere) {
    Block& block = slot();
    const std::size_t wanted = std::max<std::size_t>(size(), 1);
    if (held_ + wanted > kMostHeld) return;
    perform(elsewhere, [&] {
      verify(block);
      void* moved = block.of_heap ? heap_->reallocate(block.at, wanted) : mem::reallocate(block.at, wanted);
      if (moved == nullptr) return;
      held_ -= block.size;
      const Block old = std::exchange(block, {});
      block.of_heap = old.of_heap;
      const std::size_t same = std::min(old.size, wanted);
      const auto* bytes = static_cast<const unsigned char*>(moved);
      WEFT_CHECK(std::all_of(bytes, bytes + same, [&](unsigned char byte) { return byte == old.mark; }));
      keep(block, moved, wanted);
    });
  }
  // As many of one size as fill slabs; gone at once, in the other order, or by the other thread.
  void many(bool elsewhere) {
    const std::size_t wanted = size() % 2000;
    const std::size_t count = std::size_t{input_.take<std::uint8_t>()} * 4;
    const auto how = input_.take<std::uint8_t>();
    static std::array<void*, 1024> made;
    perform(elsewhere, [&] { std::generate_n(made.begin(), count, [&] { return mem::allocate(wanted); }); });
    if (how % 2 != 0) std::reverse(made.begin(), made.begin() + static_cast<std::ptrdiff_t>(count));
    perform((how & 2) != 0, [&] { std::for_each_n(made.begin(), count, [](void* block) { mem::release(block); }); });
  }
  void every_second(bool elsewhere) {
    perform(elsewhere, [&] {
      for (std::size_t i = 0; i < kSlots; i += 2) release(blocks_[i]);
    });
  }
  // A new heap in place of the old one, whose blocks go with it.
  void own_heap() {
    for (Block& block : blocks_) {
      if (!block.of_heap) continue;
      verify(block);
      held_ -= block.size;
      block = {};
    }
    heap_.reset();
    heap_ = mem::Heap::create(kHeapLimit);
  }
  void make_in_heap(bool elsewhere) {
    if (!heap_) return own_heap();
    make(elsewhere, [&](std::size_t wanted) { return heap_->allocate(wanted); }, true);
  }
  void from_region() {
    const std::size_t wanted = size();
    const std::size_t align = std::size_t{1} << input_.take<std::uint8_t>() % 13;
    if (input_.take<std::uint8_t>() % 16 == 0 || region_.held_bytes() > kMostHeld / 4) region_.reset();
    void* made = region_.allocate(wanted, align);
    if (made == nullptr) return;
    WEFT_CHECK(reinterpret_cast<std::uintptr_t>(made) % align == 0);
    std::memset(made, 0xa5, wanted);
  }
  // Sizes that nobody has, and what is no power of two.
  static void refused() {
    errno = 0;
    WEFT_CHECK(mem::allocate(SIZE_MAX - 8) == nullptr && errno == ENOMEM);
    WEFT_CHECK(mem::allocate_zeroed(SIZE_MAX / 2, 3) == nullptr);
    WEFT_CHECK(mem::allocate_aligned(4096, PTRDIFF_MAX) == nullptr);
    WEFT_CHECK(mem::allocate_aligned(48, 10) == nullptr && errno == EINVAL);
  }

  // -- The model
  void keep(Block& block, void* made, std::size_t size) {
    if (made == nullptr) return;
    WEFT_CHECK(mem::usable_size(made) >= size && mem::is_ours(made));
    block.at = static_cast<unsigned char*>(made);
    block.size = size;
    block.mark = ++marks_;
    held_ += size;
    std::memset(made, block.mark, size);
  }
  static void verify(const Block& block) {
    WEFT_CHECK(std::all_of(block.at, block.at + block.size, [&](unsigned char byte) { return byte == block.mark; }));
  }
  void release(Block& block) {
    verify(block);
    held_ -= block.size;
    // Both may be said of a heap's own.
    if (block.of_heap && block.mark % 2 == 0) {
      heap_->release(block.at);
    } else {
      mem::release(block.at);
    }
    block = {};
  }
  static void check() {
    const mem::Checked checked = mem::check_invariants();
    if (checked.broken != nullptr) std::fprintf(stderr, "broken at %p: %s\n", checked.where, checked.broken);
    WEFT_CHECK(checked.broken == nullptr);
  }

  fuzz::FuzzInput input_;
  std::array<Block, kSlots> blocks_;
  std::optional<mem::Heap> heap_;
  mem::Region region_;
  std::size_t held_ = 0;
  unsigned char marks_ = 0;
  OtherThread other_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  Walk(fuzz::FuzzInput(data, size_bytes)).run();
  return 0;
}
