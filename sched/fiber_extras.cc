#include "sched/fiber_extras.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "sched/fiber.h"
#include "sched/stand_in.h"

namespace weft::sched {
namespace {

constinit std::atomic<std::uint64_t> next_key{1};

// Of a plain thread. Opaque to the optimizer, as current.h says of all thread-local state.
[[gnu::noinline]] LocalValues& locals_of_thread() {
  asm volatile("" ::: "memory");
  static thread_local LocalValues values;
  return values;
}

LocalValues& current_locals() {
  FiberState* fiber = current_self();
  return fiber != nullptr ? FiberExtras::of(*fiber).locals : locals_of_thread();
}

}  // namespace

std::atomic<bool> locals_are_inherited{false};

void LocalValues::clear() noexcept {
  while (!entries_.empty()) {
    const auto last = std::max_element(entries_.begin(), entries_.end(),
                                       [](const Entry& a, const Entry& b) { return a.order < b.order; });
    const Entry entry = *last;
    entries_.erase(last);
    entry.kind->destroy(entry.value);
  }
}

void* LocalValues::find(std::uint64_t key) const noexcept {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), key,
                                   [](const Entry& entry, std::uint64_t wanted) { return entry.key < wanted; });
  return at != entries_.end() && at->key == key ? at->value : nullptr;
}

void LocalValues::put(std::uint64_t key, void* value, const FiberLocalKind& kind) {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), key,
                                   [](const Entry& entry, std::uint64_t wanted) { return entry.key < wanted; });
  entries_.insert(at, {.key = key, .order = made_++, .value = value, .kind = &kind});
  if (kind.copy != nullptr) locals_are_inherited.store(true, std::memory_order_relaxed);
}

void LocalValues::erase(std::uint64_t key) noexcept {
  const auto at =
      std::find_if(entries_.begin(), entries_.end(), [key](const Entry& entry) { return entry.key == key; });
  if (at == entries_.end()) return;
  const Entry entry = *at;
  entries_.erase(at);
  entry.kind->destroy(entry.value);
}

void LocalValues::inherit(const LocalValues& from) {
  for (const Entry& entry : from.entries_)
    if (entry.kind->copy != nullptr) put(entry.key, entry.kind->copy(entry.value), *entry.kind);
}

bool LocalValues::passes_on() const noexcept {
  return std::any_of(entries_.begin(), entries_.end(), [](const Entry& entry) { return entry.kind->copy != nullptr; });
}

void request_stop_of(std::stop_source& source) noexcept {
  FiberState* fiber = current_self();
  const bool outermost = fiber != nullptr && !fiber->in_stop_callbacks;
  if (outermost) fiber->in_stop_callbacks = true;
  source.request_stop();
  if (outermost) fiber->in_stop_callbacks = false;
}

FiberExtras& FiberExtras::of(FiberState& self) {
  if (self.extras == nullptr) {
    auto* made = new FiberExtras;
    const std::lock_guard guard(self.cancel_lock);
    self.extras = made;
    self.has_extras = true;
  }
  return *self.extras;
}

FiberExtras* FiberExtras::inherited() {
  FiberState* fiber = current_self();
  if (fiber != nullptr && fiber->extras == nullptr) return nullptr;
  const LocalValues& from = fiber != nullptr ? fiber->extras->locals : locals_of_thread();
  if (!from.passes_on()) return nullptr;
  auto made = std::make_unique<FiberExtras>();
  made->locals.inherit(from);
  return made.release();
}

void FiberExtras::end(FiberState& self) noexcept {
  self.extras->locals.clear();
  std::unique_ptr<FiberExtras> ended;
  const std::lock_guard guard(self.cancel_lock);  // let go before `ended` goes
  ended.reset(std::exchange(self.extras, nullptr));
  self.has_extras = false;
}

void* FiberLocalKey::find() const noexcept {
  const std::uint64_t key = id_.load(std::memory_order_relaxed);
  if (key == 0) return nullptr;
  const FiberState* fiber = current_self();
  if (fiber == nullptr) return locals_of_thread().find(key);
  return fiber->extras != nullptr ? fiber->extras->locals.find(key) : nullptr;
}

void* FiberLocalKey::find_in(FiberState& fiber) const noexcept {
  const std::lock_guard guard(fiber.cancel_lock);
  return fiber.extras != nullptr ? fiber.extras->locals.find(id_.load(std::memory_order_relaxed)) : nullptr;
}

void FiberLocalKey::put(void* value, const FiberLocalKind& kind) { current_locals().put(id(), value, kind); }

void FiberLocalKey::erase() noexcept {
  if (find() != nullptr) current_locals().erase(id_.load(std::memory_order_relaxed));
}

std::uint64_t FiberLocalKey::id() noexcept {
  std::uint64_t known = id_.load(std::memory_order_relaxed);
  if (known != 0) return known;
  const std::uint64_t fresh = next_key.fetch_add(1, std::memory_order_relaxed);
  return id_.compare_exchange_strong(known, fresh, std::memory_order_relaxed) ? fresh : known;
}

}  // namespace weft::sched
