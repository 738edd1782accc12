// fs/ops_rename.cc - FileSystem::rename: moves, replacements, exchanges, whiteouts, each in one transaction.
//
//   fs/fuse -> [ops_rename] -> directory, inode_table -> transaction
//
// Locks       the rename lock where two directories are concerned; contents of both and of a directory that is replaced, ascending;
//             change of all inodes concerned at commit. Which these are is only known after a look: so look, lock, look again.
// Tests       tests/fs/rename_test.cc
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "fs/directory.h"
#include "fs/file_system_core.h"
#include "kernel/planted_bug.h"

namespace weft::fs {
namespace {

constexpr int kMaxAttempts = 1000;  // a name that leads nowhere is damage, not a race

struct Flags {
  bool no_replace, exchange, whiteout;
};

Result<Flags> parse_flags(std::uint32_t bits) {
  constexpr auto has = [](std::uint32_t value, RenameFlag flag) {
    return (value & static_cast<std::uint32_t>(flag)) != 0;
  };
  const Flags flags{.no_replace = has(bits, RenameFlag::kNoReplace),
                    .exchange = has(bits, RenameFlag::kExchange),
                    .whiteout = has(bits, RenameFlag::kWhiteout)};
  if (bits > 7 || (flags.exchange && (flags.no_replace || flags.whiteout))) return fail(Errc::kInvalid);
  return flags;
}

// Contents of up to three directories, held exclusively, taken ascending by number.
class ContentGuard {
 public:
  ContentGuard(Inode* a, Inode* b, Inode* c) : held_{a, b, c} {
    std::sort(held_.begin(), held_.end(), [](Inode* x, Inode* y) { return number(x) < number(y); });
    for (std::size_t i = 0; i < held_.size(); ++i) {
      if (held_[i] == nullptr || (i > 0 && held_[i] == held_[i - 1])) continue;
      held_[i]->content.lock();
    }
  }
  ~ContentGuard() {
    for (std::size_t i = held_.size(); i-- > 0;) {
      if (held_[i] == nullptr || (i > 0 && held_[i] == held_[i - 1])) continue;
      held_[i]->content.unlock();
    }
  }
  ContentGuard(const ContentGuard&) = delete;
  ContentGuard& operator=(const ContentGuard&) = delete;

 private:
  static std::uint64_t number(Inode* inode) { return inode == nullptr ? 0 : inode->number().value(); }
  std::array<Inode*, 3> held_;
};

// Is `ancestor` above (or the same as) `directory`? With the rename lock held: no directory changes its parent.
Result<bool> is_above(FileSystemCore& fs, InodeNo ancestor, InodeNo directory) {
  // A forged volume's parents may lead round in a circle. Brent's way to see that: a mark, set anew at doubling distances, is met again.
  InodeNo mark = directory;
  for (std::uint64_t steps = 1;; ++steps) {
    if (directory == ancestor) return true;
    if (directory == kRootInode) return false;
    const InodeRef inode = TRY(fs.inodes.get(directory));
    const InodeNo up(inode->record().parent);
    if (up == InodeNo{} || up == directory) return false;
    directory = up;
    if (directory == mark) {
      Error error(Errc::kCorrupt,
                  "directory " + std::to_string(directory.value()) + " is its own ancestor; run fsck.weft");
      fs.volume->report_damage(error, false);
      return fail(std::move(error));
    }
    if (std::has_single_bit(steps)) mark = directory;
  }
}

struct Side {
  const InodeRef& directory;
  std::string_view name;
  NameSlot slot;
  InodeRef inode;  // null: there is no such name
};

// Everything Linux would refuse, in its order.
Status check(const Flags& flags, const Side& from, const Side& to) {
  constexpr std::uint32_t kFixed = kInodeImmutable | kInodeAppendOnly;
  const DiskInode source = from.inode->record();
  if (from.directory->record().links == 0 || to.directory->record().links == 0) return fail(Errc::kNotFound);
  if (to.inode && flags.no_replace) return fail(Errc::kExists);
  if (!to.inode && flags.exchange) return fail(Errc::kNotFound);
  TRY(refuse_flags(from.directory->record(), kFixed));
  TRY(refuse_flags(source, kFixed));
  TRY(refuse_flags(to.directory->record(), to.inode ? kFixed : kInodeImmutable));
  if (!to.inode) return {};
  const DiskInode target = to.inode->record();
  TRY(refuse_flags(target, kFixed));
  if (flags.exchange) return {};
  if (is_directory(source) && !is_directory(target)) return fail(Errc::kNotDirectory);
  if (!is_directory(source) && is_directory(target)) return fail(Errc::kIsDirectory);
  if (is_directory(target) && target.entry_count != 0) return fail(Errc::kNotEmpty);
  return {};
}

// No directory may come to lie beneath itself.
Status check_loops(FileSystemCore& fs, const Flags& flags, const Side& from, const Side& to) {
  if (is_directory(from.inode->record()) && TRY(is_above(fs, from.inode->number(), to.directory->number())))
    return fail(Errc::kInvalid);
  if (to.inode && is_directory(to.inode->record()) && TRY(is_above(fs, to.inode->number(), from.directory->number()))) {
    return fail(flags.exchange ? Errc::kInvalid : Errc::kNotEmpty);
  }
  return {};
}

DiskInode whiteout_record(FileSystemCore& fs, const Caller& caller) {
  DiskInode record{};
  record.mode = S_IFCHR;
  record.links = 1;
  record.uid = caller.uid;
  record.gid = caller.gid;
  record.generation = 1;
  record.version = 1;
  record.accessed = record.modified = record.changed = record.created = to_disk(fs.now());
  return record;
}

// A directory moves from one parent to another: its "..", and what both count as links.
Status reparent(DiskInode& moved, const Side& to, DiskInode& old_parent, DiskInode& new_parent) {
  if (new_parent.links >= kMaxLinks) return fail(Errc::kTooManyLinks);
  old_parent.links = old_parent.links - 1;
  new_parent.links = new_parent.links + 1;
  moved.parent = to.directory->number().value();
  return {};
}

Result<Lsn> commit(FileSystemCore& fs, const Caller& caller, const Flags& flags, const Side& from, const Side& to) {
  const bool across = from.directory.get() != to.directory.get();
  InodeRef made;  // outlives the guard of changes: to let go of an inode may take a transaction
  std::optional<InodeTable::Newborn> whiteout;
  if (flags.whiteout) whiteout.emplace(TRY(fs.inodes.add_new()));
  const DiskInode whiteout_inode = whiteout_record(fs, caller);
  Transaction transaction = TRY(fs.volume->begin(
      Intent::kRename, from.inode->number(),
      {.changes = flags.whiteout ? 9u : 7u, .value_bytes = 2048, .frees_space = static_cast<bool>(to.inode)}));
  ChangeGuard change{from.directory.get(), to.directory.get(), from.inode.get(), to.inode.get()};

  DiskInode old_parent = from.directory->record();
  DiskInode other_parent = to.directory->record();
  DiskInode& new_parent = across ? other_parent : old_parent;
  DiskInode moved = from.inode->record();
  DiskInode target = to.inode ? to.inode->record() : DiskInode{};
  const bool moved_is_dir = is_directory(moved);
  const bool target_is_dir = to.inode && is_directory(target);
  const Timespec now = fs.now();
  const std::uint64_t to_offset = to.slot.entry ? to.slot.entry->offset : to.slot.free_offset;
  const InodeNo old_number = from.directory->number();
  const InodeNo new_number = to.directory->number();

  if (flags.exchange) {
    // Counts of the two directories balance unless one moves and the other is no directory.
    if (across && moved_is_dir) {
      if (!target_is_dir) {
        TRY(reparent(moved, to, old_parent, new_parent));
      } else {
        moved.parent = new_number.value();
      }
    }
    if (across && target_is_dir) {
      if (!moved_is_dir) {
        TRY(reparent(target, from, new_parent, old_parent));
      } else {
        target.parent = old_number.value();
      }
    }
    place_name(transaction, old_number, from.slot.entry->offset, from.name, to.inode->number(),
               dirent_type(target.mode));
    mark_changed(target, now);
  } else {
    if (to.inode) {
      if (target_is_dir) new_parent.links = new_parent.links - 1;
      target.links = target_is_dir ? 0 : target.links - 1;
      mark_changed(target, now);
      if (target.links == 0) transaction.put(orphan_key(to.inode->number()), {});
      new_parent.entry_count = new_parent.entry_count - 1;
    }
    if (across && moved_is_dir) TRY(reparent(moved, to, old_parent, new_parent));
    new_parent.entry_count = new_parent.entry_count + 1;
    if (whiteout) {
      place_name(transaction, old_number, from.slot.entry->offset, from.name, (*whiteout)->number(),
                 dirent_type(S_IFCHR));
      put_inode(transaction, **whiteout, whiteout_inode);
    } else {
      drop_name(transaction, old_number, from.slot.entry->offset);
      old_parent.entry_count = old_parent.entry_count - 1;
    }
  }
  place_name(transaction, new_number, to_offset, to.name, from.inode->number(), dirent_type(moved.mode));
  mark_changed(moved, now);
  mark_modified(old_parent, now);
  if (across) mark_modified(new_parent, now);

  put_inode(transaction, *from.directory, old_parent);
  if (across) put_inode(transaction, *to.directory, new_parent);
  put_inode(transaction, *from.inode, moved);
  if (to.inode) put_inode(transaction, *to.inode, target);
  const Lsn lsn = TRY(fs.volume->commit(std::move(transaction)));
  from.directory->publish(old_parent, lsn, true);
  if (across) to.directory->publish(new_parent, lsn, true);
  from.inode->publish(moved, lsn, false);
  if (to.inode) to.inode->publish(target, lsn, false);
  if (whiteout) made = whiteout->ready(whiteout_inode, lsn);
  return lsn;
}

// What the name stands for; a null reference where there is none. `again`: it went away between the two looks.
Status find_side(FileSystemCore& fs, Side& side, bool& again) {
  side.slot = TRY(find_name(*fs.volume, fs.hash, side.directory->number(), side.name));
  if (!side.slot.entry) return {};
  auto got = fs.inodes.get(side.slot.entry->inode);
  again = !got && got.error() == Errc::kStale;
  if (!again) side.inode = TRY(std::move(got));
  return {};
}

bool same_entry(const NameSlot& a, const NameSlot& b) {
  return a.entry.has_value() == b.entry.has_value() &&
         (!a.entry || (a.entry->inode == b.entry->inode && a.entry->offset == b.entry->offset));
}

}  // namespace

Status FileSystem::rename(const Caller& caller, InodeNo from_parent, std::string_view from_name, InodeNo to_parent,
                          std::string_view to_name, std::uint32_t rename_flags) {
  FileSystemCore& fs = *parts_;
  if (planted(Bug::kRenameInTwo) && rename_flags == 0 && !lookup(to_parent, to_name)) {
    const auto moved = lookup(from_parent, from_name);
    if (moved && !S_ISDIR(moved->mode)) {
      TRY(link(moved->inode, to_parent, to_name));
      return unlink(caller, from_parent, from_name);
    }
  }
  const Flags flags = TRY(parse_flags(rename_flags));
  TRY(check_name(from_name));
  TRY(check_name(to_name));
  fs.reclaimer.wait_for_room();
  const InodeRef from_directory = TRY(fs.inodes.get(from_parent));
  const InodeRef to_directory = TRY(fs.inodes.get(to_parent));
  if (!is_directory(from_directory->record()) || !is_directory(to_directory->record()))
    return fail(Errc::kNotDirectory);
  const bool across = from_parent != to_parent;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    Side from{.directory = from_directory, .name = from_name, .slot = {}, .inode = {}};
    Side to{.directory = to_directory, .name = to_name, .slot = {}, .inode = {}};
    std::unique_lock renaming(fs.rename_lock, std::defer_lock);
    if (across) renaming.lock();
    bool again = false;
    TRY(find_side(fs, from, again));
    if (!again) TRY(find_side(fs, to, again));
    if (again) continue;
    if (!from.inode) return fail(Errc::kNotFound);

    Inode* const replaced = to.inode && is_directory(to.inode->record()) && !flags.exchange ? to.inode.get() : nullptr;
    if (across) TRY(check_loops(fs, flags, from, to));
    ContentGuard guard(from_directory.get(), to_directory.get(), replaced);
    const NameSlot from_now = TRY(find_name(*fs.volume, fs.hash, from_parent, from_name));
    NameSlot to_now = TRY(find_name(*fs.volume, fs.hash, to_parent, to_name));
    if (!same_entry(from_now, from.slot) || !same_entry(to_now, to.slot)) continue;
    to.slot = to_now;  // the free place may have moved
    TRY(check(flags, from, to));
    if (to.inode.get() == from.inode.get()) return {};  // two names of one file: POSIX wants both to stay
    const Lsn lsn = TRY(commit(fs, caller, flags, from, to));
    TRY(settle(fs, from_directory->record(), kInodeSync | kInodeDirSync, lsn));
    return settle(fs, to_directory->record(), kInodeSync | kInodeDirSync, lsn);
  }
  return fail(Errc::kCorrupt, "directory " + std::to_string(from_parent.value()) + " or " +
                                  std::to_string(to_parent.value()) +
                                  " names an inode that does not exist; run fsck.weft");
}

}  // namespace weft::fs
