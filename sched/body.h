// sched/body.h - what a fiber runs: a callable without arguments or result, moved and never copied.
//
// As std::move_only_function<void()>, but with room for five words of captures in place, so that starting a fiber of a usual
// lambda allocates nothing. Larger ones go to the heap. Made from any callable, a std::move_only_function included.
// Not thread-safe. Tests: tests/sched/body_test.cc.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace weft::sched {

class Body {
 public:
  Body() noexcept = default;
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Body> && std::is_invocable_v<std::decay_t<F>&>)
  Body(F&& callable) {  // NOLINT(google-explicit-constructor): a lambda is passed as it is
    using Callable = std::decay_t<F>;
    if constexpr (kFits<Callable>) {
      ::new (static_cast<void*>(place_)) Callable(std::forward<F>(callable));
      kind_ = &kInPlace<Callable>;
    } else {
      ::new (static_cast<void*>(place_)) Pointer(new Callable(std::forward<F>(callable)));
      kind_ = &kOnHeap<Callable>;
    }
  }
  Body(Body&& other) noexcept { take(other); }
  Body& operator=(Body&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~Body() { reset(); }

  explicit operator bool() const noexcept { return kind_ != nullptr; }
  // Only if there is one.
  void operator()() { kind_->call(place_); }
  void reset() noexcept {
    if (kind_ == nullptr) return;
    if (kind_->destroy != nullptr) kind_->destroy(place_);
    kind_ = nullptr;
  }

 private:
  using Pointer = void*;  // what place_ holds of a callable too large for it
  static constexpr std::size_t kPlaceBytes = 5 * sizeof(void*);
  struct Kind {
    void (*call)(void* place);
    void (*move)(void* to, void* from) noexcept;  // null: bytes may be copied
    void (*destroy)(void* place) noexcept;        // null: nothing to do
  };
  template <typename C>
  static constexpr bool kFits =
      sizeof(C) <= kPlaceBytes && alignof(C) <= alignof(void*) && std::is_nothrow_move_constructible_v<C>;

  template <typename C>
  static C& in_place(void* place) noexcept {
    return *std::launder(static_cast<C*>(place));
  }
  template <typename C>
  static C* on_heap(void* place) noexcept {
    return static_cast<C*>(in_place<Pointer>(place));
  }
  template <typename C>
  static void move_in_place(void* to, void* from) noexcept {
    ::new (to) C(std::move(in_place<C>(from)));
    std::destroy_at(&in_place<C>(from));
  }
  template <typename C>
  static void destroy_in_place(void* place) noexcept {
    std::destroy_at(&in_place<C>(place));
  }
  template <typename C>
  static constexpr Kind kInPlace{
      [](void* place) { in_place<C>(place)(); },
      std::is_trivially_copyable_v<C> ? nullptr : &move_in_place<C>,
      std::is_trivially_destructible_v<C> ? nullptr : &destroy_in_place<C>,
  };
  template <typename C>
  static constexpr Kind kOnHeap{
      [](void* place) { (*on_heap<C>(place))(); },
      nullptr,
      [](void* place) noexcept { delete on_heap<C>(place); },
  };

  void take(Body& other) noexcept {
    kind_ = other.kind_;
    if (kind_ == nullptr) return;
    if (kind_->move != nullptr) {
      kind_->move(place_, other.place_);
    } else {
      std::memcpy(place_, other.place_, sizeof place_);
    }
    other.kind_ = nullptr;
  }

  const Kind* kind_ = nullptr;
  alignas(void*) std::byte place_[kPlaceBytes];
};

}  // namespace weft::sched
