// fs/file_system.h - a mounted file system as POSIX knows it: inodes, names, data, attributes. Knows nothing of FUSE.
//
//   fs/fuse -> [file_system: ops_names, ops_data, ops_attributes] -> directory, file, xattr, inode -> volume
//
// Every method is one whole operation: atomic, in force on return, durable after fsync(), sync() or an interval commit. Permission bits
// and ACLs are the kernel's to check (default_permissions); what it leaves to the server is done here: flags (immutable, append-only),
// set-id clearing and inheritance, sticky rules of whiteouts, limits.
//
// Inodes are named by number; a number is never used twice, so a handle that outlives its file is kStale, never another file. An inode stays
// readable while it has links or the caller holds references: lookup(), create() and their like give one, forget() takes them back.
// An unlinked inode without references is reclaimed, also after a crash.
//
// Locks       rename lock -> directory inode locks by ascending number -> file inode lock -> volume's
// Parks       everything but forget()
// Thread- and fiber-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/types.h"
#include "fs/volume.h"
#include "kernel/clock.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs {

struct Attributes {
  InodeNo inode;
  std::uint32_t mode = 0;  // type and permissions
  std::uint32_t links = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t device = 0;
  std::uint32_t flags = 0;  // InodeFlag bits
  std::uint32_t project = 0;
  std::uint32_t generation = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t sectors = 0;  // of 512 bytes, allocated
  std::uint64_t version = 0;
  Timespec accessed, modified, changed, created;
};

// Who asks: the process behind the request.
struct Caller {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pid = 0;
  std::uint32_t umask = 0;  // of a creation: taken off the mode unless the parent has a default ACL
  // For set-gid decisions: is `gid` one of the caller's groups? The FUSE layer reads /proc on demand. Null: only `gid` above.
  bool (*in_group)(const Caller& caller, std::uint32_t gid) = nullptr;
};

// Fields to change; those absent stay. Times "now" are the server's clock.
struct AttributeChange {
  enum Field : std::uint32_t {
    kMode = 1,
    kUid = 2,
    kGid = 4,
    kSize = 8,
    kAccessed = 16,
    kModified = 32,
    kAccessedNow = 64,
    kModifiedNow = 128,
    kChanged = 256,
    kKillSetId = 512,  // the kernel asks for set-id bits to go (truncate, chown by a non-owner)
  };
  std::uint32_t fields = 0;
  std::uint32_t mode = 0, uid = 0, gid = 0;
  std::uint64_t size_bytes = 0;
  Timespec accessed{}, modified{}, changed{};
};

struct NewNode {
  std::uint32_t mode = 0;  // type and permissions; Caller::umask is not yet applied
  std::uint32_t device = 0;
};

enum class RenameFlag : std::uint32_t {
  kNone = 0,
  kNoReplace = 1,
  kExchange = 2,
  kWhiteout = 4
};  // RENAME_* of Linux; bits may join

// May be called by a write before its data is on the device, with the count that it will return: all is in force then, fsync()
// waits for it, and a failure from there on is the volume's. Not called where the write fails or has to wait all the same.
using WriteAccepted = std::function<void(std::size_t)>;

enum class AllocateMode { kReserve, kReserveKeepSize, kPunchHole, kZeroRange, kZeroRangeKeepSize };

struct DirectoryEntry {
  std::string_view name;
  InodeNo inode;
  std::uint8_t type = 0;                   // DT_*
  std::uint64_t next_cookie = 0;           // where to go on after this entry
  const Attributes* attributes = nullptr;  // with readdir_plus
};

struct FileSystemStats {
  std::uint64_t total_blocks = 0, free_blocks = 0, available_blocks = 0;
  std::uint64_t inodes = 0, free_inodes = 0;
};

struct FileSystemOptions {
  VolumeOptions volume;
  std::uint64_t inode_cache = 65536;  // inodes kept in memory though no operation is at work on them
  bool group_from_parent = false;     // BSD groups (grpid)
  // The caller holds references that a mount gave which has died since. What is unlinked then stays until it is forgotten; what never
  // is, the next mount without this ends.
  bool takes_over = false;
};

class FileSystem {
 public:
  // Opens the volume and reclaims what a crash left unlinked (in the background where options.volume.background), unless it takes
  // over.
  static Result<std::unique_ptr<FileSystem>> mount(BlockDevice& device, const FileSystemOptions& options);
  // Reclaims, checkpoints, marks clean. No operation may be under way. The destructor alone is a crash.
  Status unmount();
  ~FileSystem();

  // -- Names. `name` is one component, no '/', 1..255 bytes, not "." or ".." unless said.
  // Each Attributes result of lookup, make_* and link carries one reference, given back by forget().
  Result<Attributes> lookup(InodeNo parent, std::string_view name);  // "." and ".." too (for NFS)
  Result<Attributes> by_number(InodeNo inode);  // an existing inode by number, with a reference: kStale if gone
  void forget(InodeNo inode, std::uint64_t references);
  // One reference that has never reached the caller. Unlike forget() it says nothing of the references that the caller has.
  void give_back(InodeNo inode);
  Result<InodeNo> find(InodeNo parent, std::string_view name);  // what a name stands for, without a reference
  // What the caller holds references to: how many inodes, and up to `limit` of them that it has not asked about for long, by turns.
  [[nodiscard]] std::uint64_t referred_count() const noexcept;
  std::vector<InodeNo> idle_references(std::size_t limit);
  Result<Attributes> make_node(const Caller& caller, InodeNo parent, std::string_view name,
                               const NewNode& node);  // files, devices, fifos, sockets
  Result<Attributes> make_directory(const Caller& caller, InodeNo parent, std::string_view name, std::uint32_t mode);
  Result<Attributes> make_symlink(const Caller& caller, InodeNo parent, std::string_view name, std::string_view target);
  Result<Attributes> make_temporary(const Caller& caller, InodeNo parent,
                                    std::uint32_t mode);  // O_TMPFILE: no name, orphan until linked
  Result<Attributes> link(InodeNo inode, InodeNo parent, std::string_view name);
  Status unlink(const Caller& caller, InodeNo parent, std::string_view name);
  Status remove_directory(const Caller& caller, InodeNo parent, std::string_view name);
  Status rename(const Caller& caller, InodeNo from_parent, std::string_view from, InodeNo to_parent,
                std::string_view to, std::uint32_t rename_flags);
  Result<std::string> read_symlink(InodeNo inode);
  // From `cookie` (0: the start; "." and ".." first) on, until `visit` returns false. A cookie stays good while entries come and go: one that exists
  // throughout is seen exactly once. With `plus` each entry but "." and ".." carries attributes and, when visit returned true, a reference.
  Status read_directory(InodeNo directory, std::uint64_t cookie, bool plus,
                        FunctionRef<bool(const DirectoryEntry&)> visit);

  // -- Data
  // Do the inode's flags let it be opened so? kNotPermitted: it is immutable, or only grows.
  Status may_open(InodeNo inode, bool for_writing, bool for_appending);
  // `into` is filled up to the end of the file; bytes read. Fastest when offset, size and memory are multiples of 4096.
  Result<std::size_t> read(InodeNo inode, std::uint64_t offset, std::span<std::byte> into);
  // All of it or an error. `kill_set_id`: the writer may not keep set-uid and set-gid bits. `append`: offset is the end of the file.
  Result<std::size_t> write(InodeNo inode, std::uint64_t offset, std::span<const std::byte> from, bool kill_set_id,
                            bool append = false, const WriteAccepted& accepted = nullptr);
  Status allocate(InodeNo inode, AllocateMode mode, std::uint64_t offset, std::uint64_t length_bytes);
  Result<std::uint64_t> seek(InodeNo inode, std::uint64_t offset, bool for_data);  // SEEK_DATA, SEEK_HOLE
  Result<std::uint64_t> copy_range(InodeNo from, std::uint64_t from_offset, InodeNo to, std::uint64_t to_offset,
                                   std::uint64_t length_bytes);
  Status fsync(InodeNo inode, bool data_only);
  // From now on write, allocate and copy_range leave a file's times alone: the caller keeps those of the data (a page cache does)
  // and brings them by set_attributes(), also of what only grows and, once, of what has become immutable since. Else a page written
  // back late would move a time that was set after it was dirtied.
  void leave_data_times_to_caller() noexcept;
  Status sync();  // syncfs: everything

  // -- Attributes
  Result<Attributes> attributes(InodeNo inode);
  Result<Attributes> set_attributes(const Caller& caller, InodeNo inode, const AttributeChange& change);
  Status set_flags(const Caller& caller, InodeNo inode, std::uint32_t flags);  // InodeFlag bits, all of them
  Status set_project(InodeNo inode, std::uint32_t project);
  // A name carries its prefix ("user.x"). ACLs are "system.posix_acl_access" and "..._default", kept as Linux's bytes and applied on creation and chmod.
  Result<std::vector<std::byte>> get_xattr(InodeNo inode, std::string_view name);
  enum class XattrMode { kEither, kCreate, kReplace };
  Status set_xattr(const Caller& caller, InodeNo inode, std::string_view name, std::span<const std::byte> value,
                   XattrMode mode, bool kill_set_gid);
  Status remove_xattr(const Caller& caller, InodeNo inode, std::string_view name);
  Result<std::vector<std::string>> list_xattrs(InodeNo inode);

  // -- The whole
  [[nodiscard]] FileSystemStats stats() const noexcept;
  Result<std::uint64_t> trim(std::uint64_t offset, std::uint64_t length_bytes,
                             std::uint64_t min_bytes);  // bytes discarded
  [[nodiscard]] Volume& volume() noexcept;

 private:
  struct Parts;
  explicit FileSystem(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weft::fs
