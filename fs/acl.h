// fs/acl.h - POSIX ACLs as Linux's bytes (system.posix_acl_*): what they mean for modes, on creation and on chmod.
//
// Who may do what is the kernel's to decide; here an ACL and the permission bits are kept saying the same. Rules: POSIX
// 1003.1e draft 17, acl(5). Bytes: a le32 version (2), then entries of le16 tag, le16 permissions, le32 id.
// Values; never parks. Tests: tests/fs/xattr_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernel/result.h"

namespace weft::fs {

inline constexpr std::string_view kAccessAclName = "system.posix_acl_access";
inline constexpr std::string_view kDefaultAclName = "system.posix_acl_default";

class Acl {
 public:
  // kInvalid: not a well-formed, complete ACL in order. An empty one (header only) is none: nothing.
  static Result<std::optional<Acl>> parse(std::span<const std::byte> bytes);
  [[nodiscard]] std::vector<std::byte> bytes() const;

  // The nine bits that say the same as far as bits can: group bits are the mask's, where there is one.
  [[nodiscard]] std::uint32_t permission_bits() const noexcept;
  // Only owner, group and others: permission bits say all of it, no ACL need be kept.
  [[nodiscard]] bool minimal() const noexcept;

  // chmod: owner, mask (or group) and others become `mode`'s.
  void apply_mode(std::uint32_t mode) noexcept;
  // As the default ACL of a directory in which something is created with `mode`: becomes its access ACL, and the result is its mode.
  std::uint32_t inherit(std::uint32_t mode) noexcept;

 private:
  struct Entry {
    std::uint16_t tag;
    std::uint16_t permissions;
    std::uint32_t id;
  };
  [[nodiscard]] const Entry* find(std::uint16_t tag) const noexcept;
  [[nodiscard]] Entry* find(std::uint16_t tag) noexcept;

  std::vector<Entry> entries_;
};

}  // namespace weft::fs
