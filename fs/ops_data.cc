// fs/ops_data.cc - FileSystem's operations on data: from the caller's numbers to an inode and its file.
//
//   fs/fuse -> [ops_data] -> file, xattr
//
// Tests: tests/fs/file_test.cc
#include <algorithm>

#include "fs/aligned_buffer.h"
#include "fs/capability.h"
#include "fs/file.h"
#include "fs/file_system_core.h"
#include "kernel/trace.h"

namespace weft::fs {

Status FileSystem::may_open(InodeNo number, bool for_writing, bool for_appending) {
  const InodeRef inode = TRY(parts_->inodes.get(number));
  const std::uint32_t forbidding =
      !for_writing ? 0 : (for_appending ? std::uint32_t{kInodeImmutable} : kInodeImmutable | kInodeAppendOnly);
  return refuse_flags(inode->record(), forbidding);
}

Result<std::size_t> FileSystem::read(InodeNo number, std::uint64_t offset, std::span<std::byte> into) {
  const TraceSpan span("fs.read");
  const InodeRef inode = TRY(parts_->inodes.get(number));
  return read_file(*parts_, *inode, offset, into);
}

Result<std::size_t> FileSystem::write(InodeNo number, std::uint64_t offset, std::span<const std::byte> from,
                                      bool kill_set_id, bool append, const WriteAccepted& accepted) {
  const TraceSpan span("fs.write");
  const InodeRef inode = TRY(parts_->inodes.get(number));
  TRY(drop_capability(*parts_, *inode));
  return write_file(*parts_, *inode, offset, from, kill_set_id, append, accepted);
}

Status FileSystem::allocate(InodeNo number, AllocateMode mode, std::uint64_t offset, std::uint64_t length_bytes) {
  const InodeRef inode = TRY(parts_->inodes.get(number));
  return allocate_file(*parts_, *inode, mode, offset, length_bytes);
}

Result<std::uint64_t> FileSystem::seek(InodeNo number, std::uint64_t offset, bool for_data) {
  const InodeRef inode = TRY(parts_->inodes.get(number));
  return seek_file(*parts_, *inode, offset, for_data);
}

Result<std::uint64_t> FileSystem::copy_range(InodeNo from, std::uint64_t from_offset, InodeNo to,
                                             std::uint64_t to_offset, std::uint64_t length_bytes) {
  const InodeRef source = TRY(parts_->inodes.get(from));
  const InodeRef target = TRY(parts_->inodes.get(to));
  TRY(require_regular(source->record()));
  TRY(require_regular(target->record()));
  if (from == to && from_offset < to_offset + length_bytes && to_offset < from_offset + length_bytes)
    return fail(Errc::kInvalid);
  TRY(drop_capability(*parts_, *target));
  // What the source has now: a copy within one file may make it longer.
  const std::uint64_t size = source->record().size_bytes;
  if (from_offset >= size) return 0;
  length_bytes = std::min(length_bytes, size - from_offset);
  AlignedBuffer buffer(std::min<std::uint64_t>(length_bytes, kWriteStepBytes));
  std::uint64_t done = 0;
  while (done < length_bytes) {
    const auto part = buffer.bytes().first(std::min<std::uint64_t>(length_bytes - done, kWriteStepBytes));
    const auto got = read_file(*parts_, *source, from_offset + done, part);
    const auto put =
        got && *got > 0 ? write_file(*parts_, *target, to_offset + done, part.first(*got), true, false, nullptr) : got;
    if (!put && done == 0) return fail(put.error());
    if (!put || *put == 0) break;
    done += *put;
  }
  return done;
}

void FileSystem::leave_data_times_to_caller() noexcept { parts_->data_times_are_callers = true; }

Status FileSystem::fsync(InodeNo number, bool data_only) {
  const TraceSpan span("fs.fsync");
  const InodeRef inode = TRY(parts_->inodes.get(number));
  return parts_->volume->make_durable(data_only ? inode->last_data_change() : inode->last_change());
}

Status FileSystem::sync() {
  const TraceSpan span("fs.sync");
  return parts_->volume->make_durable(parts_->volume->committed());
}

}  // namespace weft::fs
