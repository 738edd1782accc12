// mem/descriptor.h - what is known of a run of 16 KiB units: one 64-byte entry a unit, out of line. Internal.
//
// A run is one or more units in a row with one use. The descriptor of its first unit says everything; that of its last unit says
// where a free run begins, and each one of a slab's says where the slab begins (lead).
//
// A slab gives out `capacity` blocks of one class. `carved` of them exist so far, in the order of addresses, a page at a time;
// the others' pages were never touched. Of the carved ones
//
//   used + length(free) == carved          `used`: in the program's hands, in the owner's TLS list, or in `remote`
//
// An *active* slab feeds its owner's TLS list: all its free blocks are there, so `free` is empty and used == carved. The list holds
// blocks of active slabs only. That is why neither malloc nor a local free counts anything: when the list has run out, every block
// of these slabs is known to be in the program's hands again.
// Every other slab is *counted*: freeing a block takes a few instructions more, and the last one frees the slab.
//
// `remote` is where other threads put blocks: a chain, its length, and two marks (remote_free.h). Everything else is the owner's,
// or that of who holds the lock of PageRuns (page_runs.h) while nobody has the run.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mem/size_class.h"

namespace weft::mem {

class LocalHeap;
struct Descriptor;

namespace remote {
// The next slab in the queue, and which of its own blocks is the last of the chain that waits at this one: so the chain is put before
// another without a walk over blocks that lie in the caches of who freed them. 48 and 16 bits.
struct QueueLink {
  std::uint64_t next : 48;
  std::uint64_t last : 16;
};
}  // namespace remote

enum class Kind : std::uint8_t {
  kNone,   // a unit inside a run, or one never used
  kFree,   // free, in the bins of PageRuns
  kBusy,   // free, but away while its pages go back to the kernel
  kSlab,   // blocks of one class
  kLarge,  // one block
  kPages,  // of a pool (pages.h); size_class is its use
  kOwn,    // the heap's own
};

// How a large run has grown.
enum class Growth : std::uint8_t {
  kNone,
  kRoomy,  // it has address space behind it to grow on
  kMoved,  // and its pages came from elsewhere (system::move_pages)
};

struct alignas(64) Descriptor {
  struct SlabPart {
    void* free;
    std::atomic<std::uint64_t> remote;
    remote::QueueLink queued;  // in the owner's queue of slabs that others freed into
  };
  struct LargePart {
    std::size_t bytes;             // asked for, rounded up to pages
    std::atomic<LocalHeap*> heap;  // of a mem::Heap; null: nobody's in particular
  };

  Kind kind = Kind::kNone;
  std::uint8_t size_class = 0;
  bool listed = false;  // a slab: in its owner's list of those with free blocks; a free run: in the bins of dirty ones
  bool active = false;
  bool probe = false;  // a slab: counted as soon as it is full
  Growth growth = Growth::kNone;
  bool guarded = false;       // a large run: what follows the block's pages is inaccessible (hardened mode)
  bool sampled = false;       // a large run: see sampling.h
  std::uint16_t segment = 0;  // its place in segments[]; of first and last units of runs
  std::uint16_t used = 0;
  std::uint16_t carved = 0;
  std::uint16_t capacity = 0;
  std::uint32_t units = 0;
  std::uint32_t lead = 0;  // unit where the slab, or the free run that ends here, begins
  Descriptor* prev = nullptr;
  Descriptor* next = nullptr;
  union {
    SlabPart slab;
    LargePart large;
  };
};
static_assert(sizeof(Descriptor) == 64);

}  // namespace weft::mem
