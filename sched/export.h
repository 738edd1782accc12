// sched/export.h - marks what the shared library shows. Internal: the Makefile has it read before each of that library's sources.
//
// They are compiled with hidden symbols; what the installed headers declare is seen here first, and so is visible. No header needs
// a mark of its own. sched/exported.map then keeps back what templates of the C++ library leave behind.
// Tests: tests/library/symbols.sh.
#pragma once

// What public headers know by name only stays hidden.
namespace weft::sched {
class [[gnu::visibility("hidden")]] Scheduler;
class [[gnu::visibility("hidden")]] Worker;
struct [[gnu::visibility("hidden")]] FiberState;
struct [[gnu::visibility("hidden")]] GroupState;
class [[gnu::visibility("hidden")]] SimulatedEvent;
class [[gnu::visibility("hidden")]] SimulatedHostFiles;
class [[gnu::visibility("hidden")]] SimulatedLinks;
}  // namespace weft::sched

#pragma GCC visibility push(default)
#include "sched/sched.h"
#pragma GCC visibility pop
