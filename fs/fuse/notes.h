// fs/fuse/notes.h - what a request found before it was executed, where the next server can read it.
//
//   resent -> [notes] -> Handover (memory that outlives this server)
//
// A note stands from before the execution until after the answer, so of a request that the kernel sends again there is a note if it
// was executed. There is room for Handover::kNotes; when all are taken, one that an earlier server left is given away: of use is only
// what was under way when that server died, and as many requests as there are notes have come since.
//
// Locks       lock_, for a pass over the notes; not in shared memory, where a server that is killed would leave it taken
// Thread- and fiber-safe; nothing parks. Tests: tests/fs/fuse/resent_test.cc
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "fs/fuse/handover.h"
#include "kernel/spinlock.h"

namespace weft::fs::fuse {

class Notes {
 public:
  // `handover`: null where nobody comes after this server, and nothing needs to be noted.
  explicit Notes(Handover* handover) noexcept : handover_(handover) {}

  // Erases the note at its end. Empty where there is none.
  class Note {
   public:
    Note() noexcept = default;
    explicit Note(Handover::Note& place) noexcept : place_(&place) {}
    Note(Note&& other) noexcept : place_(std::exchange(other.place_, nullptr)) {}
    Note& operator=(Note&&) = delete;
    ~Note() {
      if (place_ != nullptr) place_->unique.store(0, std::memory_order_release);
    }
    explicit operator bool() const noexcept { return place_ != nullptr; }
    [[nodiscard]] std::uint64_t first() const noexcept { return place_->first.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t second() const noexcept { return place_->second.load(std::memory_order_relaxed); }

   private:
    Handover::Note* place_ = nullptr;
  };

  [[nodiscard]] bool wanted() const noexcept { return handover_ != nullptr; }
  // What was noted about the request of that id; it is this server's from here on.
  Note find(std::uint64_t unique) noexcept;
  // Empty where all places are taken by requests of this server: more than kNotes of them at once are not expected.
  Note write(std::uint64_t unique, std::uint64_t first, std::uint64_t second) noexcept;

 private:
  Handover* const handover_;
  Spinlock lock_;
};

}  // namespace weft::fs::fuse
