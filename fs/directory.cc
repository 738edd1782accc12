#include "fs/directory.h"

#include <array>
#include <bitset>
#include <cstring>

#include "fs/format.h"
#include "kernel/bytes.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kNamesPerHash = 256;

// The entry and name in a value; nothing where it cannot be one.
struct Parsed {
  Dirent dirent;
  std::string_view name;
};
std::optional<Parsed> parse(Key key, std::span<const std::byte> value) {
  if (value.size() < sizeof(DiskDirent)) return std::nullopt;
  DiskDirent disk;
  std::memcpy(&disk, value.data(), sizeof disk);
  if (disk.name_length == 0 || value.size() != sizeof disk + disk.name_length) return std::nullopt;
  return Parsed{.dirent = {.inode = InodeNo(disk.inode), .type = disk.type, .offset = key.offset()},
                .name = {reinterpret_cast<const char*>(value.data()) + sizeof disk, disk.name_length}};
}

std::unexpected<Error> damaged(Volume& volume, InodeNo directory) {
  Error error(Errc::kCorrupt,
              "directory " + std::to_string(directory.value()) + " holds an entry that cannot be one; run fsck.weft");
  volume.report_damage(error, false);
  return fail(std::move(error));
}

}  // namespace

Status check_name(std::string_view name) {
  if (name.empty()) return fail(Errc::kNotFound);
  if (name.size() > kMaxNameBytes) return fail(Errc::kNameTooLong);
  if (name == "." || name == "..") return fail(Errc::kInvalid);
  if (name.find('/') != name.npos || name.find('\0') != name.npos) return fail(Errc::kInvalid);
  return {};
}

Result<NameSlot> find_name(Volume& volume, const NameHash& hash, InodeNo directory, std::string_view name) {
  const std::uint64_t base = hash.dirent_hash(name) << 8;
  const Key from(directory, KeyKind::kDirent, base);
  NameSlot slot;
  std::uint64_t free = 0;  // lowest n not seen; keys come in order
  bool bad = false;
  TRY(volume.scan(from, Key::from_raw(from.object, from.tag + kNamesPerHash),
                  [&](Key key, std::span<const std::byte> value) {
                    const auto parsed = parse(key, value);
                    if (!parsed) {
                      bad = true;
                      return false;
                    }
                    if (key.offset() - base == free) ++free;
                    if (parsed->name == name) slot.entry = parsed->dirent;
                    return !slot.entry.has_value();
                  }));
  if (bad) return damaged(volume, directory);
  if (slot.entry) return slot;
  if (free == kNamesPerHash)
    return fail(Errc::kNoSpace, "directory " + std::to_string(directory.value()) + " has 256 names of one hash");
  slot.free_offset = base + free;
  return slot;
}

void place_name(Transaction& transaction, InodeNo directory, std::uint64_t offset, std::string_view name, InodeNo inode,
                std::uint8_t type) {
  std::array<std::byte, sizeof(DiskDirent) + kMaxNameBytes> value;
  const DiskDirent disk{.inode = inode.value(), .type = type, .name_length = static_cast<std::uint8_t>(name.size())};
  std::memcpy(value.data(), &disk, sizeof disk);
  std::memcpy(value.data() + sizeof disk, name.data(), name.size());
  transaction.put(Key(directory, KeyKind::kDirent, offset), std::span(value).first(sizeof disk + name.size()));
}

void drop_name(Transaction& transaction, InodeNo directory, std::uint64_t offset) {
  transaction.erase(Key(directory, KeyKind::kDirent, offset));
}

Result<std::vector<NamedDirent>> list_names(Volume& volume, InodeNo directory, std::uint64_t from, std::size_t limit) {
  std::vector<NamedDirent> out;
  if (from > kMaxKeyOffset) return out;
  bool bad = false;
  TRY(volume.scan(Key(directory, KeyKind::kDirent, from), Key(directory, KeyKind::kExtent, 0),
                  [&](Key key, std::span<const std::byte> value) {
                    const auto parsed = parse(key, value);
                    // Whoever lists takes names for what they are: none may lead elsewhere.
                    if (!parsed || !check_name(parsed->name)) {
                      bad = true;
                      return false;
                    }
                    out.push_back({.dirent = parsed->dirent, .name = std::string(parsed->name)});
                    return out.size() < limit;
                  }));
  if (bad) return damaged(volume, directory);
  return out;
}

std::uint8_t dirent_type(std::uint32_t mode) noexcept { return static_cast<std::uint8_t>(mode >> 12 & 017); }

}  // namespace weft::fs
