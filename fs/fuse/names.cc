// fs/fuse/names.cc - requests about names: lookup, creation, removal, renaming, directories.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fs/fuse/convert.h"
#include "fs/fuse/handlers.h"
#include "fs/fuse/resent.h"

namespace weft::fs::fuse {

namespace {

// Answers with an entry; the reference it carries comes back if the kernel does not take it.
Status reply_entry(Session& session, Exchange& exchange, const Attributes& attributes) {
  if (!exchange.reply(to_fuse_entry(attributes, session.options()))) session.file_system().give_back(attributes.inode);
  return {};
}

// A creation's answer, of one that a server before us has executed, too.
Status reply_made(Session& session, Exchange& exchange, std::string_view name, Result<Attributes> made) {
  return reply_entry(session, exchange, TRY(made_once(session, exchange, exchange.inode(), name, std::move(made))));
}

bool is_dot_name(std::string_view name) { return name == "." || name == ".."; }

}  // namespace

Status on_lookup(Session& session, Exchange& exchange) {
  const auto name = TRY(exchange.take_name());
  auto found = session.file_system().lookup(exchange.inode(), name);
  if (found) return reply_entry(session, exchange, *found);
  if (found.error() == Errc::kNotFound) {
    // Inode 0 with a time: the kernel remembers that there is no such name.
    fuse_entry_out none{};
    none.entry_valid = session.options().entry_valid_seconds;
    exchange.reply(none);
    return {};
  }
  return fail(std::move(found).error());
}

Status on_forget(Session& session, Exchange& exchange) {
  exchange.drop();
  const auto in = TRY(exchange.take<fuse_forget_in>());
  session.file_system().forget(exchange.inode(), in.nlookup);
  return {};
}

Status on_batch_forget(Session& session, Exchange& exchange) {
  exchange.drop();
  const auto in = TRY(exchange.take<fuse_batch_forget_in>());
  for (std::uint32_t i = 0; i < in.count; ++i) {
    const auto one = TRY(exchange.take<fuse_forget_one>());
    session.file_system().forget(InodeNo(one.nodeid), one.nlookup);
  }
  return {};
}

Status on_mknod(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_mknod_in>());
  const auto name = TRY(exchange.take_name());
  const RequestCaller caller(exchange.header(), in.umask);
  return reply_made(
      session, exchange, name,
      session.file_system().make_node(caller, exchange.inode(), name, {.mode = in.mode, .device = in.rdev}));
}

Status on_mkdir(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_mkdir_in>());
  const auto name = TRY(exchange.take_name());
  const RequestCaller caller(exchange.header(), in.umask);
  return reply_made(session, exchange, name,
                    session.file_system().make_directory(caller, exchange.inode(), name, in.mode));
}

Status on_symlink(Session& session, Exchange& exchange) {
  const auto name = TRY(exchange.take_name());
  const auto target = TRY(exchange.take_string());
  const RequestCaller caller(exchange.header());
  return reply_made(session, exchange, name,
                    session.file_system().make_symlink(caller, exchange.inode(), name, target));
}

namespace {

constexpr std::uint32_t kOpenFlags = FOPEN_KEEP_CACHE | FOPEN_NOFLUSH | FOPEN_PARALLEL_DIRECT_WRITES;

// The kernel does not ask again: from then on it opens and closes by itself, and creates by MKNOD.
Status without_open(Exchange& exchange) {
  exchange.fail_with(ENOSYS);
  return {};
}

Status reply_created(Session& session, Exchange& exchange, const Attributes& made) {
  struct {
    fuse_entry_out entry;
    fuse_open_out open;
  } out{to_fuse_entry(made, session.options()), {.fh = 0, .open_flags = kOpenFlags, .padding = 0}};
  if (!exchange.reply(out)) session.file_system().give_back(made.inode);
  return {};
}

}  // namespace

Status on_tmpfile(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_create_in>());
  const RequestCaller caller(exchange.header(), in.umask);
  return reply_created(session, exchange, TRY(session.file_system().make_temporary(caller, exchange.inode(), in.mode)));
}

Status on_create(Session& session, Exchange& exchange) {
  if (!session.options().check_open) return without_open(exchange);
  const auto in = TRY(exchange.take<fuse_create_in>());
  const auto name = TRY(exchange.take_name());
  const RequestCaller caller(exchange.header(), in.umask);
  auto made = session.file_system().make_node(caller, exchange.inode(), name, {.mode = in.mode, .device = 0});
  return reply_created(session, exchange, TRY(made_once(session, exchange, exchange.inode(), name, std::move(made))));
}

Status on_open(Session& session, Exchange& exchange) {
  if (!session.options().check_open) return without_open(exchange);
  const auto in = TRY(exchange.take<fuse_open_in>());
  TRY(session.file_system().may_open(exchange.inode(), (in.flags & O_ACCMODE) != O_RDONLY, (in.flags & O_APPEND) != 0));
  exchange.reply(fuse_open_out{.fh = 0, .open_flags = kOpenFlags, .padding = 0});
  return {};
}

Status on_link(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_link_in>());
  const auto name = TRY(exchange.take_name());
  const InodeNo linked(in.oldnodeid);
  auto made = session.file_system().link(linked, exchange.inode(), name);
  return reply_entry(session, exchange,
                     TRY(made_once(session, exchange, exchange.inode(), name, std::move(made), linked)));
}

Status on_unlink(Session& session, Exchange& exchange) {
  const auto name = TRY(exchange.take_name());
  TRY(removed_once(exchange, session.file_system().unlink(RequestCaller(exchange.header()), exchange.inode(), name)));
  exchange.reply();
  return {};
}

Status on_rmdir(Session& session, Exchange& exchange) {
  const auto name = TRY(exchange.take_name());
  TRY(removed_once(exchange,
                   session.file_system().remove_directory(RequestCaller(exchange.header()), exchange.inode(), name)));
  exchange.reply();
  return {};
}

namespace {

Status rename(Session& session, Exchange& exchange, std::uint64_t to_parent, std::uint32_t flags) {
  const auto from = TRY(exchange.take_name());
  const auto to = TRY(exchange.take_name());
  return rename_once(session, exchange, InodeNo(to_parent), from, to, flags);
}

}  // namespace

Status on_rename(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_rename_in>());
  return rename(session, exchange, in.newdir, 0);
}

Status on_rename2(Session& session, Exchange& exchange) {
  const auto in = TRY(exchange.take<fuse_rename2_in>());
  return rename(session, exchange, in.newdir, in.flags);
}

Status on_readlink(Session& session, Exchange& exchange) {
  const std::string target = TRY(session.file_system().read_symlink(exchange.inode()));
  exchange.reply(std::as_bytes(std::span(target)));
  return {};
}

namespace {

// The kernel counts a reference for each entry of a READDIRPLUS answer but "." and "..".
bool counts_reference(const DirectoryEntry& entry) { return entry.attributes != nullptr && !is_dot_name(entry.name); }

Status read_directory(Session& session, Exchange& exchange, bool plus) {
  const auto in = TRY(exchange.take<fuse_read_in>());
  const std::size_t limit = std::min<std::size_t>(in.size, kMaxTransferBytes);
  Buffer buffer = session.buffers().take(limit);
  if (!buffer) return fail(Errc::kNoMemory);
  std::size_t used = 0;
  auto visit = [&](const DirectoryEntry& entry) {
    const std::size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    const std::size_t size = FUSE_REC_ALIGN(head + entry.name.size());
    if (used + size > limit) return false;
    std::byte* at = buffer.bytes().data() + used;
    std::memset(at + size - 8, 0, 8);  // the padding
    if (plus) {
      fuse_entry_out entry_out{};
      if (counts_reference(entry)) {
        entry_out = to_fuse_entry(*entry.attributes, session.options());
      } else {
        entry_out.attr.ino = entry.inode.value();
        entry_out.attr.mode = static_cast<std::uint32_t>(entry.type) << 12;
      }
      std::memcpy(at, &entry_out, sizeof entry_out);
      at += sizeof entry_out;
    }
    const fuse_dirent out{entry.inode.value(), entry.next_cookie, static_cast<std::uint32_t>(entry.name.size()),
                          entry.type};
    std::memcpy(at, &out, FUSE_NAME_OFFSET);
    std::memcpy(at + FUSE_NAME_OFFSET, entry.name.data(), entry.name.size());
    used += size;
    return true;
  };
  const Status read = session.file_system().read_directory(exchange.inode(), in.offset, plus, visit);
  // With some entries gathered the error can wait: it comes again at the next cookie.
  if (!read && used == 0) return read;
  const auto bytes = buffer.bytes().first(used);
  if (exchange.reply(bytes) || !plus) return {};
  for (std::size_t at = 0; at < used;) {
    fuse_direntplus entry;
    std::memcpy(&entry, bytes.data() + at, FUSE_NAME_OFFSET_DIRENTPLUS);
    if (entry.entry_out.nodeid != 0) session.file_system().give_back(InodeNo(entry.entry_out.nodeid));
    at += FUSE_REC_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + entry.dirent.namelen);
  }
  return {};
}

}  // namespace

Status on_readdir(Session& session, Exchange& exchange) { return read_directory(session, exchange, false); }
Status on_readdirplus(Session& session, Exchange& exchange) { return read_directory(session, exchange, true); }

}  // namespace weft::fs::fuse
