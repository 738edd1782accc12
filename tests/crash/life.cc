#include "tests/crash/life.h"

#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "fs/file_system.h"
#include "fs/format.h"
#include "fs/superblock.h"
#include "kernel/check.h"
#include "kernel/crash_states.h"
#include "kernel/memory_disk.h"
#include "kernel/random.h"
#include "kernel/units.h"
#include "tests/crash/oracle.h"
#include "tests/support/tree_snapshot.h"

namespace weft::crash {
namespace {

using fs::AllocateMode;
using fs::AttributeChange;
using fs::FileSystem;
using fs::InodeNo;
using fs::kBlockBytes;
using fs::test::TreeModel;
using Id = TreeModel::Id;
using Code = TreeModel::Code;

const fs::Caller kSomebody{};
constexpr std::uint64_t kStepBytes = 1 << 20;  // of a write: fs/README.md "What is promised about details"

// Between the file system and what records it: sees where the log has come to, and lets something happen in the middle of a
// checkpoint.
class Gate final : public BlockDevice {
 public:
  explicit Gate(BlockDevice& under, const fs::Layout& layout) : under_(under), layout_(layout) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return under_.geometry(); }
  [[nodiscard]] std::string name() const override { return under_.name(); }
  Status run(std::span<const BlockIo> requests) override {
    bool writes = false;
    for (const BlockIo& io : requests) {
      const std::uint64_t log = layout_.log_offset_bytes();
      writes = writes || io.op == BlockOp::kWrite;
      if (io.op == BlockOp::kWrite && io.offset_bytes >= log && io.offset_bytes < log + layout_.log_bytes())
        log_end = io.offset_bytes + io.length_bytes - log, log_written += io.length_bytes;
    }
    // Not at a flush, which excludes others. On a thread of its own: who waits for the device may hold locks that come after
    // those it takes.
    if (writes && !inside_ && before_write) {
      inside_ = true;
      std::thread([&] { before_write(); }).join();
      inside_ = false;
    }
    return under_.run(requests);
  }

  std::function<void()> before_write;
  std::uint64_t log_end = 0;      // bytes from its start
  std::uint64_t log_written = 0;  // bytes since the checkpoint that began the log

 private:
  BlockDevice& under_;
  const fs::Layout& layout_;
  bool inside_ = false;
};

struct Start {
  DiskImage image;
  TreeModel model;
};

class Player {
 public:
  Player(Start start, DiskBug bug)
      : model_(std::move(start.model)), memory_(std::make_unique<MemoryDisk>(std::move(start.image))), bug_(bug) {
    layout_ = fs::Layout(fs::find_superblock(*memory_).value().superblock);
    mount();
  }

  Life live(const std::vector<Operation>& operations) {
    begin();
    play(operations);
    hold_.clear();
    fs_.reset();
    life_.recording = recorder_->finish();
    return std::move(life_);
  }

  // What the next workload may begin on.
  Start unmounted(const std::vector<Operation>& operations) {
    begin();
    play(operations);
    WEFT_CHECK(life_.wrong.empty());
    WEFT_CHECK(fs_->unmount().has_value());
    fs_.reset();
    return {memory_->copy(), model_};
  }

 private:
  // ---------------------------------------------------------------------------------------------- the course of things

  void mount() {
    fs_.reset();
    recorder_ = std::make_unique<RecordingDisk>(*memory_, memory_->copy());
    liar_ = std::make_unique<LyingDisk>(*recorder_, bug_, layout_);
    gate_ = std::make_unique<Gate>(*liar_, layout_);
    auto mounted = FileSystem::mount(*gate_, mount_options());
    if (!mounted) {
      life_.wrong = "does not mount: " + mounted.error().message();
      return;
    }
    fs_ = std::move(*mounted);
  }

  // From here on everything is recorded, and whatever was before is durable.
  void begin() {
    if (!fs_) return;
    static_cast<void>(fs_->sync());
    static_cast<void>(recorder_->flush());
    static_cast<void>(recorder_->finish());
    life_.history.clear();
    life_.trees.clear();
    models_.clear();
    touched_.clear();
    remember();
    if (bug_ != DiskBug::kNone) liar_->begin_to_lie();
  }

  void remember() {
    life_.trees.push_back(describe(model_.snapshot()));
    life_.history.push_back(hash_of(life_.trees.back()));
    models_.push_back(model_);
  }

  [[nodiscard]] std::uint64_t now() const { return life_.history.size() - 1; }

  void play(std::span<const Operation> operations) {
    for (std::size_t i = 0; i < operations.size() && life_.wrong.empty() && fs_; ++i) {
      const Operation& operation = operations[i];
      ++ordinal_;
      if (operation[0] == "during") {
        if (!inside_checkpoint_) return during(number(operation, 1), operations.subspan(i + 1));
      } else {
        play_one(operation);
      }
    }
  }

  // The rest happens while a checkpoint is under way: before its n-th batch of writes: 0 its nodes, 1 the superblock, 2
  // the copy of that.
  void during(std::uint64_t batch, std::span<const Operation> rest) {
    bool played = false;
    const auto go = [&] {
      played = inside_checkpoint_ = true;
      play(rest);
      inside_checkpoint_ = false;
    };
    gate_->before_write = [&] {
      if (!played && batch-- == 0) go();
    };
    static_cast<void>(fs_->volume().checkpoint());
    gate_->before_write = nullptr;
    if (!played) play(rest);
  }

  void play_one(const Operation& operation) {
    const std::string& verb = operation[0];
    if (verb == "fsync" || verb == "fdatasync") return sync_one(operation);
    if (verb == "syncfs") {
      expect(code(fs_->sync()), Code{}, operation);
      return acknowledge(now());
    }
    if (verb == "checkpoint") {
      if (!inside_checkpoint_) expect(code(fs_->volume().checkpoint()), Code{}, operation);
      return;
    }
    if (verb == "advance") return inside_checkpoint_ ? void() : advance(number(operation, 1));
    if (verb == "brim") return inside_checkpoint_ ? void() : brim(number(operation, 1));
    if (verb == "fill") return fill(number(operation, 1));
    if (verb == "crash") return inside_checkpoint_ ? void() : crash(number(operation, 1));
    change(operation);
  }

  void sync_one(const Operation& operation) {
    const auto id = find(operation[1]);
    const auto inode = look_up(operation[1]);
    if (!id || !inode) return expect(inode ? Code{} : Code{Errc::kNotFound}, id ? Code{} : Errc::kNotFound, operation);
    const bool data_only = operation[0] == "fdatasync";
    expect(code(fs_->fsync(*inode, data_only)), Code{}, operation);
    const auto last = touched_.find(*id);
    if (last != touched_.end()) acknowledge(data_only ? last->second.data : last->second.any);
  }

  void acknowledge(std::uint64_t state) { recorder_->mark(state); }

  // What changes the tree: done to both, compared, remembered.
  void change(const Operation& operation) {
    const TreeModel before = model_;
    const fs::Lsn first = fs_->volume().committed();
    between_.clear();
    touching_.clear();
    settles_ = false;
    const auto [real, expected] = both(operation);
    const bool refused = real == Errc::kNoSpace && !expected;
    if (refused) {
      model_ = before;
    } else {
      expect(real, expected, operation);
      if (!life_.wrong.empty()) return;
    }
    if (!expected && fs_->volume().committed().value() > first.value() + (refused ? 0 : 1)) {
      const TreeModel after = std::exchange(model_, before);
      for (const TreeModel& state : between_) {
        model_ = state;
        remember();
      }
      model_ = refused ? what_is_left(before) : after;
    }
    remember();
    if (real) return;
    // What was so already is no change: fallocate() of blocks that are there.
    const std::size_t states = life_.history.size();
    const bool same = life_.history[states - 1] == life_.history[states - 2];
    if (same && fs_->volume().committed() == first) return;
    for (const auto& [id, data] : touching_) {
      Touched& last = touched_[id];
      last.any = now();
      if (data) last.data = now();
    }
    if (settles_) acknowledge(now());
  }

  // An operation of several transactions ran out of space after some of them.
  TreeModel what_is_left(const TreeModel& before) {
    const auto tree = fs::test::take_snapshot(*fs_);
    const std::string live = tree ? describe(*tree) : "";
    for (const TreeModel& state : between_) {
      if (describe(state.snapshot()) == live) return state;
    }
    return before;
  }

  void expect(Code real, Code expected, const Operation& operation) {
    if (real == expected || !life_.wrong.empty()) return;
    life_.wrong = "operation " + std::to_string(ordinal_) + " '" + operation[0] + "' answered " + name_of(real) +
                  ", the model " + name_of(expected);
  }
  static std::string name_of(Code code) { return code ? "'" + Error(*code).message() + "'" : "success"; }

  // ------------------------------------------------------------------------------------------- states of the disk, not of the tree

  // The log to `left` bytes before its end, most of it free again, so that the next records go round it.
  void advance(std::uint64_t left) {
    const std::uint64_t end = layout_.log_bytes() - left;
    while (gate_->log_end + 16 * kKiB < end && log_something(12 * kKiB)) static_cast<void>(fs_->volume().checkpoint());
    for (int i = 0; i < 40 && gate_->log_end + kKiB < end; ++i) static_cast<void>(log_something(1));
    static_cast<void>(fs_->remove_xattr(kSomebody, fs::kRootInode, "user.fill"));
    static_cast<void>(fs_->volume().checkpoint());
    begin();
  }

  // The log so full that what needs more than about `left` bytes of it has to wait for a checkpoint, which begin() takes.
  void brim(std::uint64_t left) {
    const std::uint64_t spare =
        layout_.log_bytes() / 8 + 512;  // never given out: one transaction may not fit before the end
    const std::uint64_t full = layout_.log_bytes() - spare - left;
    while (gate_->log_written + 16 * kKiB < full && log_something(12 * kKiB)) {}
    static_cast<void>(fs_->remove_xattr(kSomebody, fs::kRootInode, "user.fill"));
    for (int i = 0; i < 40 && gate_->log_written + kKiB < full; ++i) {
      AttributeChange change{.fields = AttributeChange::kMode, .mode = 0755};
      static_cast<void>(fs_->set_attributes(kSomebody, fs::kRootInode, change));
      static_cast<void>(fs_->sync());
    }
    begin();
  }

  bool log_something(std::size_t bytes) {
    const std::uint64_t before = gate_->log_written;
    static_cast<void>(fs_->set_xattr(kSomebody, fs::kRootInode, "user.fill", std::vector<std::byte>(bytes),
                                     FileSystem::XattrMode::kEither, false));
    return fs_->sync().has_value() && gate_->log_written != before;
  }

  // All space but `left` blocks goes to a file, reserved and never written, so that nobody has to read it.
  void fill(std::uint64_t left) {
    const auto made = fs_->make_node(kSomebody, fs::kRootInode, "F", {.mode = S_IFREG | 0600});
    WEFT_CHECK(made.has_value());
    Id id = 0;
    static_cast<void>(model_.make(TreeModel::kRoot, "F", S_IFREG | 0600, "", id));
    std::uint64_t at = 0;
    for (std::uint64_t blocks = 512; blocks != 0;) {
      if (fs_->allocate(made->inode, AllocateMode::kReserveKeepSize, at * kBlockBytes, blocks * kBlockBytes)) {
        at += blocks;
      } else {
        blocks /= 2;
      }
    }
    static_cast<void>(
        fs_->allocate(made->inode, AllocateMode::kPunchHole, (at - left) * kBlockBytes, left * kBlockBytes));
    fs_->forget(made->inode, 1);
    for (int i = 0; i < 2; ++i) static_cast<void>(fs_->volume().checkpoint());
    begin();
  }

  // The power goes, in the n-th of the ways in which it can; life goes on with what is found.
  void crash(std::uint64_t n) {
    hold_.clear();
    fs_.reset();
    const Recording recording = recorder_->finish();
    std::vector<DiskImage> kept;
    const auto count = [&](std::uint64_t wanted) {
      std::uint64_t at = 0;
      for_each_crash_state(recording, {.exhaustive_up_to = 4, .samples = 4}, [&](const CrashState& state) {
        if (at++ == wanted) kept.push_back(state.content);
        return kept.empty();
      });
      return at;
    };
    if (const std::uint64_t states = count(n); kept.empty()) count(n % states);
    memory_ = std::make_unique<MemoryDisk>(kept.front());
    mount();
    if (!fs_) return;
    const auto tree = fs::test::take_snapshot(*fs_);
    const std::uint64_t found = tree ? hash_of(describe(*tree)) : 0;
    for (std::size_t i = life_.history.size(); i-- > 0;) {
      if (life_.history[i] != found) continue;
      model_ = models_[i];
      return begin();
    }
    life_.wrong = "after 'crash' the tree is none that was";
  }

  // -------------------------------------------------------------------------------------------------------- operations

  struct Answers {
    Code real;
    Code model;
  };

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

  struct Place {
    Id parent = 0;
    InodeNo directory;
    std::string name;
  };

  Answers make(const Operation& operation, std::uint32_t mode) {
    const auto at = place(operation[1]);
    if (!at) return {Errc::kNotFound, Errc::kNotFound};
    const std::uint32_t device = S_ISCHR(mode) ? 0x105 : 0;
    const std::string target = S_ISLNK(mode) ? std::string(number(operation, 2), 't') : "";
    const auto made = S_ISDIR(mode) ? fs_->make_directory(kSomebody, at->directory, at->name, mode & 07777)
                      : S_ISLNK(mode)
                          ? fs_->make_symlink(kSomebody, at->directory, at->name, target)
                          : fs_->make_node(kSomebody, at->directory, at->name, {.mode = mode, .device = device});
    if (made) fs_->forget(made->inode, 1);
    Id id = 0;
    const Code expected = target.size() > fs::kMaxSymlinkBytes ? Code{Errc::kNameTooLong}
                                                               : model_.make(at->parent, at->name, mode, target, id);
    if (!expected) {
      auto& node = model_.at(id).node;
      node.device = device;
      node.flags = inherited(model_.at(at->parent).node.flags, mode);
      touch(id, true);
      touch_names(at->parent);
    }
    return {code(made), expected};
  }

  static std::uint32_t inherited(std::uint32_t flags, std::uint32_t mode) {
    std::uint32_t mask = fs::kInodeNoDump | fs::kInodeNoAtime;
    if (S_ISREG(mode) || S_ISDIR(mode)) mask |= fs::kInodeSync | fs::kInodeNoCow;
    if (S_ISDIR(mode)) mask |= fs::kInodeDirSync;
    return flags & mask;
  }

  Answers link(const Operation& operation) {
    const auto id = find(operation[1]);
    const auto inode = look_up(operation[1]);
    const auto at = place(operation[2]);
    if (!id || !inode || !at) return {Errc::kNotFound, Errc::kNotFound};
    const auto got = fs_->link(*inode, at->directory, at->name);
    if (got) fs_->forget(got->inode, 1);
    const Code expected = model_.link(*id, at->parent, at->name);
    if (!expected) touch(*id, false), touch_names(at->parent);
    return {code(got), expected};
  }

  // "orphan" goes on writing to what it holds open.
  Answers unlink(const Operation& operation) {
    const auto at = place(operation[1]);
    if (!at) return {Errc::kNotFound, Errc::kNotFound};
    std::optional<InodeNo> held;
    if (operation[0] == "orphan") {
      if (const auto got = fs_->lookup(at->directory, at->name)) held = got->inode;
    }
    const auto id = find(operation[1]);
    const Code real = code(fs_->unlink(kSomebody, at->directory, at->name));
    const Code expected = model_.unlink(at->parent, at->name);
    if (!expected) touch(*id, false), touch_names(at->parent);
    if (held) hold_.push_back(*held);
    // Unless it has other names, by which a write of its own would show.
    if (held && !real && !model_.exists(*id))
      static_cast<void>(fs_->write(*held, 0, content(number(operation, 2)), false));
    return {real, expected};
  }

  Answers remove_directory(const Operation& operation) {
    const auto at = place(operation[1]);
    if (!at) return {Errc::kNotFound, Errc::kNotFound};
    const Code real = code(fs_->remove_directory(kSomebody, at->directory, at->name));
    const Code expected = model_.remove_directory(at->parent, at->name);
    if (!expected) touch_names(at->parent);
    return {real, expected};
  }

  Answers rename(const Operation& operation) {
    const auto from = place(operation[1]);
    const auto to = place(operation[2]);
    if (!from || !to) return {Errc::kNotFound, Errc::kNotFound};
    std::uint32_t flags = 0;
    if (operation.size() > 3) flags = operation[3] == "noreplace" ? 1 : operation[3] == "exchange" ? 2 : 4;
    const auto moved = find(operation[1]);
    const auto target = find(operation[2]);
    const Code real = code(fs_->rename(kSomebody, from->directory, from->name, to->directory, to->name, flags));
    const Code expected = model_.rename(from->parent, from->name, to->parent, to->name, flags);
    if (!expected && moved != target) {
      touch(*moved, false);
      if (target) touch(*target, false);
      touch_names(from->parent), touch_names(to->parent);
    }
    return {real, expected};
  }

  Answers temporary(const Operation& operation, bool named) {
    const auto at = named ? place(operation[1]) : std::nullopt;
    const auto directory = named ? (at ? std::optional(at->directory) : std::nullopt) : look_up(operation[1]);
    if (!directory) return {Errc::kNotFound, Errc::kNotFound};
    const auto made = fs_->make_temporary(kSomebody, *directory, 0640);
    if (!named && !S_ISDIR(model_.at(*find(operation[1])).node.mode)) return {code(made), Errc::kNotDirectory};
    if (!made) return {code(made), std::nullopt};
    hold_.push_back(made->inode);
    const auto bytes = content(number(operation, 2));
    const auto put = fs_->write(made->inode, 0, bytes, false);
    if (!put || *put < bytes.size()) return {Errc::kNoSpace, std::nullopt};
    if (!named) return {std::nullopt, std::nullopt};
    const auto got = fs_->link(made->inode, at->directory, at->name);
    if (got) fs_->forget(got->inode, 1);
    const Id id = model_.make_temporary(S_IFREG | 0640);
    model_.at(id).node.flags = inherited(model_.at(at->parent).node.flags, S_IFREG);
    static_cast<void>(model_.write(id, 0, text_of(bytes)));
    const Code expected = model_.link(id, at->parent, at->name);
    // Its data was written before it had a name: fdatasync promises no link.
    if (!expected) touch(id, false), touch_names(at->parent);
    return {code(got), expected};
  }

  Answers xattr(const Operation& operation) {
    const auto id = find(operation[1]);
    const auto inode = look_up(operation[1]);
    if (!id || !inode) return {Errc::kNotFound, Errc::kNotFound};
    auto& node = model_.at(*id).node;
    const std::string& name = operation[2];
    settles_ = (node.flags & fs::kInodeSync) != 0;
    touch(*id, false);
    if (operation[0] == "removexattr") {
      const Code real = code(fs_->remove_xattr(kSomebody, *inode, name));
      return {real, node.xattrs.erase(name) == 1 ? Code{} : Code{Errc::kNoData}};
    }
    const auto value = content(number(operation, 3));
    node.xattrs[name] = text_of(value);
    return {code(fs_->set_xattr(kSomebody, *inode, name, value, FileSystem::XattrMode::kEither, false)), std::nullopt};
  }

  // On disk a prefix may be: steps of 1 MiB; whole blocks where space is short, or where parts of the file are reserved.
  void wrote(Id file, std::uint64_t offset, const std::string& bytes) {
    const TreeModel before = model_;
    const std::uint64_t end = offset + bytes.size();
    const bool fits = fs_->stats().available_blocks > 64 && !reserved_.contains(file);
    const std::uint64_t step = fits || bytes.size() > 64 * kBlockBytes ? kStepBytes : kBlockBytes;
    for (std::uint64_t at = round_down(offset, kBlockBytes) + step; at < end; at += step) {
      between_.push_back(before);
      static_cast<void>(between_.back().write(file, offset, bytes.substr(0, at - offset)));
    }
    static_cast<void>(model_.write(file, offset, bytes));
    touch(file, true);
    settles_ = (model_.at(file).node.flags & fs::kInodeSync) != 0;
  }

  Answers copy(const Operation& operation) {
    const auto from = find(operation[1]), to = find(operation[3]);
    const auto source = look_up(operation[1]), target = look_up(operation[3]);
    if (!from || !to || !source || !target) return {Errc::kNotFound, Errc::kNotFound};
    const std::uint64_t from_offset = number(operation, 2), to_offset = number(operation, 4);
    const auto& kinds = {model_.at(*from).node.mode, model_.at(*to).node.mode};
    if (std::ranges::any_of(kinds, [](std::uint32_t mode) { return !S_ISREG(mode); })) return {};
    const auto got = fs_->copy_range(*source, from_offset, *target, to_offset, number(operation, 5));
    const std::uint64_t length = number(operation, 5);
    const bool overlap = from == to && from_offset < to_offset + length && to_offset < from_offset + length;
    if (!got) return {code(got), overlap ? Code{Errc::kInvalid} : Code{}};
    const std::string& content = model_.at(*from).node.content;
    if (from_offset < content.size() && *got > 0) {
      const std::string bytes = content.substr(from_offset, *got);
      wrote(*to, to_offset, bytes);
    }
    return {};
  }

  Answers on_file(const Operation& operation) {
    const std::string& verb = operation[0];
    const auto id = find(operation[1]);
    const auto inode = look_up(operation[1]);
    if (!id || !inode) return {Errc::kNotFound, Errc::kNotFound};
    auto& node = model_.at(*id).node;
    if (verb == "chmod" || verb == "chown" || verb == "touch") return attributes(operation, *id, *inode);
    if (verb == "flags") return flags(operation, *id, *inode);
    if (!S_ISREG(node.mode)) return {};
    if (verb == "write" || verb == "append") {
      const bool append = verb == "append";
      const std::uint64_t offset = append ? node.content.size() : number(operation, 2);
      const auto bytes = content(number(operation, append ? 2 : 3));
      // As the page cache does it, so that the data comes after the commit; by `append` as direct writes do.
      const fs::WriteAccepted behind = [](std::size_t) {};
      const auto got = fs_->write(*inode, append ? 0 : offset, bytes, false, append, append ? nullptr : behind);
      if (got) wrote(*id, offset, text_of(bytes).substr(0, *got));
      return {code(got), std::nullopt};
    }
    settles_ = (node.flags & fs::kInodeSync) != 0;
    touch(*id, true);
    if (verb == "truncate") {
      const std::uint64_t size = number(operation, 2);
      AttributeChange change{.fields = AttributeChange::kSize, .size_bytes = size};
      if (operation.size() > 3) {  // with a mode, in one go
        change.fields |= AttributeChange::kMode;
        change.mode = static_cast<std::uint32_t>(std::stoul(operation[3], nullptr, 8));
        node.mode = S_IFREG | change.mode;
      }
      static_cast<void>(model_.truncate(*id, size));
      return {code(fs_->set_attributes(kSomebody, *inode, change)), std::nullopt};
    }
    return allocate(operation, *id, *inode);
  }

  Answers attributes(const Operation& operation, Id id, InodeNo inode) {
    auto& node = model_.at(id).node;
    AttributeChange change;
    settles_ = (node.flags & fs::kInodeSync) != 0;
    touch(id, false);
    if (operation[0] == "chmod") {
      change.fields = AttributeChange::kMode;
      change.mode = static_cast<std::uint32_t>(std::stoul(operation[2], nullptr, 8));
      node.mode = (node.mode & S_IFMT) | change.mode;
    } else if (operation[0] == "chown") {
      change.fields = AttributeChange::kUid | AttributeChange::kGid;
      change.uid = change.gid = static_cast<std::uint32_t>(number(operation, 2));
      node.uid = change.uid, node.gid = change.gid;
    } else {
      change.fields = AttributeChange::kModified;
      change.modified = {.seconds = 7, .nanoseconds = 7};
    }
    return {code(fs_->set_attributes(kSomebody, inode, change)), std::nullopt};
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
    const Code real = code(fs_->set_flags(kSomebody, inode, flags));
    if (!expected) node.flags = flags, touch(id, false);
    return {real, expected};
  }

  Answers allocate(const Operation& operation, Id id, InodeNo inode) {
    const std::string& verb = operation[0];
    const std::uint64_t offset = number(operation, 2), length = number(operation, 3), end = offset + length;
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
        between_.push_back(model_);
        static_cast<void>(between_.back().punch(id, first, at - first));
      }
      static_cast<void>(model_.punch(id, offset, length));
      between_.push_back(model_);  // zeros, and not yet longer
    }
    const bool grows = mode == AllocateMode::kReserve || mode == AllocateMode::kZeroRange;
    if (verb != "punch") reserved_.insert(id);
    if (grows) static_cast<void>(model_.truncate(id, std::max(model_.at(id).node.size_bytes, end)));
    return {code(fs_->allocate(inode, mode, offset, length)), std::nullopt};
  }

  // ------------------------------------------------------------------------------------------------------------- names

  [[nodiscard]] std::optional<Id> find(const std::string& path) const {
    Id at = TreeModel::kRoot;
    for (const std::string& name : split(path, '/')) {
      const auto next = model_.find(at, name);
      if (!next) return std::nullopt;
      at = *next;
    }
    return at;
  }
  std::optional<InodeNo> look_up(const std::string& path) {
    InodeNo at = fs::kRootInode;
    for (const std::string& name : split(path, '/')) {
      const auto got = fs_->lookup(at, name);
      if (!got) return std::nullopt;
      fs_->forget(got->inode, 1);
      at = got->inode;
    }
    return at;
  }
  std::optional<Place> place(const std::string& path) {
    const std::size_t slash = path.find_last_of('/');
    const std::string parent = slash == std::string::npos ? "" : path.substr(0, slash);
    const auto id = find(parent);
    const auto inode = look_up(parent);
    if (!id || !inode || !S_ISDIR(model_.at(*id).node.mode)) return std::nullopt;
    return Place{.parent = *id, .directory = *inode, .name = path.substr(slash == std::string::npos ? 0 : slash + 1)};
  }
  static std::uint64_t number(const Operation& operation, std::size_t word) {
    return word < operation.size() ? std::strtoull(operation[word].c_str(), nullptr, 10) : 0;
  }
  template <typename T>
  static Code code(const Result<T>& result) {
    if (result) return std::nullopt;
    return result.error().code();
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
  void touch(Id id, bool data) { touching_.emplace_back(id, data); }
  void touch_names(Id directory) {
    touch(directory, true);
    if ((model_.at(directory).node.flags & (fs::kInodeSync | fs::kInodeDirSync)) != 0) settles_ = true;
  }

  struct Touched {
    std::uint64_t any = 0;
    std::uint64_t data = 0;
  };

  TreeModel model_;
  std::unique_ptr<MemoryDisk> memory_;
  const DiskBug bug_;
  fs::Layout layout_;
  std::unique_ptr<RecordingDisk> recorder_;
  std::unique_ptr<LyingDisk> liar_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<FileSystem> fs_;
  Life life_;
  std::vector<TreeModel> models_;  // of the history
  std::set<Id> reserved_;          // files of which some blocks are reserved, and unwritten
  std::map<Id, Touched> touched_;  // the state with the last change of each
  std::vector<InodeNo> hold_;      // open to the end
  std::uint64_t ordinal_ = 0;      // of the operation
  bool inside_checkpoint_ = false;
  // Of the operation under way:
  std::vector<TreeModel> between_;
  std::vector<std::pair<Id, bool>> touching_;
  bool settles_ = false;
};

std::vector<Operation> operations_of(std::string_view text) {
  std::vector<Operation> operations;
  for (const std::string& one : split(text, ';')) operations.push_back(parse_operation(one));
  return operations;
}

constexpr std::string_view kTree =
    "mkdir A; mkdir B; mkdir A/e; create A/x; write A/x 0 9000; create A/y; write A/y 0 100; create B/z; "
    "write B/z 0 8192; symlink A/s 20; setxattr A/x user.a 50";

Start make_start(std::string_view name) {
  MemoryDisk disk(name == "plain" || name == "large" ? 8 * kMiB : fs::kMinVolumeBytes);
  SeededEntropy entropy(1);
  fs::MakeVolumeOptions options;
  options.label = "crash";
  options.uuid.bytes[0] = 1;
  options.clock = &stopped_clock();
  options.entropy = &entropy;
  WEFT_CHECK(fs::make_volume(disk, options, 0, 0).has_value());
  std::vector<Operation> operations = operations_of(kTree);
  const auto add = [&](std::string_view text) {
    for (Operation& one : operations_of(text)) operations.push_back(std::move(one));
  };
  if (name == "large") add("create A/b; write A/b 0 1300000");
  if (name == "many" || name == "large") {
    add("create A/m");
    for (int i = 0; i < 30; ++i) add("write A/m " + std::to_string(i * 8192) + " 4096");
  }
  if (name == "full") add("fill 12");
  return Player({disk.copy(), TreeModel()}, DiskBug::kNone).unmounted(operations);
}

const Start& start_of(const std::string& name) {
  // A bug in the code may show in what it makes.
  static std::map<std::pair<std::string, const PlantedBug*>, Start> made;
  const auto key = std::pair(name, planted_bug());
  const auto at = made.find(key);
  return at != made.end() ? at->second : made.emplace(key, make_start(name)).first->second;
}

}  // namespace

StoppedClock& stopped_clock() noexcept {
  static StoppedClock clock;
  return clock;
}

std::uint64_t hash_of(std::string_view tree) noexcept { return XXH3_64bits(tree.data(), tree.size()); }

Life live(const Workload& workload, DiskBug bug) {
  return Player(start_of(workload.image), bug).live(workload.operations);
}

}  // namespace weft::crash
