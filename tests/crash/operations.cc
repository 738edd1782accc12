#include "tests/crash/operations.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <string>

#include "fs/format.h"
#include "kernel/random.h"
#include "kernel/units.h"

namespace weft::crash {
namespace {

using fs::AllocateMode;
using fs::AttributeChange;
using fs::FileSystem;
using fs::InodeNo;
using fs::kBlockBytes;
using fs::test::Answers;
using fs::test::code;
using fs::test::find;
using fs::test::TreeModel;
using fs::test::TwinName;
using Id = TreeModel::Id;
using Code = TreeModel::Code;

const fs::Caller kSomebody{};
const Answers kNowhere{Errc::kNotFound, Errc::kNotFound};
constexpr std::uint64_t kStepBytes = 1 << 20;  // of a write: fs/README.md "What is promised about details"

class Performance {
 public:
  Performance(Twins& twins, std::uint64_t ordinal)
      : twins_(twins), fs_(*twins.fs), model_(twins.model), ordinal_(ordinal) {}

  Done run(const Operation& operation) {
    done_.answers = both(operation);
    return std::move(done_);
  }

 private:
  Answers both(const Operation& operation) {
    const std::string& verb = operation[0];
    if (verb == "create") return make(operation, S_IFREG | 0644);
    if (verb == "fifo") return make(operation, S_IFIFO | 0600);
    if (verb == "device") return make(operation, S_IFCHR | 0600);
    if (verb == "mkdir") return make(operation, S_IFDIR | 0755);
    if (verb == "symlink") return make(operation, S_IFLNK | 0777);
    if (verb == "link") return link(operation);
    if (verb == "unlink" || verb == "orphan") return unlink(operation);
    if (verb == "rmdir") return remove_directory(operation);
    if (verb == "rename") return rename(operation);
    if (verb == "tmpfile") return temporary(operation, true);
    if (verb == "temporary") return temporary(operation, false);
    if (verb == "setxattr" || verb == "removexattr") return xattr(operation);
    if (verb == "copy") return copy(operation);
    return on_file(operation);
  }

  Answers make(const Operation& operation, std::uint32_t mode) {
    const auto at = name_at(operation[1]);
    if (!at) return kNowhere;
    const std::uint32_t device = S_ISCHR(mode) ? 0x105 : 0;
    const std::string target = S_ISLNK(mode) ? std::string(number_of(operation, 2), 't') : "";
    Id id = 0;
    const Answers answers = fs::test::make(fs_, model_, *at, {.mode = mode, .device = device}, target, id);
    if (!answers.model) {
      auto& node = model_.at(id).node;
      node.device = device;
      node.flags = inherited(model_.at(at->parent).node.flags, mode);
      touch(id, true);
      touch_names(at->parent);
    }
    return answers;
  }

  static std::uint32_t inherited(std::uint32_t flags, std::uint32_t mode) {
    std::uint32_t mask = fs::kInodeNoDump | fs::kInodeNoAtime;
    if (S_ISREG(mode) || S_ISDIR(mode)) mask |= fs::kInodeSync | fs::kInodeNoCow;
    if (S_ISDIR(mode)) mask |= fs::kInodeDirSync;
    return flags & mask;
  }

  Answers link(const Operation& operation) {
    const auto file = file_at(operation[1]);
    const auto at = name_at(operation[2]);
    if (!file || !at) return kNowhere;
    const Answers answers = fs::test::link(fs_, model_, file->id, file->inode, *at);
    if (!answers.model) touch(file->id, false), touch_names(at->parent);
    return answers;
  }

  // "orphan" goes on writing to what it holds open.
  Answers unlink(const Operation& operation) {
    const auto at = name_at(operation[1]);
    if (!at) return kNowhere;
    std::optional<InodeNo> held;
    if (operation[0] == "orphan") {
      if (const auto got = fs_.lookup(at->directory, at->name)) held = got->inode;
    }
    const auto id = find(model_, operation[1]);
    const Answers answers = fs::test::unlink(fs_, model_, *at);
    if (!answers.model) touch(*id, false), touch_names(at->parent);
    if (held) twins_.held.push_back(*held);
    // Unless it has other names, by which a write of its own would show.
    if (held && !answers.real && !model_.exists(*id))
      static_cast<void>(fs_.write(*held, 0, content(number_of(operation, 2)), false));
    return answers;
  }

  Answers remove_directory(const Operation& operation) {
    const auto at = name_at(operation[1]);
    if (!at) return kNowhere;
    const Answers answers = fs::test::remove_directory(fs_, model_, *at);
    if (!answers.model) touch_names(at->parent);
    return answers;
  }

  Answers rename(const Operation& operation) {
    const auto from = name_at(operation[1]);
    const auto to = name_at(operation[2]);
    if (!from || !to) return kNowhere;
    std::uint32_t flags = 0;
    if (operation.size() > 3) flags = operation[3] == "noreplace" ? 1 : operation[3] == "exchange" ? 2 : 4;
    const auto moved = find(model_, operation[1]);
    const auto target = find(model_, operation[2]);
    const Answers answers = fs::test::rename(fs_, model_, *from, *to, flags);
    if (!answers.model && moved != target) {
      touch(*moved, false);
      if (target) touch(*target, false);
      touch_names(from->parent), touch_names(to->parent);
    }
    return answers;
  }

  Answers temporary(const Operation& operation, bool named) {
    const auto at = named ? name_at(operation[1]) : std::nullopt;
    const auto inside = named ? std::nullopt : file_at(operation[1]);
    if (!at && !inside) return kNowhere;
    const auto made = fs_.make_temporary(kSomebody, named ? at->directory : inside->inode, 0640);
    if (!named && !S_ISDIR(model_.at(inside->id).node.mode)) return {code(made), Errc::kNotDirectory};
    if (!made) return {code(made), std::nullopt};
    twins_.held.push_back(made->inode);
    const auto bytes = content(number_of(operation, 2));
    const auto put = fs_.write(made->inode, 0, bytes, false);
    if (!put || *put < bytes.size()) return {Errc::kNoSpace, std::nullopt};
    if (!named) return {std::nullopt, std::nullopt};
    const auto got = fs_.link(made->inode, at->directory, at->name);
    if (got) fs_.forget(got->inode, 1);
    const Id id = model_.make_temporary(S_IFREG | 0640);
    model_.at(id).node.flags = inherited(model_.at(at->parent).node.flags, S_IFREG);
    static_cast<void>(model_.write(id, 0, text_of(bytes)));
    const Code expected = model_.link(id, at->parent, at->name);
    // Its data was written before it had a name: fdatasync promises no link.
    if (!expected) touch(id, false), touch_names(at->parent);
    return {code(got), expected};
  }

  Answers xattr(const Operation& operation) {
    const auto file = file_at(operation[1]);
    if (!file) return kNowhere;
    const auto [id, inode] = *file;
    auto& node = model_.at(id).node;
    const std::string& name = operation[2];
    done_.settles = (node.flags & fs::kInodeSync) != 0;
    touch(id, false);
    if (operation[0] == "removexattr") {
      const Code real = code(fs_.remove_xattr(kSomebody, inode, name));
      return {real, node.xattrs.erase(name) == 1 ? Code{} : Code{Errc::kNoData}};
    }
    const auto value = content(number_of(operation, 3));
    node.xattrs[name] = text_of(value);
    return {code(fs_.set_xattr(kSomebody, inode, name, value, FileSystem::XattrMode::kEither, false)), std::nullopt};
  }

  // On disk a prefix may be: steps of 1 MiB; whole blocks where space is short, or where parts of the file are reserved.
  void wrote(Id file, std::uint64_t offset, const std::string& bytes) {
    const TreeModel before = model_;
    const std::uint64_t end = offset + bytes.size();
    const bool fits = fs_.stats().available_blocks > 64 && !twins_.reserved.contains(file);
    const std::uint64_t step = fits || bytes.size() > 64 * kBlockBytes ? kStepBytes : kBlockBytes;
    for (std::uint64_t at = round_down(offset, kBlockBytes) + step; at < end; at += step) {
      done_.between.push_back(before);
      static_cast<void>(done_.between.back().write(file, offset, bytes.substr(0, at - offset)));
    }
    static_cast<void>(model_.write(file, offset, bytes));
    touch(file, true);
    done_.settles = (model_.at(file).node.flags & fs::kInodeSync) != 0;
  }

  Answers copy(const Operation& operation) {
    const auto source = file_at(operation[1]), target = file_at(operation[3]);
    if (!source || !target) return kNowhere;
    const Id from = source->id, to = target->id;
    const std::uint64_t from_offset = number_of(operation, 2), to_offset = number_of(operation, 4);
    const auto& kinds = {model_.at(from).node.mode, model_.at(to).node.mode};
    if (std::ranges::any_of(kinds, [](std::uint32_t mode) { return !S_ISREG(mode); })) return {};
    const auto got = fs_.copy_range(source->inode, from_offset, target->inode, to_offset, number_of(operation, 5));
    const std::uint64_t length = number_of(operation, 5);
    const bool overlap = from == to && from_offset < to_offset + length && to_offset < from_offset + length;
    if (!got) return {code(got), overlap ? Code{Errc::kInvalid} : Code{}};
    const std::string& content = model_.at(from).node.content;
    if (from_offset < content.size() && *got > 0) {
      const std::string bytes = content.substr(from_offset, *got);
      wrote(to, to_offset, bytes);
    }
    return {};
  }

  Answers on_file(const Operation& operation) {
    const std::string& verb = operation[0];
    const auto file = file_at(operation[1]);
    if (!file) return kNowhere;
    const auto [id, inode] = *file;
    auto& node = model_.at(id).node;
    if (verb == "chmod" || verb == "chown" || verb == "touch") return attributes(operation, id, inode);
    if (verb == "flags") return flags(operation, id, inode);
    if (!S_ISREG(node.mode)) return {};
    if (verb == "write" || verb == "append") {
      const bool append = verb == "append";
      const std::uint64_t offset = append ? node.content.size() : number_of(operation, 2);
      const auto bytes = content(number_of(operation, append ? 2 : 3));
      // As the page cache does it, so that the data comes after the commit; by `append` as direct writes do.
      const fs::WriteAccepted behind = [](std::size_t) {};
      const auto got = fs_.write(inode, append ? 0 : offset, bytes, false, append, append ? nullptr : behind);
      if (got) wrote(id, offset, text_of(bytes).substr(0, *got));
      return {code(got), std::nullopt};
    }
    done_.settles = (node.flags & fs::kInodeSync) != 0;
    touch(id, true);
    if (verb == "truncate") {
      const std::uint64_t size = number_of(operation, 2);
      AttributeChange change{.fields = AttributeChange::kSize, .size_bytes = size};
      if (operation.size() > 3) {  // with a mode, in one go
        change.fields |= AttributeChange::kMode;
        change.mode = static_cast<std::uint32_t>(std::stoul(operation[3], nullptr, 8));
        node.mode = S_IFREG | change.mode;
      }
      static_cast<void>(model_.truncate(id, size));
      return {code(fs_.set_attributes(kSomebody, inode, change)), std::nullopt};
    }
    return allocate(operation, id, inode);
  }

  Answers attributes(const Operation& operation, Id id, InodeNo inode) {
    auto& node = model_.at(id).node;
    AttributeChange change;
    done_.settles = (node.flags & fs::kInodeSync) != 0;
    touch(id, false);
    if (operation[0] == "chmod") {
      change.fields = AttributeChange::kMode;
      change.mode = static_cast<std::uint32_t>(std::stoul(operation[2], nullptr, 8));
      node.mode = (node.mode & S_IFMT) | change.mode;
    } else if (operation[0] == "chown") {
      change.fields = AttributeChange::kUid | AttributeChange::kGid;
      change.uid = change.gid = static_cast<std::uint32_t>(number_of(operation, 2));
      node.uid = change.uid, node.gid = change.gid;
    } else {
      change.fields = AttributeChange::kModified;
      change.modified = {.seconds = 7, .nanoseconds = 7};
    }
    return {code(fs_.set_attributes(kSomebody, inode, change)), std::nullopt};
  }

  Answers flags(const Operation& operation, Id id, InodeNo inode) {
    auto& node = model_.at(id).node;
    std::uint32_t flags = 0;
    for (std::size_t i = 2; i < operation.size(); ++i) {
      if (operation[i] == "sync") flags |= fs::kInodeSync;
      if (operation[i] == "dirsync") flags |= fs::kInodeDirSync;
      if (operation[i] == "nodump") flags |= fs::kInodeNoDump;
      if (operation[i] == "nocow") flags |= fs::kInodeNoCow;
    }
    const bool cow_changes = ((flags ^ node.flags) & fs::kInodeNoCow) != 0;
    Code expected;
    if (cow_changes && !S_ISDIR(node.mode) && (!S_ISREG(node.mode) || node.size_bytes != 0)) expected = Errc::kInvalid;
    const Code real = code(fs_.set_flags(kSomebody, inode, flags));
    if (!expected) node.flags = flags, touch(id, false);
    return {real, expected};
  }

  Answers allocate(const Operation& operation, Id id, InodeNo inode) {
    const std::string& verb = operation[0];
    const std::uint64_t offset = number_of(operation, 2), length = number_of(operation, 3), end = offset + length;
    const bool zeroes = verb == "punch" || verb == "zero" || verb == "zerokeep";
    const AllocateMode mode = verb == "reserve" ? AllocateMode::kReserve
                              : verb == "keep"  ? AllocateMode::kReserveKeepSize
                              : verb == "punch" ? AllocateMode::kPunchHole
                              : verb == "zero"  ? AllocateMode::kZeroRange
                                                : AllocateMode::kZeroRangeKeepSize;
    if (zeroes) {
      // Many extents go in several steps, from the front, whole blocks first.
      const std::uint64_t first = round_up(offset, kBlockBytes);
      const std::uint64_t last = std::min(round_down(end, kBlockBytes), model_.at(id).node.size_bytes);
      for (std::uint64_t at = first + kBlockBytes; at < last; at += kBlockBytes) {
        done_.between.push_back(model_);
        static_cast<void>(done_.between.back().punch(id, first, at - first));
      }
      static_cast<void>(model_.punch(id, offset, length));
      done_.between.push_back(model_);  // zeros, and not yet longer
    }
    const bool grows = mode == AllocateMode::kReserve || mode == AllocateMode::kZeroRange;
    if (verb != "punch") twins_.reserved.insert(id);
    if (grows) static_cast<void>(model_.truncate(id, std::max(model_.at(id).node.size_bytes, end)));
    return {code(fs_.allocate(inode, mode, offset, length)), std::nullopt};
  }

  struct File {
    Id id = 0;
    InodeNo inode;
  };
  std::optional<File> file_at(const std::string& path) {
    const auto id = find(model_, path);
    const auto inode = find(fs_, path);
    if (!id || !inode) return std::nullopt;
    return File{*id, *inode};
  }
  std::optional<TwinName> name_at(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    const auto parent = file_at(slash == std::string::npos ? "" : path.substr(0, slash));
    if (!parent || !S_ISDIR(model_.at(parent->id).node.mode)) return std::nullopt;
    return TwinName{.parent = parent->id, .directory = parent->inode, .name = path.substr(slash + 1)};
  }
  static std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // Bytes that no other operation writes.
  [[nodiscard]] std::vector<std::byte> content(std::uint64_t length) const {
    std::vector<std::byte> bytes(length);
    Random(1000 + ordinal_).fill(bytes);
    return bytes;
  }
  void touch(Id id, bool data) { done_.touched.emplace_back(id, data); }
  void touch_names(Id directory) {
    touch(directory, true);
    if ((model_.at(directory).node.flags & (fs::kInodeSync | fs::kInodeDirSync)) != 0) done_.settles = true;
  }

  Twins& twins_;
  FileSystem& fs_;
  TreeModel& model_;
  const std::uint64_t ordinal_;
  Done done_;
};

}  // namespace

Done perform(Twins& twins, const Operation& operation, std::uint64_t ordinal) {
  return Performance(twins, ordinal).run(operation);
}

}  // namespace weft::crash
