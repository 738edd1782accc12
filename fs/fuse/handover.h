// fs/fuse/handover.h - what the servers of one mount leave to each other: a few words of memory that outlive any of them.
//
//   supervisor: make_handover(), fork -> server (Session, Resent) -> dies -> fork -> the next server reads what stands here
//
// The kernel says INIT once for a connection, so what it agreed on stands here; and some requests cannot be told to have been
// executed by looking at the file system, so what they found is noted here before they are (fs/fuse/resent.h). The beats are
// how the supervisor sees that fibers run.
//
// A writer may be killed between any two instructions: of each group the word that makes it valid is written last.
// Thread- and fiber-safe; nothing parks.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "kernel/result.h"

namespace weft::fs::fuse {

struct Handover {
  // One request that is about to be executed, and what there was before.
  struct Note {
    std::atomic<std::uint64_t> unique;  // of the request, without kUniqueResend; 0: free. Written last
    std::atomic<std::uint64_t> server;  // which one wrote it
    std::atomic<std::uint64_t> first;   // what these mean is the request's business
    std::atomic<std::uint64_t> second;
  };
  static constexpr std::size_t kNotes = 256;

  std::atomic<std::uint32_t> minor;   // what INIT agreed on; 0: nothing yet. Written last
  std::atomic<std::uint64_t> flags;   // with it
  std::atomic<std::uint64_t> server;  // counts the servers; the supervisor's to write
  std::atomic<bool> serving;          // this server has begun to; the supervisor takes it back
  std::atomic<bool> finished;         // the file system is unmounted: nobody need come after
  std::atomic<std::uint64_t> beats;
  std::array<Note, kNotes> notes;

  // The kernel will send again what a dead server has not answered: Linux 6.9.
  [[nodiscard]] bool can_go_on() const noexcept;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

struct HandoverUnmap {
  void operator()(Handover* handover) const noexcept;
};
using HandoverPtr = std::unique_ptr<Handover, HandoverUnmap>;

// Zeroed memory that children of this process share.
Result<HandoverPtr> make_handover();

}  // namespace weft::fs::fuse
