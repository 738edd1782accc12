// mem/limits.cc - see limits.h.
#include "mem/limits.h"

#include "mem/hardened.h"
#include "mem/page_runs.h"
#include "mem/thread_heap.h"

namespace weft::mem {
namespace {

std::size_t units_of(std::size_t bytes) noexcept { return bytes == SIZE_MAX ? SIZE_MAX : bytes / kUnitBytes; }
std::size_t bytes_of(std::size_t units) noexcept { return units == SIZE_MAX ? SIZE_MAX : units * kUnitBytes; }

}  // namespace

void set_limits(const Limits& limits) noexcept {
  page_runs.set_limits(units_of(limits.soft_bytes), units_of(limits.hard_bytes));
  if (!hardened::on() && has_heap()) current_heap->relieve();
}

Limits limits() noexcept {
  return {.soft_bytes = bytes_of(page_runs.soft_units()), .hard_bytes = bytes_of(page_runs.hard_units())};
}

}  // namespace weft::mem
