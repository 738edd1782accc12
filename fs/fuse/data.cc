// fs/fuse/data.cc - requests about the contents of files.
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "fs/fuse/handlers.h"
#include "fs/fuse/resent.h"

namespace weft::fs::fuse {

Status on_read(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_read_in>());
  if (in.size > kMaxTransferBytes) return fail(Errc::kInvalid);
  const Buffer buffer = session.buffers().take(in.size);
  if (!buffer) return fail(Errc::kNoMemory);
  const std::size_t count = TRY(session.file_system().read(exchange.inode(), in.offset, buffer.bytes().first(in.size)));
  session.count_read(count);
  exchange.reply(std::span<const std::byte>(buffer.bytes().first(count)));
  return {};
}

Status on_write(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_write_in>());
  const auto data = TRY(exchange.take_bytes(in.size));
  // O_APPEND needs nothing here: the kernel is the only writer, and the offset it sends is the end as it knows it.
  const bool kill_set_id = (in.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
  const bool from_cache = (in.write_flags & FUSE_WRITE_CACHE) != 0;
  const auto answer = [&](std::size_t count) {
    session.count_written(count);
    exchange.reply(fuse_write_out{static_cast<std::uint32_t>(count), 0});
  };
  // Of pages that are written back nobody but fsync cares when they arrive. Noted before the answer: the file may be gone after it.
  if (from_cache) session.stale_blocks().note(exchange.inode());
  // Where another server may have to go on, the data has to be on the device before the answer.
  const bool may_follow = from_cache && session.options().handover == nullptr;
  auto written = session.file_system().write(exchange.inode(), in.offset, data, kill_set_id, false,
                                             may_follow ? WriteAccepted(answer) : nullptr);
  if (!written) {
    const std::size_t there = TRY(appended_once(session, exchange, in.offset, data.size(), std::move(written).error()));
    const auto rest = data.subspan(there);
    written = rest.empty()
                  ? there
                  : there + TRY(session.file_system().write(exchange.inode(), in.offset + there, rest, kill_set_id));
  }
  std::size_t count = *written;
  // Of pages written back the kernel takes any count for all of them, and fsync would acknowledge what has no space. What keeps the
  // rest from being written is the answer.
  while (from_cache && count < data.size()) {
    count += TRY(session.file_system().write(exchange.inode(), in.offset + count, data.subspan(count), kill_set_id));
  }
  if (!exchange.answered()) answer(count);
  return {};
}

// FSYNC and FSYNCDIR.
Status on_fsync(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_fsync_in>());
  TRY(session.file_system().fsync(exchange.inode(), (in.fsync_flags & FUSE_FSYNC_FDATASYNC) != 0));
  exchange.reply();
  return {};
}

Status on_syncfs(Session& session, Exchange& exchange) {
  TRY(session.file_system().sync());
  exchange.reply();
  return {};
}

namespace {

// Writing by another way than WRITE takes set-uid and set-gid bits, too, unless the caller may keep them. The kernel leaves
// that to us, without saying who asks: /proc knows, and is read only for the few files that have such bits.
Status drop_set_id(Session& session, Exchange& exchange, InodeNo inode) {
  constexpr unsigned kCapFsetid = 4;
  const Attributes attributes = TRY(session.file_system().attributes(inode));
  const std::uint32_t mode = attributes.mode;
  const bool has_set_id = (mode & S_ISUID) != 0 || (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
  if (!has_set_id || process_has_capability(exchange.header().pid, kCapFsetid)) return {};
  AttributeChange change;
  change.fields = AttributeChange::kKillSetId;
  TRY(session.file_system().set_attributes(RequestCaller(exchange.header()), inode, change));
  exchange.forget_attributes(inode);
  return {};
}

}  // namespace

Status on_fallocate(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_fallocate_in>());
  AllocateMode mode{};
  switch (in.mode) {
    case 0: mode = AllocateMode::kReserve; break;
    case FALLOC_FL_KEEP_SIZE: mode = AllocateMode::kReserveKeepSize; break;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE: mode = AllocateMode::kPunchHole; break;
    case FALLOC_FL_ZERO_RANGE: mode = AllocateMode::kZeroRange; break;
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE: mode = AllocateMode::kZeroRangeKeepSize; break;
    default: return fail(Errc::kUnsupported);
  }
  TRY(drop_set_id(session, exchange, exchange.inode()));
  TRY(session.file_system().allocate(exchange.inode(), mode, in.offset, in.length));
  exchange.reply();
  return {};
}

Status on_lseek(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_lseek_in>());
  if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE) return fail(Errc::kInvalid);
  // The kernel does not write out what it holds before it asks, and data that we have not seen would count as a hole.
  if (session.options().writeback) exchange.flush_pages(exchange.inode());
  exchange.reply(
      fuse_lseek_out { TRY(session.file_system().seek(exchange.inode(), in.offset, in.whence == SEEK_DATA)) });
  return {};
}

namespace {

Result<std::uint64_t> copy(Session& session, Exchange& exchange, std::uint64_t longest) {
  const auto in = TRY(exchange.take<fuse_copy_file_range_in>());
  if (in.flags != 0) return fail(Errc::kInvalid);
  TRY(drop_set_id(session, exchange, InodeNo(in.nodeid_out)));
  return session.file_system().copy_range(exchange.inode(), in.off_in, InodeNo(in.nodeid_out), in.off_out,
                                          std::min(in.len, longest));
}

}  // namespace

Status on_copy_file_range(Session& session, Exchange& exchange) {
  // Its answer has 32 bits.
  const std::uint64_t count = TRY(copy(session, exchange, std::numeric_limits<std::uint32_t>::max() & ~4095U));
  exchange.reply(fuse_write_out{static_cast<std::uint32_t>(count), 0});
  return {};
}

Status on_copy_file_range_64(Session& session, Exchange& exchange) {
  exchange.reply(CopyFileRangeOut { TRY(copy(session, exchange, std::numeric_limits<std::uint64_t>::max())) });
  return {};
}

}  // namespace weft::fs::fuse
