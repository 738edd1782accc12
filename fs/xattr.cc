#include "fs/xattr.h"

#include <algorithm>
#include <cstring>

#include "fs/format.h"
#include "kernel/bytes.h"
#include "kernel/check.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kNamesPerHash = 256;
constexpr std::size_t kMaxXattrListBytes = 65536;  // XATTR_LIST_MAX: of a longer list nobody could take the answer
constexpr std::size_t kMaxInlineItem =
    1024;  // header, name and value; below kMaxValueBytes, so that a few items share a leaf

bool fits_inline(std::size_t name_bytes, std::size_t value_bytes) {
  return sizeof(DiskXattr) + name_bytes + value_bytes <= kMaxInlineItem;
}

std::uint64_t chunks_of(const XattrEntry& entry) {
  return entry.inline_value ? 0 : divide_up(entry.value_bytes, kXattrChunkBytes);
}

Key chunk_key(InodeNo inode, std::uint64_t offset, std::uint64_t chunk) {
  return {inode, KeyKind::kXattrData, offset << 8 | chunk};
}

struct Parsed {
  DiskXattr disk;
  std::string_view name;
  std::span<const std::byte> inline_value;
};
std::optional<Parsed> parse(std::span<const std::byte> value) {
  Parsed out;
  if (value.size() < sizeof out.disk) return std::nullopt;
  std::memcpy(&out.disk, value.data(), sizeof out.disk);
  if (out.disk.name_length == 0 || out.disk.value_length > kMaxXattrBytes) return std::nullopt;
  if (value.size() != sizeof out.disk + out.disk.name_length + out.disk.inline_length) return std::nullopt;
  if (out.disk.inline_length != 0 && out.disk.inline_length != out.disk.value_length) return std::nullopt;
  out.name = {reinterpret_cast<const char*>(value.data()) + sizeof out.disk, out.disk.name_length};
  out.inline_value = value.subspan(sizeof out.disk + out.disk.name_length);
  return out;
}

std::unexpected<Error> damaged(Volume& volume, InodeNo inode) {
  Error error(Errc::kCorrupt, "inode " + std::to_string(inode.value()) +
                                  " has an extended attribute that cannot be one; run fsck.weft");
  volume.report_damage(error, false);
  return fail(std::move(error));
}

}  // namespace

Result<XattrSlot> find_xattr(Volume& volume, const NameHash& hash, InodeNo inode, std::string_view name) {
  const std::uint64_t base = hash.xattr_hash(name) << 8;
  const Key from(inode, KeyKind::kXattr, base);
  XattrSlot slot;
  std::uint64_t free = 0;
  bool bad = false;
  TRY(volume.scan(
      from, Key::from_raw(from.object, from.tag + kNamesPerHash), [&](Key key, std::span<const std::byte> value) {
        const auto parsed = parse(value);
        if (!parsed) {
          bad = true;
          return false;
        }
        if (key.offset() - base == free) ++free;
        if (parsed->name != name) return true;
        slot.entry =
            XattrEntry{.offset = key.offset(), .value_bytes = parsed->disk.value_length, .inline_value = std::nullopt};
        if (parsed->disk.inline_length == parsed->disk.value_length)
          slot.entry->inline_value.emplace(parsed->inline_value.begin(), parsed->inline_value.end());
        return false;
      }));
  if (bad) return damaged(volume, inode);
  if (slot.entry) return slot;
  if (free == kNamesPerHash) return fail(Errc::kNoSpace, "256 extended attributes of one hash");
  slot.free_offset = base + free;
  return slot;
}

Result<std::vector<std::byte>> read_xattr(Volume& volume, InodeNo inode, const XattrEntry& entry) {
  if (entry.inline_value) return *entry.inline_value;
  std::vector<std::byte> out;
  out.reserve(entry.value_bytes);
  TRY(volume.scan(chunk_key(inode, entry.offset, 0), chunk_key(inode, entry.offset, chunks_of(entry)),
                  [&](Key, std::span<const std::byte> chunk) {
                    out.insert(out.end(), chunk.begin(), chunk.end());
                    return out.size() < entry.value_bytes;
                  }));
  if (out.size() != entry.value_bytes) return damaged(volume, inode);
  return out;
}

Result<std::vector<std::string>> list_xattr_names(Volume& volume, InodeNo inode) {
  std::vector<std::string> out;
  std::size_t bytes = 0;
  bool bad = false;
  TRY(volume.scan(Key(inode, KeyKind::kXattr, 0), Key(inode, KeyKind::kXattrData, 0),
                  [&](Key, std::span<const std::byte> value) {
                    const auto parsed = parse(value);
                    bad = !parsed;
                    if (bad) return false;
                    bytes += parsed->name.size() + 1;
                    out.emplace_back(parsed->name);
                    return bytes <= kMaxXattrListBytes;
                  }));
  if (bad) return damaged(volume, inode);
  if (bytes > kMaxXattrListBytes) return fail(Errc::kOutOfRange);
  return out;
}

void need_for_xattr(TransactionNeeds& needs, const std::optional<XattrEntry>& old, std::string_view name,
                    std::size_t value_bytes) {
  needs.changes += 1 + static_cast<std::uint32_t>(divide_up(value_bytes, kXattrChunkBytes));
  if (old) needs.changes += static_cast<std::uint32_t>(chunks_of(*old));
  needs.value_bytes += static_cast<std::uint32_t>(sizeof(DiskXattr) + name.size() + value_bytes);
}

void put_xattr(Transaction& transaction, InodeNo inode, const XattrSlot& slot, std::string_view name,
               std::span<const std::byte> value) {
  const std::uint64_t offset = slot.entry ? slot.entry->offset : slot.free_offset;
  const bool is_inline = fits_inline(name.size(), value.size());
  const std::uint64_t chunks = is_inline ? 0 : divide_up(value.size(), kXattrChunkBytes);
  std::vector<std::byte> item(sizeof(DiskXattr) + name.size() + (is_inline ? value.size() : 0));
  DiskXattr disk{};
  disk.name_length = static_cast<std::uint8_t>(name.size());
  disk.inline_length = static_cast<std::uint16_t>(is_inline ? value.size() : 0);
  disk.value_length = static_cast<std::uint32_t>(value.size());
  std::memcpy(item.data(), &disk, sizeof disk);
  std::memcpy(item.data() + sizeof disk, name.data(), name.size());
  if (is_inline && !value.empty()) std::memcpy(item.data() + sizeof disk + name.size(), value.data(), value.size());
  transaction.put(Key(inode, KeyKind::kXattr, offset), item);
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::size_t at = chunk * kXattrChunkBytes;
    transaction.put(chunk_key(inode, offset, chunk),
                    value.subspan(at, std::min<std::size_t>(kXattrChunkBytes, value.size() - at)));
  }
  if (slot.entry) {
    for (std::uint64_t chunk = chunks; chunk < chunks_of(*slot.entry); ++chunk)
      transaction.erase(chunk_key(inode, offset, chunk));
  }
}

void drop_xattr(Transaction& transaction, InodeNo inode, const XattrEntry& entry) {
  transaction.erase(Key(inode, KeyKind::kXattr, entry.offset));
  for (std::uint64_t chunk = 0; chunk < chunks_of(entry); ++chunk)
    transaction.erase(chunk_key(inode, entry.offset, chunk));
}

}  // namespace weft::fs
