// fs/file_truncate.h - takes blocks away from a file: truncate, punch, and the last rites of reclaiming.
//
//   ops_attributes, ops_data, orphan -> [file_truncate] -> file_data, transaction
//
// A change that touches few extents is one transaction. A truncate of many sets the size first, with the inode's kOrphan key as
// a mark, and then unmaps in steps; the last one takes the mark away. After a crash in between mounting goes on from
// there (finish_truncate), before anybody could see what lies past the end.
//
// Invariants  F1  bytes past the end of the file in its last block are zero
//             F2  blocks past the last are unwritten (fallocate with keep-size), but for those that a mark announces
// Locks       Inode::content, exclusively, is the caller's; Inode::change is taken here
// Parks       everything here
#pragma once

#include <cstdint>

#include "fs/file_map.h"
#include "fs/file_system_core.h"
#include "fs/inode.h"
#include "kernel/function_ref.h"

namespace weft::fs {

enum class Unmapped { kAll, kSome };
enum class UnmapLast { kTake, kLeave };

// One transaction: unmaps the first few extents of `range`. `live`: the inode in memory, null for one that nobody can reach.
// kLeave: where no more are left than one transaction can take, leaves them for the caller to take along with something else.
Result<Unmapped> unmap_step(Volume& volume, InodeNo number, Inode* live, FileRange range,
                            UnmapLast last = UnmapLast::kTake);

// Sets the size, smaller or larger; `edit` changes what else is to change in the same transaction.
Status truncate_file(FileSystemCore& fs, Inode& inode, std::uint64_t size_bytes, FunctionRef<void(DiskInode&)> edit);

// Ends a truncate that stopped half-way. Cheap where there was none.
Status finish_truncate(FileSystemCore& fs, Inode& inode);

// Zeros [from, to) of the file and gives its whole blocks back; the size stays.
Status punch_file(FileSystemCore& fs, Inode& inode, std::uint64_t from, std::uint64_t to,
                  FunctionRef<void(DiskInode&)> edit);

}  // namespace weft::fs
