#include "fs/acl.h"

#include <algorithm>
#include <cstring>

#include "kernel/bytes.h"

namespace weft::fs {
namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::uint16_t kOwner = 0x01, kUser = 0x02, kOwningGroup = 0x04, kGroup = 0x08, kMask = 0x10, kOthers = 0x20;
constexpr std::uint32_t kNoId = ~std::uint32_t{0};

struct WireAclEntry {
  le16 tag;
  le16 permissions;
  le32 id;
};
static_assert(sizeof(WireAclEntry) == 8);

}  // namespace

Result<std::optional<Acl>> Acl::parse(std::span<const std::byte> bytes) {
  le32 version;
  if (bytes.size() < sizeof version) return fail(Errc::kInvalid);
  std::memcpy(&version, bytes.data(), sizeof version);
  if (version != kVersion) return fail(Errc::kUnsupported);
  bytes = bytes.subspan(sizeof version);
  if (bytes.size() % sizeof(WireAclEntry) != 0) return fail(Errc::kInvalid);
  if (bytes.empty()) return std::nullopt;
  Acl acl;
  std::uint32_t tags = 0;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(WireAclEntry)) {
    WireAclEntry wire;
    std::memcpy(&wire, bytes.data() + at, sizeof wire);
    Entry entry{.tag = wire.tag, .permissions = wire.permissions, .id = wire.id};
    const bool named = entry.tag == kUser || entry.tag == kGroup;
    const bool known =
        named || entry.tag == kOwner || entry.tag == kOwningGroup || entry.tag == kMask || entry.tag == kOthers;
    if (!known || entry.permissions > 7) return fail(Errc::kInvalid);
    if (named ? entry.id == kNoId : (tags & entry.tag) != 0) return fail(Errc::kInvalid);
    if (!named) entry.id = kNoId;
    if (!acl.entries_.empty() && entry.tag < acl.entries_.back().tag) return fail(Errc::kInvalid);
    tags |= entry.tag;
    acl.entries_.push_back(entry);
  }
  constexpr std::uint32_t kNeeded = kOwner | kOwningGroup | kOthers;
  if ((tags & kNeeded) != kNeeded) return fail(Errc::kInvalid);
  if ((tags & (kUser | kGroup)) != 0 && (tags & kMask) == 0) return fail(Errc::kInvalid);
  return acl;
}

std::vector<std::byte> Acl::bytes() const {
  std::vector<std::byte> out(sizeof(le32) + entries_.size() * sizeof(WireAclEntry));
  const le32 version(kVersion);
  std::memcpy(out.data(), &version, sizeof version);
  std::size_t at = sizeof version;
  for (const Entry& entry : entries_) {
    const WireAclEntry wire{.tag = entry.tag, .permissions = entry.permissions, .id = entry.id};
    std::memcpy(out.data() + at, &wire, sizeof wire);
    at += sizeof wire;
  }
  return out;
}

const Acl::Entry* Acl::find(std::uint16_t tag) const noexcept {
  const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.tag == tag; });
  return at == entries_.end() ? nullptr : &*at;
}

Acl::Entry* Acl::find(std::uint16_t tag) noexcept { return const_cast<Entry*>(std::as_const(*this).find(tag)); }

std::uint32_t Acl::permission_bits() const noexcept {
  const Entry* mask = find(kMask);
  const std::uint32_t group = (mask != nullptr ? mask : find(kOwningGroup))->permissions;
  return std::uint32_t{find(kOwner)->permissions} << 6 | group << 3 | find(kOthers)->permissions;
}

bool Acl::minimal() const noexcept { return entries_.size() == 3; }

void Acl::apply_mode(std::uint32_t mode) noexcept {
  Entry* mask = find(kMask);
  find(kOwner)->permissions = mode >> 6 & 7;
  (mask != nullptr ? mask : find(kOwningGroup))->permissions = mode >> 3 & 7;
  find(kOthers)->permissions = mode & 7;
}

std::uint32_t Acl::inherit(std::uint32_t mode) noexcept {
  // Each of the three classes gets what both the creator asked for and the default ACL allows.
  apply_mode(mode & permission_bits());
  return (mode & ~std::uint32_t{0777}) | permission_bits();
}

}  // namespace weft::fs
