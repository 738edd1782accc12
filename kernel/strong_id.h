// kernel/strong_id.h - integers that cannot be mistaken for one another.
//
//   using BlockNo = StrongId<struct BlockNoTag, std::uint64_t>;
//
// Explicit in, explicit out (`value()`); ordered, hashable, and adding a plain count gives the same kind again.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace weft {

template <typename Tag, typename Rep = std::uint64_t>
class StrongId {
 public:
  using rep = Rep;
  constexpr StrongId() noexcept = default;
  constexpr explicit StrongId(Rep value) noexcept : value_(value) {}
  [[nodiscard]] constexpr Rep value() const noexcept { return value_; }
  constexpr auto operator<=>(const StrongId&) const noexcept = default;
  constexpr StrongId operator+(Rep count) const noexcept { return StrongId(static_cast<Rep>(value_ + count)); }
  constexpr Rep operator-(StrongId other) const noexcept { return static_cast<Rep>(value_ - other.value_); }
  constexpr StrongId& operator++() noexcept {
    ++value_;
    return *this;
  }

 private:
  Rep value_{};
};

}  // namespace weft

template <typename Tag, typename Rep>
struct std::hash<weft::StrongId<Tag, Rep>> {
  std::size_t operator()(weft::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value()); }
};
