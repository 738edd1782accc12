// sched/fiber_extras.h - what only some fibers need: a std::stop_source, fiber-local values, a set of workers. Internal to sched/.
//
// Made when first asked for, so a fiber that never asks carries one null pointer. Ends with the body, on the fiber.
//
// Locks        FiberState::cancel_lock guards the pointer to it and `stop`, which other fibers look at; the values are the fiber's own.
// Tests: tests/sched/stop_test.cc, fiber_local_test.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <stop_token>
#include <vector>

#include "sched/fiber_local.h"

namespace weft::sched {

struct FiberState;

// The values of one fiber or plain thread, by their keys.
class LocalValues {
 public:
  LocalValues() noexcept = default;
  LocalValues(const LocalValues&) = delete;
  LocalValues& operator=(const LocalValues&) = delete;
  ~LocalValues() { clear(); }

  // The last made goes first. A destructor may use fiber-locals; what it makes anew goes as well.
  void clear() noexcept;

  // Null: none.
  [[nodiscard]] void* find(std::uint64_t key) const noexcept;
  void put(std::uint64_t key, void* value, const FiberLocalKind& kind);
  void erase(std::uint64_t key) noexcept;
  // Copies of those that are passed on.
  void inherit(const LocalValues& from);
  [[nodiscard]] bool passes_on() const noexcept;

 private:
  struct Entry {
    std::uint64_t key = 0;
    std::uint64_t order = 0;
    void* value = nullptr;
    const FiberLocalKind* kind = nullptr;
  };
  std::vector<Entry> entries_;  // keys ascend
  std::uint64_t made_ = 0;
};

struct FiberExtras {
  std::stop_source stop{std::nostopstate};
  LocalValues locals;
  // That alone may run it, from its spawn on; empty: any, or FiberState::pinned. As that, changed by its own fiber and who makes
  // it ready.
  std::vector<unsigned> workers;
  bool roams = false;  // `pinned` holds until it is next made ready, and is then another of `workers`

  // The calling fiber's own, made if there are none.
  static FiberExtras& of(FiberState& self);
  // For a fiber that is being made: what the spawner passes on, or null.
  static FiberExtras* inherited();
  // At the end of the body, on the fiber.
  static void end(FiberState& self) noexcept;
};

// source.request_stop(). std::stop_callback takes two fibers of one thread for one, so nobody else runs on this thread before
// all callbacks are through: they do not park, and a Simulation draws nobody else.
void request_stop_of(std::stop_source& source) noexcept;

// Set once a fiber-local that is passed on has been used, so that until then a spawn looks no further.
extern std::atomic<bool> locals_are_inherited;

}  // namespace weft::sched
