// fs/ops_list.cc - FileSystem::read_directory: names in the order of their keys, which are the cookies.
//
//   fs/fuse -> [ops_list] -> directory, inode_table
//
// Cookie 0 stands before ".", 1 before "..", k + 2 before the first name whose key offset is k or more: below 2^57.
// Locks       the directory's content, shared, for one batch at a time; none while the visitor runs. Tests: tests/fs/names_test.cc
#include <dirent.h>

#include <shared_mutex>
#include <vector>

#include "fs/directory.h"
#include "fs/file_system_core.h"

namespace weft::fs {
namespace {

constexpr std::size_t kBatch = 64;
constexpr std::uint64_t kFirstName = 2;

}  // namespace

Status FileSystem::read_directory(InodeNo number, std::uint64_t cookie, bool plus,
                                  FunctionRef<bool(const DirectoryEntry&)> visit) {
  FileSystemCore& fs = *parts_;
  const InodeRef directory = TRY(fs.inodes.get(number));
  const DiskInode record = directory->record();
  if (!is_directory(record)) return fail(Errc::kNotDirectory);
  if (cookie == 0) {
    if (!visit({.name = ".", .inode = number, .type = DT_DIR, .next_cookie = 1})) return {};
    cookie = 1;
  }
  if (cookie == 1) {
    const InodeNo up = record.parent == 0 ? number : InodeNo(record.parent);
    if (!visit({.name = "..", .inode = up, .type = DT_DIR, .next_cookie = kFirstName})) return {};
    cookie = kFirstName;
  }
  while (true) {
    std::vector<NamedDirent> names;
    std::vector<InodeRef> inodes;
    {
      std::shared_lock guard(directory->content);
      names = TRY(list_names(*fs.volume, number, cookie - kFirstName, kBatch));
      if (plus) {
        inodes.reserve(names.size());
        // A name that leads nowhere is listed all the same, so that it can be seen and fsck be run.
        for (const NamedDirent& entry : names) inodes.push_back(fs.inodes.get(entry.dirent.inode).value_or(InodeRef{}));
      }
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      const NamedDirent& entry = names[i];
      cookie = entry.dirent.offset + 1 + kFirstName;
      DirectoryEntry out{
          .name = entry.name, .inode = entry.dirent.inode, .type = entry.dirent.type, .next_cookie = cookie};
      Attributes attributes;
      Inode* const inode = plus ? inodes[i].get() : nullptr;
      if (inode != nullptr) {
        attributes = inode->attributes();
        out.attributes = &attributes;
        fs.inodes.refer(*inode);
      }
      if (!visit(out)) {
        if (inode != nullptr) fs.inodes.forget(inode->number(), 1);
        return {};
      }
    }
    if (names.size() < kBatch) return {};
  }
}

}  // namespace weft::fs
