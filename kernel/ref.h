// kernel/ref.h - shared lifetime by a count inside the object.
//
//   struct Inode : RefCounted<Inode> { ... };
//   Ref<Inode> inode = make_ref<Inode>(...);
//
// Half the size of a shared_ptr, one allocation, and a plain T& or T* can become a Ref again. The count is atomic: Refs to
// one object may live on any threads and fibers; one Ref is as thread-safe as an int. Never parks, except in T's destructor.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace weft {

template <typename T>
class RefCounted {
 public:
  void add_ref() const noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void drop_ref() const noexcept {
    // Release: what this holder did happens before the destructor. Acquire: the destructor sees what all holders did.
    if (count_.fetch_sub(1, std::memory_order_release) == 1) {
      std::atomic_thread_fence(std::memory_order_acquire);
      delete static_cast<const T*>(this);
    }
  }
  // True only if the caller's Ref is the one there is, and then it stays so until the caller copies it.
  [[nodiscard]] bool unique() const noexcept { return count_.load(std::memory_order_acquire) == 1; }
  [[nodiscard]] std::uint32_t ref_count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  friend T;  // nobody else is one
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  ~RefCounted() = default;

  mutable std::atomic<std::uint32_t> count_{0};
};

template <typename T>
class Ref {
 public:
  Ref() noexcept = default;
  Ref(std::nullptr_t) noexcept {}
  explicit Ref(T* object) noexcept : object_(object) {
    if (object_ != nullptr) object_->add_ref();
  }
  Ref(const Ref& other) noexcept : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Ref(Ref<U> other) noexcept : object_(other.release()) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->drop_ref();
  }

  [[nodiscard]] T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  friend bool operator==(const Ref& a, const Ref& b) noexcept { return a.object_ == b.object_; }

  void reset() noexcept { Ref().swap(*this); }
  void swap(Ref& other) noexcept { std::swap(object_, other.object_); }
  // Gives the pointer away with its count; adopt() takes it back. For intrusive queues and C interfaces.
  [[nodiscard]] T* release() noexcept { return std::exchange(object_, nullptr); }
  [[nodiscard]] static Ref adopt(T* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }

 private:
  T* object_ = nullptr;
};

template <typename T, typename... Arguments>
Ref<T> make_ref(Arguments&&... arguments) {
  return Ref<T>(new T(std::forward<Arguments>(arguments)...));
}

}  // namespace weft
