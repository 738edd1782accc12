#include "fs/fuse/notes.h"

#include <mutex>

#include "fs/fuse/protocol.h"

namespace weft::fs::fuse {

Notes::Note Notes::find(std::uint64_t unique) noexcept {
  if (handover_ == nullptr) return {};
  const std::lock_guard guard(lock_);
  for (Handover::Note& each : handover_->notes) {
    if (each.unique.load(std::memory_order_acquire) != (unique & ~kUniqueResend)) continue;
    each.server.store(handover_->server.load(), std::memory_order_relaxed);
    return Note(each);
  }
  return {};
}

Notes::Note Notes::write(std::uint64_t unique, std::uint64_t first, std::uint64_t second) noexcept {
  if (handover_ == nullptr) return {};
  const std::uint64_t server = handover_->server.load();
  const std::lock_guard guard(lock_);
  Handover::Note* place = nullptr;
  for (Handover::Note& each : handover_->notes) {
    if (each.unique.load(std::memory_order_relaxed) == 0) {
      place = &each;
      break;
    }
    const std::uint64_t author = each.server.load(std::memory_order_relaxed);
    if (author != server && (place == nullptr || author < place->server.load(std::memory_order_relaxed))) place = &each;
  }
  if (place == nullptr) return {};
  place->unique.store(0, std::memory_order_release);
  place->server.store(server, std::memory_order_relaxed);
  place->first.store(first, std::memory_order_relaxed);
  place->second.store(second, std::memory_order_relaxed);
  place->unique.store(unique & ~kUniqueResend, std::memory_order_release);
  return Note(*place);
}

}  // namespace weft::fs::fuse
