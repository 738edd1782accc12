#include "fs/check/item_check.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "fs/directory.h"
#include "fs/file_map.h"
#include "kernel/bytes.h"
#include "kernel/units.h"

namespace weft::fs::check {
namespace {

constexpr std::uint32_t kBillion = 1'000'000'000;

bool is_type(std::uint32_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: return (mode & ~std::uint32_t{0177777}) == 0;
    default: return false;
  }
}

std::string_view word_for(KeyKind kind) noexcept {
  switch (kind) {
    case KeyKind::kInode: return "inode record";
    case KeyKind::kSymlink: return "symlink target";
    case KeyKind::kXattr: return "extended attribute";
    case KeyKind::kXattrData: return "extended attribute's value";
    case KeyKind::kDirent: return "directory entry";
    case KeyKind::kExtent: return "extent";
    case KeyKind::kOrphan: return "orphan mark";
  }
  return "item of an unknown kind";
}

std::vector<std::byte> copy_of(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

ItemCheck::ItemCheck(std::span<const std::uint8_t, 16> hash_seed, Findings& findings, TreeFacts& facts)
    : hash_(hash_seed), findings_(findings), facts_(facts) {}

void ItemCheck::item(Key key, std::span<const std::byte> value) {
  if (key.object != object_.number) {
    end_object();
    object_ = Object{};
    object_.number = key.object;
    object_.orphan = std::ranges::binary_search(facts_.orphans, key.object);
  }
  if (key.object == kSystemObject.value()) return system_item(key, value);
  if (key.object >= kMaxInodeNo) return stray(key, "of an inode number that cannot be");
  ++object_.items;
  switch (key.kind()) {
    case KeyKind::kInode: return inode_item(key, value);
    case KeyKind::kSymlink: return symlink_item(key, value);
    case KeyKind::kXattr: return xattr_item(key, value);
    case KeyKind::kXattrData: return xattr_data_item(key, value);
    case KeyKind::kDirent: return dirent_item(key, value);
    case KeyKind::kExtent: return extent_item(key, value);
    case KeyKind::kOrphan: return stray(key, "that belongs under object 0");
  }
  stray(key, fmt::format("({})", static_cast<unsigned>(key.kind())));
}

void ItemCheck::finish() {
  end_object();
  object_ = Object{};
}

void ItemCheck::stray(Key key, std::string what) {
  if (object_.items != 0) --object_.items;
  findings_
      .add(Problem::kStrayItem, key.owner(),
           fmt::format("inode {}: {} at offset {} {}", key.object, word_for(key.kind()), key.offset(), what))
      .fixes.push_back(erase_of(key));
}

void ItemCheck::field(InodeField which, std::uint64_t number, std::string message) {
  findings_.add(Problem::kInodeField, InodeNo(object_.number), fmt::format("inode {}: {}", object_.number, message))
      .fixes.push_back(set_field(InodeNo(object_.number), which, number));
}

bool ItemCheck::may_be(std::uint32_t type) const {
  return !object_.record || object_.bad_mode || (object_.record->mode & S_IFMT) == type;
}

// An unlinked inode that is being freed, a few keys at a time: what is left of it need not fit together.
bool ItemCheck::is_going() const { return object_.orphan && object_.record && object_.record->links == 0; }

void ItemCheck::system_item(Key key, std::span<const std::byte> value) {
  if (key.kind() != KeyKind::kOrphan) return stray(key, "belongs to no inode");
  if (key.offset() == 0) return stray(key, "of no inode");
  if (!value.empty()) {
    findings_
        .add(Problem::kOrphan, InodeNo(key.offset()),
             fmt::format("inode {}: its orphan mark has a value", key.offset()))
        .fixes.push_back(put_of(key, {}));
  }
  facts_.orphans.push_back(key.offset());
}

// ------------------------------------------------------------------------------------------------------- inode

void ItemCheck::inode_item(Key key, std::span<const std::byte> value) {
  if (key.offset() != 0) return stray(key, "where no record can be");
  object_.record_key = true;
  ++facts_.records;
  if (value.size() != sizeof(DiskInode)) return;  // end_object() makes a new one
  object_.record.emplace();
  std::memcpy(&*object_.record, value.data(), sizeof(DiskInode));
  check_record();
}

void ItemCheck::check_record() {
  const DiskInode& record = *object_.record;
  const std::uint32_t mode = record.mode;
  // A root of another type would take all its names along.
  object_.bad_mode = !is_type(mode) || (object_.number == kRootInode.value() && !S_ISDIR(mode));
  if (object_.bad_mode) return;  // end_object() knows what else there is
  const std::uint32_t type = mode & S_IFMT;
  if ((record.flags & ~kInodeFlagsKnown) != 0) {
    field(InodeField::kFlags, record.flags & kInodeFlagsKnown,
          fmt::format("has unknown flags {:#x}", record.flags.get()));
  }
  for (const DiskTime* time : {&record.accessed, &record.modified, &record.changed, &record.created}) {
    if (time->nanoseconds < kBillion) continue;
    field(InodeField::kTimes, 0, fmt::format("has a time with {} nanoseconds", time->nanoseconds.get()));
    break;
  }
  if (std::ranges::any_of(record.reserved, [](std::uint8_t byte) { return byte != 0; })) {
    field(InodeField::kReserved, 0, "has reserved bytes that are not zero");
  }
  if (record.links > kMaxLinks) field(InodeField::kLinks, 0, fmt::format("has {} links", record.links.get()));
  if (type == S_IFREG && record.size_bytes > kMaxFileBytes) {
    field(InodeField::kSize, kMaxFileBytes, fmt::format("has a size of {} bytes", record.size_bytes.get()));
  }
  if (type != S_IFREG && type != S_IFLNK && record.size_bytes != 0) {
    field(InodeField::kSize, 0, fmt::format("is not a file and has a size of {} bytes", record.size_bytes.get()));
  }
  if (type != S_IFDIR && record.parent != 0) {
    field(InodeField::kParent, 0, fmt::format("is not a directory and has a parent, {}", record.parent.get()));
  }
  if (type != S_IFCHR && type != S_IFBLK && record.device != 0) {
    field(InodeField::kDevice, 0, fmt::format("is not a device and has a device number, {:#x}", record.device.get()));
  }
}

std::uint32_t ItemCheck::likely_type() const {
  if (object_.entries != 0) return S_IFDIR;
  if (object_.symlink_chunks != 0 && object_.blocks == 0) return S_IFLNK;
  return S_IFREG;
}

// A record for keys that have none: what they are stays reachable.
void ItemCheck::make_up_record(std::uint32_t type) {
  DiskInode record{};
  record.mode = type | (type == S_IFDIR ? 0700u : type == S_IFLNK ? 0777u : 0600u);
  record.links = type == S_IFDIR ? 2 : 1;
  record.generation = 1;
  record.version = 1;
  record.entry_count = type == S_IFDIR ? object_.entries : 0;
  record.xattr_count = static_cast<std::uint32_t>(object_.xattrs);
  record.data_blocks = object_.blocks;
  if (type == S_IFREG) record.size_bytes = object_.mapped_end * kBlockBytes;
  if (type == S_IFLNK) record.size_bytes = object_.symlink_bytes;
  const auto bytes = as_bytes_of(record);
  findings_
      .add(Problem::kMissingInode, InodeNo(object_.number),
           fmt::format("inode {}: its record is {}, and it has {} other item{}", object_.number,
                       object_.record_key ? "not one" : "missing", object_.items - (object_.record_key ? 1 : 0),
                       object_.items - (object_.record_key ? 1 : 0) == 1 ? "" : "s"))
      .fixes.push_back(put_of(Key(InodeNo(object_.number), KeyKind::kInode, 0), copy_of(bytes)));
}

void ItemCheck::end_object() {
  if (object_.number == 0 || object_.number >= kMaxInodeNo || object_.items == 0) return;
  const InodeNo number(object_.number);
  InodeState state{.number = object_.number};
  facts_.highest_inode = std::max(facts_.highest_inode, object_.number);
  facts_.data_blocks += object_.blocks;
  end_xattrs();
  if (!object_.record) {
    const std::uint32_t type = object_.number == kRootInode.value() ? S_IFDIR : likely_type();
    make_up_record(type);
    state.type = dirent_type(type);
    state.made_up = true;
    state.has_names = object_.entries != 0;
    facts_.directories += type == S_IFDIR;
    facts_.inodes.push_back(state);
    return;
  }
  const DiskInode& record = *object_.record;
  if (object_.bad_mode) {
    const std::uint32_t type = object_.number == kRootInode.value() ? S_IFDIR : likely_type();
    field(InodeField::kMode, type | (record.mode & 07777), fmt::format("has a mode of {:#o}", record.mode.get()));
    state.type = dirent_type(type);
    state.made_up = true;
    state.has_names = object_.entries != 0;
    facts_.directories += type == S_IFDIR;
    facts_.inodes.push_back(state);
    return;
  }
  const std::uint32_t type = record.mode & S_IFMT;
  state.type = dirent_type(type);
  state.parent = record.parent;
  state.links = record.links;
  state.has_names = object_.entries != 0;
  facts_.directories += type == S_IFDIR;
  facts_.inodes.push_back(state);

  if (record.entry_count != object_.entries) {
    findings_
        .add(Problem::kEntryCount, number,
             fmt::format("inode {}: says that it has {} names, but has {}", object_.number, record.entry_count.get(),
                         object_.entries))
        .fixes.push_back(set_field(number, InodeField::kEntryCount, object_.entries));
  }
  if (record.xattr_count != object_.xattrs && !is_going()) {
    findings_
        .add(Problem::kXattrCount, number,
             fmt::format("inode {}: says that it has {} extended attributes, but has {}", object_.number,
                         record.xattr_count.get(), object_.xattrs))
        .fixes.push_back(set_field(number, InodeField::kXattrCount, object_.xattrs));
  }
  if (record.data_blocks != object_.blocks) {
    findings_
        .add(Problem::kBlockCount, number,
             fmt::format("inode {}: says that it has {} blocks, but has {}{}", object_.number, record.data_blocks.get(),
                         object_.blocks,
                         record.data_blocks > object_.blocks ? "; what was in the others reads as zeros" : ""))
        .fixes.push_back(set_field(number, InodeField::kDataBlocks, object_.blocks));
  }
  if (type == S_IFLNK && !is_going()) end_symlink();
}

// ----------------------------------------------------------------------------------------------------- symlink

void ItemCheck::symlink_item(Key key, std::span<const std::byte> value) {
  if (!may_be(S_IFLNK)) return stray(key, "though it is no symlink");
  const bool in_order = key.offset() == object_.symlink_chunks && object_.symlink_bytes % kSymlinkChunkBytes == 0;
  const bool zero = std::ranges::find(value, std::byte{0}) != value.end();
  if (!in_order || zero || value.empty() || value.size() > kSymlinkChunkBytes) object_.symlink_broken = true;
  ++object_.symlink_chunks;
  object_.symlink_bytes += value.size();
  object_.symlink_keys.push_back(key);
}

void ItemCheck::end_symlink() {
  const std::uint64_t size = object_.record->size_bytes;
  const std::uint64_t found = object_.symlink_bytes;
  if (!object_.symlink_broken && found == size && size != 0 && size <= kMaxSymlinkBytes) return;
  const InodeNo number(object_.number);
  Finding& finding = findings_.add(
      Problem::kSymlink, number,
      object_.symlink_broken || found == 0 || found > kMaxSymlinkBytes
          ? fmt::format("symlink {}: its target is broken, {} of {} bytes are there", object_.number, found, size)
          : fmt::format("symlink {}: says that its target has {} bytes, but it has {}", object_.number, size, found));
  if (!object_.symlink_broken && found != 0 && found <= kMaxSymlinkBytes) {
    finding.fixes.push_back(set_field(number, InodeField::kSize, found));
    return;
  }
  // A symlink has to lead somewhere; this one says what became of it.
  constexpr std::string_view kLost = "target-lost";
  for (const Key key : object_.symlink_keys) finding.fixes.push_back(erase_of(key));
  finding.fixes.push_back(put_of(Key(number, KeyKind::kSymlink, 0), copy_of(std::as_bytes(std::span(kLost)))));
  finding.fixes.push_back(set_field(number, InodeField::kSize, kLost.size()));
}

// ------------------------------------------------------------------------------------------------------ xattrs

void ItemCheck::xattr_item(Key key, std::span<const std::byte> value) {
  const auto bad = [&](std::string_view what) {
    findings_
        .add(Problem::kXattr, key.owner(),
             fmt::format("inode {}: an extended attribute {} and is removed", key.object, what))
        .fixes.push_back(erase_of(key));
  };
  ++object_.xattrs;
  DiskXattr disk;
  if (value.size() < sizeof(disk)) return bad("is too short");
  std::memcpy(&disk, value.data(), sizeof(disk));
  if (disk.name_length == 0 || value.size() != sizeof(disk) + disk.name_length + disk.inline_length ||
      disk.value_length > kMaxXattrBytes || (disk.inline_length != 0 && disk.inline_length != disk.value_length)) {
    return bad("has lengths that cannot be");
  }
  const std::string_view name(reinterpret_cast<const char*>(value.data()) + sizeof(disk), disk.name_length);
  if (name.find('\0') != name.npos) return bad(fmt::format("has the name {}", quoted(name)));
  const std::uint64_t hash = hash_.xattr_hash(name);
  if (key.offset() >> 8 != hash) return bad(fmt::format("{} stands at the wrong place", quoted(name)));
  if (object_.same_hash != hash) {
    object_.same_hash = hash;
    object_.same_hash_names.clear();
  }
  if (std::ranges::find(object_.same_hash_names, name) != object_.same_hash_names.end()) {
    return bad(fmt::format("{} is there twice", quoted(name)));
  }
  object_.same_hash_names.emplace_back(name);
  if (disk.inline_length != disk.value_length) object_.long_xattrs.push_back({key.offset(), disk.value_length});
}

void ItemCheck::xattr_data_item(Key key, std::span<const std::byte> value) {
  const std::uint64_t offset = key.offset() >> 8;
  const std::uint64_t chunk = key.offset() & 0xff;
  const auto owner = std::ranges::find(object_.long_xattrs, offset, &Xattr::offset);
  if (is_going()) return;
  if (owner == object_.long_xattrs.end()) return stray(key, "belongs to no attribute");
  const std::uint64_t due = std::min<std::uint64_t>(kXattrChunkBytes, owner->value_bytes - owner->found_bytes);
  if (chunk != owner->next_chunk || value.size() != due || due == 0) {
    // end_xattrs() takes the attribute away; this one the next round would find.
    return stray(key, "is not the part that is due");
  }
  ++owner->next_chunk;
  owner->found_bytes += static_cast<std::uint32_t>(value.size());
}

void ItemCheck::end_xattrs() {
  if (is_going()) return;
  for (const Xattr& xattr : object_.long_xattrs) {
    if (xattr.found_bytes == xattr.value_bytes) continue;
    const InodeNo number(object_.number);
    Finding& finding =
        findings_.add(Problem::kXattr, number,
                      fmt::format("inode {}: of an extended attribute's value {} of {} bytes are there; it is removed",
                                  object_.number, xattr.found_bytes, xattr.value_bytes));
    finding.fixes.push_back(erase_of(Key(number, KeyKind::kXattr, xattr.offset)));
    for (std::uint64_t chunk = 0; chunk < xattr.next_chunk; ++chunk) {
      finding.fixes.push_back(erase_of(Key(number, KeyKind::kXattrData, xattr.offset << 8 | chunk)));
    }
  }
}

// ------------------------------------------------------------------------------------------------------- names

void ItemCheck::dirent_item(Key key, std::span<const std::byte> value) {
  if (!may_be(S_IFDIR)) return stray(key, "though it is no directory");
  const auto bad = [&](std::string message) -> Finding& {
    Finding& finding = findings_.add(Problem::kName, key.owner(), fmt::format("directory {}: {}", key.object, message));
    finding.fixes.push_back(erase_of(key));
    return finding;
  };
  ++object_.entries;
  DiskDirent disk;
  if (value.size() < sizeof(disk)) {
    bad("an entry is too short and is removed");
    return;
  }
  std::memcpy(&disk, value.data(), sizeof(disk));
  if (disk.name_length == 0 || value.size() != sizeof(disk) + disk.name_length) {
    bad("an entry has a length that cannot be and is removed");
    return;
  }
  const std::string_view name(reinterpret_cast<const char*>(value.data()) + sizeof(disk), disk.name_length);
  facts_.names.push_back({disk.inode, key.object, (std::uint64_t{disk.type} << 56) | key.offset()});
  if (!check_name(name)) {
    bad(fmt::format("the name {} cannot be and is removed", quoted(name)));
    return;
  }
  const std::uint64_t hash = hash_.dirent_hash(name);
  if (key.offset() >> 8 != hash) {
    Finding& finding = bad(fmt::format("the name {} stands at the wrong place", quoted(name)));
    finding.fixes.push_back({.kind = Fix::Kind::kAddName,
                             .key = key,
                             .number = disk.inode,
                             .bytes = copy_of(std::as_bytes(std::span(name)))});
    return;
  }
  if (object_.same_hash != hash) {
    object_.same_hash = hash;
    object_.same_hash_names.clear();
  }
  if (std::ranges::find(object_.same_hash_names, name) != object_.same_hash_names.end()) {
    bad(fmt::format("the name {} is there twice; the second, of inode {}, is removed", quoted(name), disk.inode.get()));
    return;
  }
  object_.same_hash_names.emplace_back(name);
}

// ----------------------------------------------------------------------------------------------------- extents

// The tree has looked at the extent itself (check_extent), and at its neighbours in the same leaf.
void ItemCheck::extent_item(Key key, std::span<const std::byte> value) {
  ++facts_.extents;
  if (!may_be(S_IFREG)) return stray(key, "though it is no file");
  DiskExtent extent;
  std::memcpy(&extent, value.data(), sizeof(extent));
  const std::uint64_t first = key.offset();
  const std::uint64_t end = first + extent.length;
  object_.blocks += extent.length;
  const auto bad = [&](Problem problem, std::string message) {
    findings_.add(problem, key.owner(), fmt::format("inode {}: {}", key.object, message))
        .fixes.push_back(erase_of(key));
  };
  if (first < object_.mapped_end) {
    return bad(Problem::kExtent,
               fmt::format("extents overlap at block {} of the file; the second, of {} blocks, is removed", first,
                           extent.length.get()));
  }
  object_.mapped_end = end;
  if (end > kFileBlockEnd) {
    return bad(Problem::kExtent,
               fmt::format("an extent at block {} of the file reaches too far and is removed", first));
  }
  // Its end blocks may await unmapping: then the mark says so.
  if (!object_.record || object_.orphan || (extent.flags & kExtentUnwritten) != 0) return;
  const std::uint64_t file_end = divide_up(object_.record->size_bytes, kBlockBytes);
  if (end <= file_end) return;
  const std::uint64_t keep = file_end > first ? file_end - first : 0;
  Finding& finding = findings_.add(Problem::kPastEnd, key.owner(),
                                   fmt::format("inode {}: has {} written blocks behind its end, which are removed",
                                               key.object, extent.length - keep));
  if (keep == 0) {
    finding.fixes.push_back(erase_of(key));
    return;
  }
  extent.length = static_cast<std::uint32_t>(keep);
  std::vector<std::byte> shorter = copy_of(value.first(sizeof(extent) + (extent.flags == 0 ? keep * 4 : 0)));
  std::memcpy(shorter.data(), &extent, sizeof(extent));
  finding.fixes.push_back(put_of(key, std::move(shorter)));
}

}  // namespace weft::fs::check
