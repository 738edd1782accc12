#include "tests/support/sample_tree.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "fs/format.h"
#include "kernel/bytes.h"
#include "kernel/random.h"
#include "kernel/units.h"

namespace weft::fs::test {
namespace {

const Caller kRoot{};

// Bytes of which no two blocks are alike, yet that pack well: a kilobyte of noise over and over, each block numbered.
std::vector<std::byte> noise(std::size_t size, std::uint64_t seed) {
  std::array<std::byte, 1024> period;
  Random(seed).fill(period);
  std::vector<std::byte> bytes(size);
  for (std::size_t at = 0; at < size; ++at) bytes[at] = period[at % period.size()];
  for (std::size_t at = 0; at + sizeof(le32) <= size; at += kBlockBytes) {
    const le32 number = static_cast<std::uint32_t>(at / kBlockBytes);
    std::memcpy(bytes.data() + at, &number, sizeof(number));
  }
  return bytes;
}

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

// The numbers of what is made; references are given back at once.
class Maker {
 public:
  explicit Maker(FileSystem& file_system) : fs_(file_system) {}

  Result<InodeNo> node(InodeNo parent, std::string_view name, std::uint32_t mode, std::uint32_t device = 0) {
    return keep(fs_.make_node(kRoot, parent, name, {.mode = mode, .device = device}));
  }
  Result<InodeNo> directory(InodeNo parent, std::string_view name, std::uint32_t mode = 0755) {
    return keep(fs_.make_directory(kRoot, parent, name, mode));
  }
  Result<InodeNo> symlink(InodeNo parent, std::string_view name, std::string_view target) {
    return keep(fs_.make_symlink(kRoot, parent, name, target));
  }
  Result<InodeNo> file(InodeNo parent, std::string_view name, std::span<const std::byte> content) {
    const InodeNo made = TRY(node(parent, name, S_IFREG | 0644));
    if (!content.empty()) TRY(fs_.write(made, 0, content, false));
    return made;
  }
  Status attribute(InodeNo inode, std::string_view name, std::span<const std::byte> value) {
    return fs_.set_xattr(kRoot, inode, name, value, FileSystem::XattrMode::kCreate, false);
  }

 private:
  Result<InodeNo> keep(Result<Attributes> made) {
    const Attributes attributes = TRY(std::move(made));
    fs_.forget(attributes.inode, 1);
    return attributes.inode;
  }
  FileSystem& fs_;
};

// Linux's form of an ACL: owner rwx, user 1000 rw, group r, mask rw, others nothing.
std::vector<std::byte> sample_acl() {
  struct Entry {
    le16 tag, permissions;
    le32 id;
  };
  constexpr std::uint32_t kNobody = ~std::uint32_t{0};
  const Entry entries[] = {
      {0x01, 7, kNobody}, {0x02, 6, 1000}, {0x04, 4, kNobody}, {0x10, 6, kNobody}, {0x20, 0, kNobody}};
  const le32 version = 2;
  std::vector<std::byte> bytes(sizeof(version) + sizeof(entries));
  std::memcpy(bytes.data(), &version, sizeof(version));
  std::memcpy(bytes.data() + sizeof(version), entries, sizeof(entries));
  return bytes;
}

Status make_types(FileSystem& fs, Maker& make) {
  const InodeNo types = TRY(make.directory(kRootInode, "types"));
  TRY(make.file(types, "empty", {}));
  TRY(make.file(types, "small", bytes_of("hello\n")));
  TRY(make.file(types, "several-extents", noise(600 * kKiB, 1)));
  TRY(make.symlink(types, "link", "small"));
  TRY(make.symlink(types, "long-link", std::string(kMaxSymlinkBytes, 't')));
  TRY(make.node(types, "fifo", S_IFIFO | 0600));
  TRY(make.node(types, "socket", S_IFSOCK | 0700));
  TRY(make.node(types, "null", S_IFCHR | 0666, static_cast<std::uint32_t>(makedev(1, 3))));
  TRY(make.node(types, "disk", S_IFBLK | 0660, static_cast<std::uint32_t>(makedev(8, 1))));
  TRY(make.node(types, "set-id", S_IFREG | 06755));
  TRY(make.directory(types, "sticky", 01777));
  const InodeNo linked = TRY(make.file(types, "one-name", bytes_of("two names\n")));
  const Attributes link = TRY(fs.link(linked, types, "other-name"));
  fs.forget(link.inode, 1);
  return {};
}

Status make_data(FileSystem& fs, Maker& make) {
  const InodeNo data = TRY(make.directory(kRootInode, "data"));
  const InodeNo sparse = TRY(make.file(data, "sparse", noise(5000, 2)));
  TRY(fs.write(sparse, 4 * kMiB - 100, noise(200, 3), false));
  const InodeNo reserved = TRY(make.file(data, "reserved", noise(100, 4)));
  TRY(fs.allocate(reserved, AllocateMode::kReserve, 0, 200 * kKiB));
  const InodeNo in_place = TRY(make.node(data, "no-cow", S_IFREG | 0644));
  TRY(fs.set_flags(kRoot, in_place, kInodeNoCow));
  TRY(fs.write(in_place, 0, noise(50 * kKiB, 5), false));
  const InodeNo punched = TRY(make.file(data, "punched", noise(40 * kKiB, 6)));
  TRY(fs.allocate(punched, AllocateMode::kPunchHole, 10 * kKiB, 20 * kKiB));
  return {};
}

Status make_attributes(FileSystem& fs, Maker& make) {
  const InodeNo parent = TRY(make.directory(kRootInode, "attributes"));
  const InodeNo file = TRY(make.file(parent, "file", bytes_of("with attributes\n")));
  TRY(make.attribute(file, "user.small", bytes_of("value")));
  TRY(make.attribute(file, "user.empty", {}));
  TRY(make.attribute(file, "user.large", noise(20000, 7)));
  TRY(make.attribute(file, "trusted.secret", bytes_of("\x01\x02")));
  TRY(make.attribute(file, "system.posix_acl_access", sample_acl()));
  TRY(make.attribute(parent, "system.posix_acl_default", sample_acl()));
  TRY(make.file(parent, "inherits", {}));
  const InodeNo fixed = TRY(make.file(parent, "immutable", bytes_of("for ever\n")));
  TRY(fs.set_project(fixed, 42));
  TRY(fs.set_flags(kRoot, fixed, kInodeImmutable | kInodeNoAtime));
  const InodeNo log = TRY(make.file(parent, "append-only", bytes_of("first line\n")));
  TRY(fs.set_flags(kRoot, log, kInodeAppendOnly));
  const InodeNo owned = TRY(make.file(parent, "of-others", {}));
  const AttributeChange change{.fields = AttributeChange::kUid | AttributeChange::kGid | AttributeChange::kMode,
                               .mode = 0640,
                               .uid = 4'000'000'000,
                               .gid = 65534};
  TRY(fs.set_attributes(kRoot, owned, change));
  return {};
}

Status make_names(Maker& make) {
  const InodeNo names = TRY(make.directory(kRootInode, "names"));
  TRY(make.file(names, std::string(kMaxNameBytes, 'n'), {}));
  TRY(make.file(names, "\xff\x01 no UTF-8 \\", {}));
  TRY(make.file(names, "gr\xc3\xbc\xc3\x9f", {}));
  TRY(make.file(names, " ", {}));
  const InodeNo many = TRY(make.directory(names, "many"));
  for (int i = 0; i < 300; ++i) TRY(make.file(many, "entry-" + std::to_string(i), {}));
  InodeNo deep = names;
  for (int i = 0; i < 20; ++i) deep = TRY(make.directory(deep, "deep"));
  return {};
}

}  // namespace

Status make_sample_volume(BlockDevice& device, const std::string& label, Clock& clock, std::uint64_t log_bytes) {
  SeededEntropy entropy(1);
  MakeVolumeOptions options;
  options.label = label;
  options.log_bytes = log_bytes;
  options.discard = false;
  options.clock = &clock;
  options.entropy = &entropy;
  return make_volume(device, options, 0, 0);
}

Result<std::unique_ptr<FileSystem>> mount_sample(BlockDevice& device, Clock& clock, bool read_only) {
  FileSystemOptions options;
  options.volume.background = false;
  options.volume.read_only = read_only;
  options.volume.clock = &clock;
  return FileSystem::mount(device, options);
}

Status make_sample_tree(FileSystem& file_system) {
  Maker make(file_system);
  TRY(make_types(file_system, make));
  TRY(make_data(file_system, make));
  TRY(make_attributes(file_system, make));
  return make_names(make);
}

Status make_sample_orphan(FileSystem& file_system) {
  const Attributes held = TRY(file_system.make_node(kRoot, kRootInode, "unlinked", {.mode = S_IFREG | 0600}));
  TRY(file_system.write(held.inode, 0, noise(64 * kKiB, 8), false));
  return file_system.unlink(kRoot, kRootInode, "unlinked");
}

}  // namespace weft::fs::test
