// mem/pages.cc - see pages.h.
#include "mem/pages.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "mem/fatal.h"
#include "mem/page_runs.h"
#include "mem/segment.h"
#include "mem/system_memory.h"
#include "mem/thread_heap.h"

namespace weft::mem {

void* take_pages(std::size_t bytes, PageUse use) noexcept {
  prepare_process();
  PageRuns::Run run;
  if (bytes <= PTRDIFF_MAX)
    run = page_runs.allocate(std::max<std::size_t>((bytes + kUnitBytes - 1) / kUnitBytes, 1), Kind::kPages);
  if (run.first == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  run.first->size_class = static_cast<std::uint8_t>(use);
  return start_of(*run.first);
}

void give_pages(void* start) noexcept {
  Segment* segment = segment_with(start);
  if (segment == nullptr) fatal("these pages are not the heap's", start);
  Descriptor& run = segment->descriptors[unit_at(*segment, start)];
  if (run.kind != Kind::kPages || start_of(run) != start) fatal("no pages were taken here (given back before?)", start);
  // A mapping anew: what was forbidden or advised is forgotten. If there is none to be had, nobody may be given these.
  if (system::replace(start, run.units * kUnitBytes)) page_runs.free(run, true);
}

}  // namespace weft::mem
