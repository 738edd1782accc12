#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "tools/describe.h"

namespace weft::tools {
namespace {

using fs::Key;
using fs::KeyKind;

// False, and a remark, where the value is too short for its struct.
template <typename T>
bool take(std::span<const std::byte> value, T& into, Report& report) {
  if (value.size() < sizeof(T)) {
    report.wrong(fmt::format("{} bytes are too few for this kind of value", value.size()));
    return false;
  }
  std::memcpy(&into, value.data(), sizeof(T));
  return true;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string type_text(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return "directory";
    case S_IFREG: return "file";
    case S_IFLNK: return "symbolic link";
    case S_IFCHR: return "character device";
    case S_IFBLK: return "block device";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return fmt::format("type {:o}", mode & S_IFMT);
  }
}

Report inode_line(const std::string& key, std::span<const std::byte> value) {
  fs::DiskInode inode;
  Report short_value(key);
  if (!take(value, inode, short_value)) return short_value;
  Report report(fmt::format("{}: {} {} owner {}:{} links {} size {} blocks {}", key, type_text(inode.mode),
                            mode_text(inode.mode), inode.uid.get(), inode.gid.get(), inode.links.get(),
                            inode.size_bytes.get(), inode.data_blocks.get()));
  report.hidden("mode", std::uint64_t{inode.mode})
      .hidden("links", std::uint64_t{inode.links})
      .hidden("size_bytes", inode.size_bytes.get())
      .hidden("data_blocks", inode.data_blocks.get());
  return report;
}

Report dirent_line(const std::string& key, std::span<const std::byte> value) {
  fs::DiskDirent entry;
  Report short_value(key);
  if (!take(value, entry, short_value)) return short_value;
  const std::string name = text_of(value.subspan(sizeof(entry)));
  Report report(
      fmt::format("{}: \"{}\" -> inode {} ({})", key, name, entry.inode.get(), type_text(DTTOIF(entry.type))));
  report.hidden("name", name).hidden("inode", entry.inode.get()).hidden("type", std::uint64_t{entry.type});
  if (entry.name_length != name.size() || name.empty()) {
    report.wrong(fmt::format("the name has {} bytes, its length says {}", name.size(), entry.name_length));
  }
  return report;
}

Report extent_line(const std::string& key, std::span<const std::byte> value) {
  fs::DiskExtent extent;
  Report short_value(key);
  if (!take(value, extent, short_value)) return short_value;
  std::string flags;
  if ((extent.flags & fs::kExtentUnwritten) != 0) flags += ", unwritten";
  if ((extent.flags & fs::kExtentNoChecksum) != 0) flags += ", no checksums";
  if ((extent.flags & ~fs::kExtentFlagsKnown) != 0) flags += fmt::format(", unknown flags {:#x}", extent.flags.get());
  Report report(fmt::format("{}: {} blocks at block {}, born {}{}", key, extent.length.get(), extent.block.get(),
                            extent.birth.get(), flags));
  report.hidden("block", extent.block.get())
      .hidden("length", std::uint64_t{extent.length})
      .hidden("birth", extent.birth.get())
      .hidden("flags", std::uint64_t{extent.flags});
  const std::uint64_t checksums = extent.flags == 0 ? std::uint64_t{extent.length} * 4 : 0;
  if (value.size() - sizeof(extent) != checksums) {
    report.wrong(fmt::format("{} bytes of checksums, {} are due", value.size() - sizeof(extent), checksums));
  }
  return report;
}

Report xattr_line(const std::string& key, std::span<const std::byte> value) {
  fs::DiskXattr xattr;
  Report short_value(key);
  if (!take(value, xattr, short_value)) return short_value;
  const std::span<const std::byte> rest = value.subspan(sizeof(xattr));
  const std::size_t name_length = std::min<std::size_t>(xattr.name_length, rest.size());
  const std::string name = text_of(rest.first(name_length));
  Report report(fmt::format("{}: \"{}\", {} bytes{}", key, name, xattr.value_length.get(),
                            xattr.inline_length == 0 && xattr.value_length != 0 ? " elsewhere" : ""));
  report.hidden("name", name).hidden("value_length", std::uint64_t{xattr.value_length});
  if (rest.size() != std::size_t{xattr.name_length} + xattr.inline_length) {
    report.wrong(fmt::format("{} bytes of name and value, their lengths say {}", rest.size(),
                             std::size_t{xattr.name_length} + xattr.inline_length));
  }
  return report;
}

}  // namespace

std::string mode_text(std::uint32_t mode) {
  constexpr std::string_view kTypes = "?pc?d?b?-?l?s???";
  std::string text(1, kTypes[mode >> 12 & 15]);
  for (int shift = 6; shift >= 0; shift -= 3) {
    text += (mode >> shift & 4) != 0 ? 'r' : '-';
    text += (mode >> shift & 2) != 0 ? 'w' : '-';
    text += (mode >> shift & 1) != 0 ? 'x' : '-';
  }
  const auto special = [&](std::uint32_t bit, std::size_t at, char letter) {
    if ((mode & bit) != 0) text[at] = text[at] == 'x' ? letter : static_cast<char>(letter - 'a' + 'A');
  };
  special(S_ISUID, 3, 's');
  special(S_ISGID, 6, 's');
  special(S_ISVTX, 9, 't');
  return text;
}

std::string kind_text(KeyKind kind) {
  switch (kind) {
    case KeyKind::kInode: return "inode";
    case KeyKind::kSymlink: return "symlink";
    case KeyKind::kXattr: return "xattr";
    case KeyKind::kXattrData: return "xattr data";
    case KeyKind::kDirent: return "dirent";
    case KeyKind::kExtent: return "extent";
    case KeyKind::kOrphan: return "orphan";
  }
  return fmt::format("kind {}", static_cast<unsigned>(kind));
}

std::string key_text(Key key) {
  if (key == Key::highest()) return "the end";
  if (key == Key::lowest()) return "the start";
  switch (key.kind()) {
    case KeyKind::kInode:
      return key.offset() == 0 ? fmt::format("{} inode", key.object)
                               : fmt::format("{} inode {}", key.object, key.offset());
    case KeyKind::kExtent:
    case KeyKind::kOrphan:
    case KeyKind::kSymlink: return fmt::format("{} {} {}", key.object, kind_text(key.kind()), key.offset());
    default: return fmt::format("{} {} {:#x}", key.object, kind_text(key.kind()), key.offset());
  }
}

std::string inode_flags_text(std::uint32_t flags) {
  struct Name {
    std::uint32_t bit;
    const char* name;
  };
  constexpr Name kNames[] = {{fs::kInodeSync, "sync"},         {fs::kInodeImmutable, "immutable"},
                             {fs::kInodeAppendOnly, "append"}, {fs::kInodeNoDump, "nodump"},
                             {fs::kInodeNoAtime, "noatime"},   {fs::kInodeDirSync, "dirsync"},
                             {fs::kInodeNoCow, "nocow"}};
  std::string text;
  for (const Name& each : kNames) {
    if ((flags & each.bit) != 0) text += (text.empty() ? "" : ", ") + std::string(each.name);
  }
  return text;
}

Report describe_item(Key key, std::span<const std::byte> value) {
  const std::string name = key_text(key);
  Report report = [&] {
    switch (key.kind()) {
      case KeyKind::kInode: return inode_line(name, value);
      case KeyKind::kDirent: return dirent_line(name, value);
      case KeyKind::kExtent: return extent_line(name, value);
      case KeyKind::kXattr: return xattr_line(name, value);
      case KeyKind::kSymlink:
        return Report(fmt::format("{}: \"{}\"", name, text_of(value))).hidden("target", text_of(value));
      case KeyKind::kXattrData: return Report(fmt::format("{}: {} bytes", name, value.size()));
      case KeyKind::kOrphan: return Report(fmt::format("{}: unlinked, yet to be freed", name));
    }
    return Report(fmt::format("{}: {} bytes", name, value.size())).wrong("a key of a kind that does not exist");
  }();
  report.hidden("object", key.object).hidden("kind", kind_text(key.kind())).hidden("key_offset", key.offset());
  return report;
}

Report describe_inode(const fs::DiskInode& inode, std::string title) {
  Report report(std::move(title));
  report
      .at(0, "mode", std::uint64_t{inode.mode},
          fmt::format("{} {}, {:o}", type_text(inode.mode), mode_text(inode.mode), inode.mode.get()))
      .at(4, "uid", std::uint64_t{inode.uid})
      .at(8, "gid", std::uint64_t{inode.gid})
      .at(12, "links", std::uint64_t{inode.links})
      .at(16, "size_bytes", inode.size_bytes.get())
      .at(24, "data_blocks", inode.data_blocks.get())
      .at(32, "accessed", time_text(inode.accessed))
      .at(44, "modified", time_text(inode.modified))
      .at(56, "changed", time_text(inode.changed))
      .at(68, "created", time_text(inode.created))
      .at(80, "device", std::uint64_t{inode.device},
          inode.device == 0 ? "" : fmt::format("{}:{}", major(inode.device.get()), minor(inode.device.get())))
      .at(84, "flags", std::uint64_t{inode.flags}, inode_flags_text(inode.flags))
      .at(88, "generation", std::uint64_t{inode.generation})
      .at(92, "project", std::uint64_t{inode.project})
      .at(96, "parent", inode.parent.get())
      .at(104, "version", inode.version.get())
      .at(112, "entry_count", inode.entry_count.get())
      .at(120, "xattr_count", std::uint64_t{inode.xattr_count});
  return report;
}

}  // namespace weft::tools
