#include "fs/fuse/convert.h"

namespace weft::fs::fuse {

fuse_attr to_fuse_attr(const Attributes& attributes) noexcept {
  fuse_attr out{};
  out.ino = attributes.inode.value();
  out.size = attributes.size_bytes;
  out.blocks = attributes.sectors;
  out.atime = static_cast<std::uint64_t>(attributes.accessed.seconds);
  out.mtime = static_cast<std::uint64_t>(attributes.modified.seconds);
  out.ctime = static_cast<std::uint64_t>(attributes.changed.seconds);
  out.atimensec = attributes.accessed.nanoseconds;
  out.mtimensec = attributes.modified.nanoseconds;
  out.ctimensec = attributes.changed.nanoseconds;
  out.mode = attributes.mode;
  out.nlink = attributes.links;
  out.uid = attributes.uid;
  out.gid = attributes.gid;
  out.rdev = attributes.device;
  out.blksize = kBlockBytes;
  return out;
}

fuse_entry_out to_fuse_entry(const Attributes& attributes, const SessionOptions& options) noexcept {
  fuse_entry_out out{};
  out.nodeid = attributes.inode.value();
  out.generation = attributes.generation;
  out.entry_valid = options.entry_valid_seconds;
  out.attr_valid = options.attributes_valid_seconds;
  out.attr = to_fuse_attr(attributes);
  return out;
}

fuse_attr_out to_fuse_attr_out(const Attributes& attributes, const SessionOptions& options) noexcept {
  fuse_attr_out out{};
  out.attr_valid = options.attributes_valid_seconds;
  out.attr = to_fuse_attr(attributes);
  return out;
}

}  // namespace weft::fs::fuse
