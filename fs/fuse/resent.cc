#include "fs/fuse/resent.h"

#include <algorithm>
#include <utility>

#include "fs/format.h"
#include "kernel/units.h"

namespace weft::fs::fuse {

Result<Attributes> made_once(Session& session, const Exchange& exchange, InodeNo parent, std::string_view name,
                             Result<Attributes> made, std::optional<InodeNo> linked) {
  if (made || !exchange.resent() || !(made.error() == Errc::kExists)) return made;
  FileSystem& file_system = session.file_system();
  auto entry = file_system.lookup(parent, name);
  if (entry && linked && entry->inode != *linked) {
    file_system.give_back(entry->inode);
    return made;
  }
  return entry;
}

Status removed_once(const Exchange& exchange, Status removed) {
  if (!removed && exchange.resent() && removed.error() == Errc::kNotFound) return {};
  return removed;
}

Result<std::size_t> appended_once(Session& session, const Exchange& exchange, std::uint64_t offset, std::size_t bytes,
                                  Error refusal) {
  if (!exchange.resent() || !(refusal == Errc::kNotPermitted)) return fail(std::move(refusal));
  const Attributes attributes = TRY(session.file_system().attributes(exchange.inode()));
  const bool append_only = (attributes.flags & (kInodeAppendOnly | kInodeImmutable)) == kInodeAppendOnly;
  if (!append_only || offset >= attributes.size_bytes) return fail(std::move(refusal));
  if (offset + bytes <= attributes.size_bytes) return bytes;
  // From the page that the end lies in on it may be written once more.
  return round_down(attributes.size_bytes, kBlockBytes) - offset;
}

namespace {

// 0: there is no such name.
Result<std::uint64_t> number_of(Session& session, InodeNo parent, std::string_view name) {
  const auto found = session.file_system().find(parent, name);
  if (found) return found->value();
  if (found.error() == Errc::kNotFound) return 0;
  return fail(found.error());
}

}  // namespace

Status rename_once(Session& session, Exchange& exchange, InodeNo to_parent, std::string_view from, std::string_view to,
                   std::uint32_t flags) {
  constexpr auto kToldByNote =
      static_cast<std::uint32_t>(RenameFlag::kExchange) | static_cast<std::uint32_t>(RenameFlag::kWhiteout);
  const auto rename = [&] {
    return session.file_system().rename(RequestCaller(exchange.header()), exchange.inode(), from, to_parent, to, flags);
  };
  if ((flags & kToldByNote) == 0 || !session.notes().wanted()) {
    TRY(removed_once(exchange, rename()));
    exchange.reply();
    return {};
  }
  const std::uint64_t from_now = TRY(number_of(session, exchange.inode(), from));
  const std::uint64_t to_now = TRY(number_of(session, to_parent, to));
  Notes::Note before = exchange.resent() ? session.notes().find(exchange.header().unique) : Notes::Note();
  const bool executed = before && to_now == before.first() && from_now != before.first();
  const Notes::Note note =
      before ? std::move(before) : session.notes().write(exchange.header().unique, from_now, to_now);
  if (!executed) TRY(rename());
  exchange.reply();
  return {};
}

Status change_xattr_once(Session& session, Exchange& exchange, std::string_view name, Errc done_already,
                         FunctionRef<Status()> change) {
  Notes::Note before = exchange.resent() ? session.notes().find(exchange.header().unique) : Notes::Note();
  const bool came_before = static_cast<bool>(before);
  const bool there = came_before ? before.first() != 0
                                 : session.notes().wanted() && session.file_system().get_xattr(exchange.inode(), name);
  const Notes::Note note = came_before ? std::move(before) : session.notes().write(exchange.header().unique, there, 0);
  Status changed = change();
  // Finding it as it would be left is an error where it was so before, and this request's work where it was not.
  const bool was_so = there == (done_already == Errc::kExists);
  if (!changed && !(came_before && changed.error() == done_already && !was_so)) return changed;
  exchange.reply();
  return {};
}

}  // namespace weft::fs::fuse
