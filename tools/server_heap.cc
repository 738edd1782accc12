#include "tools/server_heap.h"

#include <malloc.h>

#include <cstdlib>
#include <memory>

#include "mem/allocate.h"
#include "mem/own_thread.h"
#include "mem/pages.h"
#include "sched/spawn.h"

namespace weft::tools {

// NOLINTBEGIN(concurrency-mt-unsafe): before there are threads.
void bound_heap() noexcept {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 20);
  ::mallopt(M_ARENA_MAX, 4);
}
// NOLINTEND(concurrency-mt-unsafe)

void trim_heap(std::size_t keep_bytes) noexcept {
  if (::mallinfo2().fordblks > keep_bytes) ::malloc_trim(0);
}

namespace {

// Before the heap's own constructor, which may want a thread, and which has no priority.
[[gnu::constructor(101)]] void program_starts() noexcept { mem::hold_own_threads(); }

bool malloc_is_ours() noexcept {
  const std::unique_ptr<void, decltype(&std::free)> probe(std::calloc(1, 1), &std::free);
  return mem::is_ours(probe.get());
}

}  // namespace

void start_heap_threads() noexcept { mem::release_own_threads(); }

void flush_workers() {
  static const bool ours = malloc_is_ours();
  if (!ours) return;
  constexpr std::size_t kAtATime = std::size_t{4} << 20;
  for (unsigned i = 0; i < sched::worker_count(); ++i)
    sched::spawn_pinned(i, "flush heap", [] { mem::heap_idle(kAtATime); }).join();
}

sched::StackMemory stacks_of_heap() noexcept {
  return {.take = [](std::size_t bytes) { return mem::take_pages(bytes, mem::PageUse::kStacks); },
          .give = [](void* start, std::size_t) { mem::give_pages(start); }};
}

sched::StackMemory server_stacks() noexcept { return malloc_is_ours() ? stacks_of_heap() : sched::StackMemory{}; }

}  // namespace weft::tools
