// sched/fiber_local.h - a variable of which each fiber has its own, wherever it runs. On a plain thread, that thread has its own.
//
//   constinit sched::FiberLocal<int> depth;                                  // value-initialized
//   constinit sched::FiberLocal<Context> context{sched::kInherited};        // a new fiber begins with a copy of its spawner's
//   ++*depth;      context->user = ...;
//
// A value is made when its fiber first asks for it, and destroyed on that fiber when its body has ended, the last made first; of
// a thread, when the thread ends. Until then its address stays. Destroying the variable itself ends nobody's value.
// thread_local is no replacement: after any call that parks it may be another thread's (sched/current.h).
//
// Any fiber or thread; does not park, unless T's constructor or destructor does. Costs one search in the fiber's own list.
// Throws what T's constructor throws. Tests: tests/sched/fiber_local_test.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace weft::sched {

struct FiberState;

// Internal: what is to be known of a T that is not known.
struct FiberLocalKind {
  void (*destroy)(void* value) noexcept;
  void* (*copy)(const void* value);  // null: not passed on to those that the fiber spawns
};

// Internal.
class FiberLocalKey {
 public:
  FiberLocalKey(const FiberLocalKey&) = delete;
  FiberLocalKey& operator=(const FiberLocalKey&) = delete;

 protected:
  constexpr FiberLocalKey() noexcept = default;
  ~FiberLocalKey() = default;
  // Of the calling fiber or thread.
  [[nodiscard]] void* find() const noexcept;
  // Of another fiber, which does not run meanwhile.
  [[nodiscard]] void* find_in(FiberState& fiber) const noexcept;
  void put(void* value, const FiberLocalKind& kind);
  void erase() noexcept;

 private:
  std::uint64_t id() noexcept;
  std::atomic<std::uint64_t> id_{0};  // 0: never used yet
};

struct Inherited {};
inline constexpr Inherited kInherited{};

template <typename T>
class FiberLocal : FiberLocalKey {
 public:
  constexpr FiberLocal() noexcept = default;
  // What a fiber begins with that asks first.
  constexpr explicit FiberLocal(T (*make)()) noexcept : make_(make) {}
  // T is copied at each spawn() by a fiber or thread that has a value.
  constexpr explicit FiberLocal(Inherited, T (*make)() = nullptr) noexcept
    requires std::is_copy_constructible_v<T>
      : make_(make), kind_(&kPassedOn) {}

  T& operator*() {
    if (void* value = find(); value != nullptr) [[likely]]
      return *static_cast<T*>(value);
    auto made = make_ != nullptr ? std::unique_ptr<T>(new T(make_())) : std::unique_ptr<T>(new T());
    put(made.get(), *kind_);
    return *made.release();
  }
  T* operator->() { return &**this; }
  [[nodiscard]] bool has_value() const noexcept { return find() != nullptr; }
  // Destroys the calling fiber's value; the next use makes another.
  void reset() noexcept { erase(); }

 private:
  static void destroy(void* value) noexcept { delete static_cast<T*>(value); }
  static constexpr FiberLocalKind kOwn{&destroy, nullptr};
  static constexpr FiberLocalKind kPassedOn{&destroy, [](const void* value) -> void* {
                                              if constexpr (std::is_copy_constructible_v<T>) {
                                                return new T(*static_cast<const T*>(value));
                                              } else {
                                                return nullptr;
                                              }
                                            }};
  T (*make_)() = nullptr;
  const FiberLocalKind* kind_ = &kOwn;
};

}  // namespace weft::sched
