// kernel/bytes.h - integers with a fixed place and order of bytes, for everything that leaves memory.
//
// le16..le64 are little-endian, have alignment 1 and no padding, and are trivially copyable, so a struct of them is
// its own serialized form. x86-64 and little-endian ARM pay nothing for them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace weft {

template <typename T>
class LittleEndian {
 public:
  constexpr LittleEndian() noexcept = default;
  LittleEndian(T value) noexcept { *this = value; }
  LittleEndian& operator=(T value) noexcept {
    if constexpr (std::endian::native == std::endian::big) value = std::byteswap(value);
    std::memcpy(bytes_, &value, sizeof(T));
    return *this;
  }
  [[nodiscard]] T get() const noexcept {
    T value;
    std::memcpy(&value, bytes_, sizeof(T));
    if constexpr (std::endian::native == std::endian::big) value = std::byteswap(value);
    return value;
  }
  operator T() const noexcept { return get(); }

 private:
  std::uint8_t bytes_[sizeof(T)]{};
};

using le16 = LittleEndian<std::uint16_t>;
using le32 = LittleEndian<std::uint32_t>;
using le64 = LittleEndian<std::uint64_t>;
static_assert(sizeof(le64) == 8 && alignof(le64) == 1 && std::is_trivially_copyable_v<le64>);

// Views of trivially copyable objects as bytes and back. as_bytes_of(x) borrows x.
template <typename T>
  requires std::is_trivially_copyable_v<T>
std::span<const std::byte> as_bytes_of(const T& object) noexcept {
  return {reinterpret_cast<const std::byte*>(&object), sizeof(T)};
}
template <typename T>
  requires std::is_trivially_copyable_v<T>
std::span<std::byte> as_writable_bytes_of(T& object) noexcept {
  return {reinterpret_cast<std::byte*>(&object), sizeof(T)};
}

}  // namespace weft
