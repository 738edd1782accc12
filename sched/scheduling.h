// sched/scheduling.h - who runs first: strict classes, groups with shares, a home worker; and giving way in long loops.
//
//   sched::Group compaction("compaction", 25);                       // a quarter of what ordinary fibers get together
//   sched::spawn({.name = "merge", .group = compaction}, [&] { ... sched::checkpoint(); ... });
//   sched::spawn({.name = "heartbeat", .scheduling_class = sched::SchedulingClass::kHigh}, [&] { ... });
//
// A fiber is ordinary unless something is said. All ordinary fibers of a runtime are together one group of kDefaultShares. Group
// and class are inherited: what a fiber spawns is scheduled as itself. What is guaranteed, and what is not: sched/SCHEDULING.md.
// A Simulation takes no notice of classes: it draws among all that are ready, since no program may rely on classes to be right.
//
// From any fiber or thread, but where said. Nothing parks but checkpoint(), which may yield. On a plain thread without a
// runtime, spawn() starts a plain thread and checkpoint() does nothing. Tests: tests/sched/scheduling_test.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "sched/body.h"
#include "sched/spawn.h"

namespace weft::sched {

struct GroupState;

enum class SchedulingClass : std::uint8_t {
  kNormal,
  kHigh,  // before all that are not, but for one turn in twenty: for what is short and urgent
  kIdle,  // when nothing else is to be done, or after a second of waiting
};

// A handle; copies are of the same group. Lives as long as its handles and fibers. Its fibers are of one runtime at a time.
class Group {
 public:
  static constexpr unsigned kDefaultShares = 100;

  // That of ordinary fibers; to spawn one from a fiber that is not.
  Group() noexcept = default;
  // 1 to 10,000 shares, others are brought into the range. `name` (31 bytes of it are kept) is for people.
  explicit Group(std::string_view name, unsigned shares = kDefaultShares);
  Group(const Group& other) noexcept;
  Group(Group&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Group& operator=(Group other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Group();

  [[nodiscard]] std::string_view name() const noexcept;
  [[nodiscard]] unsigned shares() const noexcept;
  // From its fibers' next turns on. No effect on that of ordinary fibers.
  void set_shares(unsigned shares) noexcept;
  // That its fibers have had, of all classes, without what runs now. Zero for that of ordinary fibers, which is not measured.
  [[nodiscard]] std::chrono::nanoseconds cpu_time() const noexcept;

  [[nodiscard]] GroupState* state() const noexcept { return state_; }  // internal

 private:
  GroupState* state_ = nullptr;
};

struct SpawnOptions {
  std::string_view name = "fiber";                    // 31 bytes of it are kept; for people
  std::optional<Group> group{};                       // none: the spawner's
  std::optional<SchedulingClass> scheduling_class{};  // none: the spawner's
  std::size_t stack_bytes = 0;                        // 0: the runtime's usual; else rounded up to a power of two
  std::optional<unsigned> worker{};                   // none: any; else it runs there only
  std::span<const unsigned> workers{};                // empty: any; else it runs on these only; not both
};

Fiber spawn(const SpawnOptions& options, Body body);

// The calling fiber's; kNormal on a plain thread.
SchedulingClass scheduling_class() noexcept;

// For loops that compute for long: fetches I/O and timers that are due about every 200 us, and lets others go first when the
// fiber has run for about 500 us, or a high one waits. Some nanoseconds when there is nothing to do.
void checkpoint() noexcept;

}  // namespace weft::sched
