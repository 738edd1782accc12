#include "fs/check/repair.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "fs/directory.h"
#include "fs/format.h"
#include "fs/name_hash.h"
#include "kernel/bytes.h"

namespace weft::fs::check {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class Repairer {
 public:
  explicit Repairer(CheckedVolume& volume) : volume_(volume), hash_(volume.superblock().hash_seed) {}

  Status apply(const Fix& fix) {
    switch (fix.kind) {
      case Fix::Kind::kErase: return volume_.erase(fix.key);
      case Fix::Kind::kPut: return volume_.put(fix.key, fix.bytes);
      case Fix::Kind::kSetField: return set_field(fix);
      case Fix::Kind::kSetType: return set_type(fix);
      case Fix::Kind::kAddName: {
        const std::string_view name(reinterpret_cast<const char*>(fix.bytes.data()), fix.bytes.size());
        return add_name(fix.key.owner(), name, fix.number, TRY(type_of(fix.number)));
      }
      case Fix::Kind::kReconnect: return reconnect(fix);
      case Fix::Kind::kMakeRoot: return make_directory(kRootInode, kRootInode);
    }
    return {};
  }

 private:
  Result<std::optional<DiskInode>> record_of(InodeNo inode) {
    const auto bytes = TRY(volume_.get(Key(inode, KeyKind::kInode, 0)));
    if (!bytes || bytes->size() != sizeof(DiskInode)) return std::optional<DiskInode>();
    DiskInode record;
    std::memcpy(&record, bytes->data(), sizeof(record));
    return std::optional<DiskInode>(record);
  }

  Status set_field(const Fix& fix) {
    auto record = TRY(record_of(fix.key.owner()));
    if (!record) return {};
    const auto small = static_cast<std::uint32_t>(fix.number);
    switch (fix.field) {
      case InodeField::kMode: record->mode = small; break;
      case InodeField::kLinks: record->links = small; break;
      case InodeField::kSize: record->size_bytes = fix.number; break;
      case InodeField::kDataBlocks: record->data_blocks = fix.number; break;
      case InodeField::kDevice: record->device = small; break;
      case InodeField::kFlags: record->flags = small; break;
      case InodeField::kParent: record->parent = fix.number; break;
      case InodeField::kEntryCount: record->entry_count = fix.number; break;
      case InodeField::kXattrCount: record->xattr_count = small; break;
      case InodeField::kTimes:
        for (DiskTime* time : {&record->accessed, &record->modified, &record->changed, &record->created}) {
          if (time->nanoseconds >= 1'000'000'000) time->nanoseconds = 0;
        }
        break;
      case InodeField::kReserved: std::memset(record->reserved, 0, sizeof(record->reserved)); break;
    }
    return volume_.put(fix.key, as_bytes_of(*record));
  }

  Status set_type(const Fix& fix) {
    auto bytes = TRY(volume_.get(fix.key));
    if (!bytes || bytes->size() < sizeof(DiskDirent)) return {};
    (*bytes)[offsetof(DiskDirent, type)] = static_cast<std::byte>(fix.number);
    return volume_.put(fix.key, *bytes);
  }

  Result<std::uint8_t> type_of(std::uint64_t inode) {
    const auto record = TRY(record_of(InodeNo(inode)));
    return record ? dirent_type(record->mode) : std::uint8_t{DT_REG};
  }

  // Where `name` stands, or could.
  Result<NameSlot> find(InodeNo directory, std::string_view name) {
    const std::uint64_t base = hash_.dirent_hash(name) << 8;
    NameSlot slot;
    std::uint64_t free = 0;
    TRY(volume_.scan(Key(directory, KeyKind::kDirent, base), Key(directory, KeyKind::kDirent, base + 256),
                     [&](Key key, std::span<const std::byte> value) {
                       if (key.offset() - base == free) ++free;
                       DiskDirent disk;
                       if (value.size() < sizeof(disk)) return true;
                       std::memcpy(&disk, value.data(), sizeof(disk));
                       if (!std::ranges::equal(value.subspan(sizeof(disk)), bytes_of(name))) return true;
                       slot.entry = Dirent{.inode = InodeNo(disk.inode), .type = disk.type, .offset = key.offset()};
                       return false;
                     }));
    if (free == 256 && !slot.entry) return fail(Errc::kNoSpace, "256 names of one hash");
    slot.free_offset = base + free;
    return slot;
  }

  // Under another name where this one is taken.
  Status add_name(InodeNo directory, std::string_view name, std::uint64_t target, std::uint8_t type) {
    std::string wanted(name);
    NameSlot slot = TRY(find(directory, wanted));
    for (int i = 1; slot.entry; ++i) {
      if (slot.entry->inode.value() == target) return {};
      wanted = std::string(name.substr(0, kMaxNameBytes - 12)) + "~" + std::to_string(i);
      slot = TRY(find(directory, wanted));
    }
    std::vector<std::byte> value(sizeof(DiskDirent) + wanted.size());
    const DiskDirent disk{.inode = target, .type = type, .name_length = static_cast<std::uint8_t>(wanted.size())};
    std::memcpy(value.data(), &disk, sizeof(disk));
    std::memcpy(value.data() + sizeof(disk), wanted.data(), wanted.size());
    return volume_.put(Key(directory, KeyKind::kDirent, slot.free_offset), value);
  }

  Status make_directory(InodeNo number, InodeNo parent) {
    DiskInode record{};
    record.mode = S_IFDIR | (number == kRootInode ? 0755 : 0700);
    record.links = 2;
    record.parent = parent.value();
    record.generation = 1;
    record.version = 1;
    record.accessed = record.modified = record.changed = record.created = volume_.now();
    return volume_.put(Key(number, KeyKind::kInode, 0), as_bytes_of(record));
  }

  Result<InodeNo> lost_and_found() {
    if (lost_and_found_.value() != 0) return lost_and_found_;
    const NameSlot slot = TRY(find(kRootInode, kLostAndFound));
    if (slot.entry) {
      const auto record = TRY(record_of(slot.entry->inode));
      if (record && S_ISDIR(record->mode.get())) return lost_and_found_ = slot.entry->inode;
    }
    const InodeNo made(volume_.new_inode());
    TRY(make_directory(made, kRootInode));
    TRY(add_name(kRootInode, kLostAndFound, made.value(), DT_DIR));
    return lost_and_found_ = made;
  }

  Status reconnect(const Fix& fix) {
    const InodeNo inode = fix.key.owner();
    const InodeNo home = TRY(lost_and_found());
    if (home == inode) return add_name(kRootInode, kLostAndFound, inode.value(), DT_DIR);
    return add_name(home, "#" + std::to_string(inode.value()), inode.value(), static_cast<std::uint8_t>(fix.number));
  }

  CheckedVolume& volume_;
  const NameHash hash_;
  InodeNo lost_and_found_;
};

// Where part of the tree cannot be read, who uses which block is not known, and nothing may be written. Where log records are lost,
// writing gives them up for good.
bool may_write(CheckedVolume& volume, bool only_safe) {
  return volume.is_readable() && !(only_safe && volume.log().damage);
}

bool is_repairable(Problem problem) { return problem != Problem::kTreeNode && problem != Problem::kDataChecksum; }

}  // namespace

Status repair(CheckedVolume& volume, bool only_safe) {
  if (!may_write(volume, only_safe)) return {};
  Repairer repairer(volume);
  for (Finding& finding : volume.findings().list()) {
    if ((only_safe && !is_safe(finding.problem)) || !is_repairable(finding.problem)) continue;
    for (const Fix& fix : finding.fixes) TRY(repairer.apply(fix));
    finding.repaired = true;
  }
  return {};
}

}  // namespace weft::fs::check
