// Operations: any sequence of them, with arguments nobody should pass, beside a model; remounts, crashes and failing requests in
// between. Answers are the model's, a crash leaves one of its states since the last sync, fsck has nothing to say.
//
// Input: seed of the disk (u8), then (operation u8, its arguments: see Walk::step()).
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <string>

#include "fs/check/check.h"
#include "kernel/check.h"
#include "kernel/memory_disk.h"
#include "kernel/metrics.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/sample_tree.h"
#include "tests/support/tree_snapshot.h"
#include "tests/support/tree_twins.h"

namespace {

using namespace weft;
using namespace weft::fs;
using fs::test::TreeModel;
using Id = TreeModel::Id;
using Code = TreeModel::Code;

constexpr std::uint64_t kVolumeBytes = 5 * kMiB;
constexpr unsigned kMaxSteps = 150;
constexpr std::size_t kMaxHistory = 200;
constexpr std::uint64_t kMaxHeld = 8;
const Caller kRoot{};

class TickingClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override { return std::chrono::milliseconds(1); }
  [[nodiscard]] Timespec wall() const noexcept override { return {1'700'000'000 + ++ticks_, 0}; }

 private:
  mutable std::int64_t ticks_ = 0;
};

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  WEFT_CHECK(false);
  std::abort();
}

std::string problems_of(DiskImage image) {
  MemoryDisk disk(std::move(image));
  const auto report = check::check_volume(disk, {});
  if (!report) return report.error().message();
  std::string out;
  for (const check::Finding& finding : report->findings) out += finding.message + "\n";
  return out;
}

const DiskImage& empty_volume() {
  static const DiskImage image = [] {
    MemoryDisk disk(kVolumeBytes);
    TickingClock clock;
    WEFT_CHECK(test::make_sample_volume(disk, "ops", clock, std::uint64_t{kMinLogBlocks} * kBlockBytes));
    return disk.copy();
  }();
  return image;
}

class Walk {
 public:
  explicit Walk(fuzz::FuzzInput input)
      : input_(input), disk_(empty_volume(), {.seed = input_.take<std::uint8_t>() + 1u}) {
    mount();
    remember();
  }

  void run() {
    for (unsigned steps = 0; !input_.empty() && steps < kMaxSteps; ++steps) step();
    crash();
    remount();
  }

 private:
  struct Held {
    InodeNo inode;
    std::string content;
  };

  void step() {
    before_ = model_;
    switch (input_.take<std::uint8_t>() % 26) {
      case 0:
      case 1: return make_file();
      case 2: return make_directory();
      case 3: return make_symlink();
      case 4: return link();
      case 5: return unlink();
      case 6: return remove_directory();
      case 7:
      case 8: return rename();
      case 9:
      case 10:
      case 11: return write();
      case 12: return append();
      case 13: return truncate();
      case 14: return allocate();
      case 15: return copy();
      case 16: return set_mode();
      case 17: return set_xattr();
      case 18: return read();
      case 19: return hold();
      case 20: return release();
      case 21: return scratch();
      case 22: return nonsense();
      case 23: return sync();
      case 24: return input_.take<std::uint8_t>() % 4 == 0 ? remount() : crash();
      default: return arm();
    }
  }

  // -- Arguments
  std::uint64_t below(std::uint64_t bound) { return input_.take<std::uint16_t>() % bound; }
  std::string name() {
    const auto which = input_.take<std::uint8_t>();
    if (which % 16 == 15) return std::string(255, static_cast<char>('A' + which / 16));
    return std::string(1, static_cast<char>('a' + which % 6));
  }
  // One that no operation takes.
  std::string bad_name() {
    switch (input_.take<std::uint8_t>() % 6) {
      case 0: return "";
      case 1: return ".";
      case 2: return "..";
      case 3: return "a/b";
      case 4: return std::string(256, 'n');
      default: return std::string("a\0b", 3);
    }
  }
  Id directory() {
    const auto all = model_.directories();
    return all[input_.take<std::uint8_t>() % all.size()];
  }
  std::optional<Id> file() {
    const auto all = model_.files();
    if (all.empty()) return std::nullopt;
    return all[input_.take<std::uint8_t>() % all.size()];
  }
  InodeNo inode(Id id) { return model_.at(id).inode; }
  std::string bytes(std::size_t length) {
    std::string out(length, '\0');
    std::uint64_t word = input_.take<std::uint8_t>() + 1u;
    for (char& byte : out) byte = static_cast<char>((word = word * 6364136223846793005u + 1) >> 56);
    return out;
  }
  // Mostly small and odd, sometimes whole blocks.
  std::uint64_t offset() {
    const std::uint64_t at = input_.take<std::uint16_t>();
    return at % 3 == 0 ? at / 3 * kBlockBytes % (128 * kKiB) : at;
  }
  std::uint64_t length() {
    const std::uint64_t at = 1 + input_.take<std::uint16_t>() % 28'000;
    return at % 3 == 0 ? divide_up(at, kBlockBytes) * kBlockBytes : at;
  }
  std::uint64_t wild() {
    static constexpr std::array<std::uint64_t, 8> kWild = {0,
                                                           1,
                                                           kMaxFileBytes - 1,
                                                           kMaxFileBytes,
                                                           kMaxFileBytes + 1,
                                                           std::uint64_t{1} << 63,
                                                           ~std::uint64_t{0} - 4095,
                                                           ~std::uint64_t{0}};
    const auto which = input_.take<std::uint8_t>();
    return which < 200 ? kWild[which % kWild.size()] : input_.take<std::uint64_t>();
  }

  // -- What should be
  void remember() {
    history_.push_back(describe(model_.snapshot()));
    states_.push_back(model_);
  }
  void forget_history() {
    history_.clear();
    states_.clear();
    remember();
  }
  // `model_` is what it should be now if `real` is what it says; what is between is remembered already.
  void expect(Code real, Code wanted, const char* what) {
    if (real == wanted) {
      remember();
      if (history_.size() > kMaxHistory) sync();
      return;
    }
    if (real == Errc::kNoSpace && !wanted) return settle(what);
    if (armed_ && real && fs_->volume().failure()) {
      remember();
      return crash();
    }
    if (armed_ && real == Errc::kIo) return settle(what);
    give_up(std::string(what) + ": " + (real ? std::string(weft::describe(*real)) : "done") + " where the model has " +
            (wanted ? std::string(weft::describe(*wanted)) : "done"));
  }
  // It failed for a good reason: which of the states is it, that before, that after, or one remembered in between?
  void settle(const char* what) {
    disarm();
    const auto tree = test::take_snapshot(*fs_);
    if (!tree) give_up(std::string(what) + ": " + tree.error().message());
    const std::string found = describe(*tree);
    if (found == describe(before_.snapshot())) {
      model_ = before_;
    } else if (found != describe(model_.snapshot())) {
      give_up(std::string(what) + " failed and left\n" + found + "it was\n" + describe(before_.snapshot()));
    }
    remember();
  }
  void compare(const char* when) {
    const auto tree = test::take_snapshot(*fs_);
    if (!tree) give_up(std::string(when) + ": " + tree.error().message());
    const std::string found = describe(*tree), wanted = describe(model_.snapshot());
    if (found != wanted) give_up(std::string(when) + ": found\n" + found + "and should be\n" + wanted);
    if (held_.empty()) WEFT_CHECK(fs_->volume().space().inode_count == count_inodes(*tree));
  }

  // -- The whole
  void mount() {
    FileSystemOptions options;
    options.inode_cache = 4;
    options.volume.background = false;
    options.volume.cache_bytes = 8 * kBlockBytes;
    options.volume.clock = &clock_;
    options.volume.metrics = &metrics();
    auto mounted = FileSystem::mount(disk_, options);
    if (!mounted) give_up("mount: " + mounted.error().message());
    fs_ = std::move(*mounted);
  }
  static Metrics& metrics() {
    static Metrics all;
    return all;
  }
  void disarm() {
    disk_.clear_faults();
    armed_ = false;
  }
  void remount() {
    if (armed_) return crash();
    compare("before unmounting");
    for (const Held& held : held_) fs_->forget(held.inode, 1);
    held_.clear();
    if (const Status status = fs_->unmount(); !status) give_up("unmount: " + status.error().message());
    fs_.reset();
    if (const std::string problems = problems_of(disk_.copy()); !problems.empty()) give_up("unmounted: " + problems);
    mount();
    compare("after a remount");
    forget_history();
  }
  void crash() {
    held_.clear();
    fs_.reset();
    disarm();
    disk_.crash();
    if (const std::string problems = problems_of(disk_.copy()); !problems.empty()) give_up("crashed: " + problems);
    mount();
    const auto tree = test::take_snapshot(*fs_);
    if (!tree) give_up("after a crash: " + tree.error().message());
    const std::string found = describe(*tree);
    for (std::size_t i = history_.size(); i-- > 0;) {
      if (history_[i] != found) continue;
      model_ = states_[i];
      find_inodes();
      compare("after a crash");
      return forget_history();
    }
    give_up("a crash left\n" + found + "the last was\n" + history_.back() + "the first\n" + history_.front());
  }
  // What was made by an operation that failed on its way back has a number that nobody told the model.
  void find_inodes() {
    for (const Id parent : model_.directories()) {
      // Ascending, so a directory is found before what is in it.
      const auto names = model_.at(parent).names;
      for (const auto& [name, id] : names) {
        const auto found = fs_->lookup(inode(parent), name);
        if (!found) give_up("lookup: " + found.error().message());
        model_.at(id).inode = found->inode;
        fs_->forget(found->inode, 1);
      }
    }
  }
  void sync() {
    const Status status = fs_->sync();
    if (!status) {
      if (!armed_) give_up("sync: " + status.error().message());
      return crash();
    }
    forget_history();
  }
  // The n-th request of a kind fails, once.
  void arm() {
    const auto how = input_.take<std::uint8_t>();
    disk_.inject({.op = how % 3 == 0   ? BlockOp::kRead
                        : how % 3 == 1 ? BlockOp::kWrite
                                       : BlockOp::kFlush,
                  .skip = how / 3u % 8});
    armed_ = true;
  }

  // -- Names
  test::TwinName any_name() {
    const Id parent = directory();
    return {parent, inode(parent), name()};
  }
  void expect(const test::Answers& answers, const char* what) { expect(answers.real, answers.model, what); }
  void make(std::uint32_t mode, const std::string& target, const char* what) {
    Id made = 0;
    const test::TwinName at = any_name();
    expect(test::make(*fs_, model_, at, {.mode = mode}, target, made), what);
  }
  void make_file() { make(S_IFREG | 0640, "", "create"); }
  void make_directory() { make(S_IFDIR | 0750, "", "mkdir"); }
  void make_symlink() { make(S_IFLNK | 0777, std::string(1 + below(4095), 't'), "symlink"); }
  void link() {
    const auto from = file();
    if (from) expect(test::link(*fs_, model_, *from, inode(*from), any_name()), "link");
  }
  void unlink() { expect(test::unlink(*fs_, model_, any_name()), "unlink"); }
  void remove_directory() { expect(test::remove_directory(*fs_, model_, any_name()), "rmdir"); }
  void rename() {
    const test::TwinName from = any_name(), to = any_name();
    expect(test::rename(*fs_, model_, from, to, input_.take<std::uint8_t>() % 3), "rename");
  }

  // -- Data
  void write_at(Id id, std::uint64_t at, std::string what, bool append) {
    const auto got = fs_->write(inode(id), append ? 0 : at, std::as_bytes(std::span(what)), false, append);
    if (got && *got < what.size()) what.resize(*got);
    expect(test::code(got), model_.write(id, at, what), "write");
  }
  void write() {
    if (const auto id = file()) {
      const std::uint64_t at = offset();
      write_at(*id, at, bytes(length()), false);
    }
  }
  void append() {
    if (const auto id = file(); id && model_.at(*id).node.size_bytes < 256 * kKiB)
      write_at(*id, model_.at(*id).node.size_bytes, bytes(length()), true);
  }
  void truncate() {
    const auto id = file();
    if (!id) return;
    const std::uint64_t size = offset();
    expect(test::code(fs_->set_attributes(kRoot, inode(*id), {.fields = AttributeChange::kSize, .size_bytes = size})),
           model_.truncate(*id, size), "truncate");
  }
  void allocate() {
    const auto id = file();
    if (!id) return;
    const std::uint64_t at = offset(), count = length();
    const auto mode = static_cast<AllocateMode>(input_.take<std::uint8_t>() % 3);  // zeroing is two steps
    const Code real = test::code(fs_->allocate(inode(*id), mode, at, count));
    if (mode == AllocateMode::kPunchHole) static_cast<void>(model_.punch(*id, at, count));
    if (mode == AllocateMode::kReserve)
      static_cast<void>(model_.truncate(*id, std::max(model_.at(*id).node.size_bytes, at + count)));
    expect(real, {}, "allocate");
  }
  void copy() {
    const auto from = file(), to = file();
    if (!from || !to || *from == *to) return;
    const std::uint64_t at = offset(), to_at = offset(), count = length();
    const auto got = fs_->copy_range(inode(*from), at, inode(*to), to_at, count);
    const std::string& content = model_.at(*from).node.content;
    std::string what = at < content.size() ? content.substr(at, count) : "";
    if (got && *got < what.size()) what.resize(*got);
    expect(test::code(got), what.empty() ? Code{} : model_.write(*to, to_at, what), "copy");
  }
  void read() {
    const auto id = file();
    if (!id) return;
    const std::uint64_t at = offset();
    std::vector<std::byte> into(length());
    const auto got = fs_->read(inode(*id), at, into);
    if (!got && armed_ && got.error() == Errc::kIo) return;
    if (!got) give_up("read: " + got.error().message());
    const std::string& content = model_.at(*id).node.content;
    const std::string wanted = at < content.size() ? content.substr(at, into.size()) : "";
    WEFT_CHECK(std::string_view(reinterpret_cast<const char*>(into.data()), *got) == wanted);
  }

  // -- Attributes
  void set_mode() {
    const auto id = file();
    if (!id) return;
    const std::uint32_t mode = static_cast<std::uint32_t>(below(0777 + 1)), owner = input_.take<std::uint8_t>();
    model_.at(*id).node.mode = S_IFREG | mode;
    model_.at(*id).node.uid = owner;
    expect(
        test::code(fs_->set_attributes(
            kRoot, inode(*id), {.fields = AttributeChange::kMode | AttributeChange::kUid, .mode = mode, .uid = owner})),
        {}, "chmod");
  }
  void set_xattr() {
    const auto id = file();
    if (!id) return;
    const std::string what = "user." + name().substr(0, 200);
    const auto how = input_.take<std::uint8_t>();
    auto& xattrs = model_.at(*id).node.xattrs;
    if (how % 4 == 0) {
      const Code wanted = xattrs.erase(what) == 1 ? Code{} : Code{Errc::kNoData};
      return expect(test::code(fs_->remove_xattr(kRoot, inode(*id), what)), wanted, "removexattr");
    }
    const auto mode = static_cast<FileSystem::XattrMode>(how / 4 % 3);
    const std::string value = bytes(how % 4 == 1 ? below(9000) : below(100));
    Code wanted;
    if (mode == FileSystem::XattrMode::kCreate && xattrs.contains(what)) wanted = Errc::kExists;
    if (mode == FileSystem::XattrMode::kReplace && !xattrs.contains(what)) wanted = Errc::kNoData;
    if (!wanted) xattrs[what] = value;
    expect(test::code(fs_->set_xattr(kRoot, inode(*id), what, std::as_bytes(std::span(value)), mode, false)), wanted,
           "setxattr");
  }

  // -- Files that somebody has open while their names go
  void hold() {
    const auto id = file();
    if (!id || held_.size() == kMaxHeld) return;
    if (const auto got = fs_->by_number(inode(*id))) held_.push_back({got->inode, ""});
  }
  void release() {
    if (held_.empty()) return;
    const auto at = held_.begin() + static_cast<std::ptrdiff_t>(input_.take<std::uint8_t>() % held_.size());
    std::vector<std::byte> into(4096);
    static_cast<void>(fs_->read(at->inode, offset(), into));
    static_cast<void>(fs_->write(InodeNo(~at->inode.value()), 0, into, false));
    fs_->forget(at->inode, 1);
    held_.erase(at);
    if (fs_->volume().failure()) crash();
  }
  // A file without a name, and anything at all done to it.
  void scratch() {
    const auto made = fs_->make_temporary(kRoot, kRootInode, 0600);
    if (!made) return failed_or_full(made.error());
    const InodeNo it = made->inode;
    for (unsigned i = input_.take<std::uint8_t>() % 6; i > 0; --i) {
      const std::uint64_t at = wild(), count = wild();
      std::vector<std::byte> some(length());
      switch (input_.take<std::uint8_t>() % 7) {
        case 0: static_cast<void>(fs_->write(it, at, some, true)); break;
        case 1: static_cast<void>(fs_->read(it, at, some)); break;
        case 2:
          static_cast<void>(fs_->set_attributes(kRoot, it, {.fields = AttributeChange::kSize, .size_bytes = at}));
          break;
        case 3: static_cast<void>(fs_->allocate(it, static_cast<AllocateMode>(count % 5), at, count)); break;
        case 4: static_cast<void>(fs_->seek(it, at, count % 2 == 0)); break;
        case 5: static_cast<void>(fs_->copy_range(it, at, it, wild(), count)); break;
        default: static_cast<void>(fs_->set_flags(kRoot, it, static_cast<std::uint32_t>(count) & 0x800000)); break;
      }
    }
    fs_->forget(it, 1);
    if (fs_->volume().failure()) crash();
  }
  void failed_or_full(const Error& error) {
    if (error == Errc::kNoSpace) return;
    if (!armed_) give_up(error.message());
    if (fs_->volume().failure()) crash();
  }
  // What must be refused, and change nothing.
  void nonsense() {
    const Id parent = directory();
    const InodeNo in = inode(parent);
    const std::string bad = bad_name();
    const bool dots = bad == "." || bad == "..";
    const auto refused = [&](const auto& result, const char* what) {
      if (result) give_up(std::string("accepted: ") + what);
      if (result.error() == Errc::kInternal) give_up(std::string(what) + ": " + result.error().message());
    };
    const InodeNo nobody = InodeNo(model_.at(Id{1}).inode.value() + (std::uint64_t{1} << 40) + wild() % 1000);
    std::vector<std::byte> some(100);
    switch (input_.take<std::uint8_t>() % 14) {
      case 0: refused(fs_->make_node(kRoot, in, bad, {.mode = S_IFREG | 0600}), "create of a bad name"); break;
      case 1: refused(fs_->make_directory(kRoot, in, bad, 0700), "mkdir of a bad name"); break;
      case 2: refused(fs_->make_symlink(kRoot, in, bad, "x"), "symlink of a bad name"); break;
      case 3: refused(fs_->unlink(kRoot, in, bad), "unlink of a bad name"); break;
      case 4: refused(fs_->remove_directory(kRoot, in, bad), "rmdir of a bad name"); break;
      case 5: refused(fs_->rename(kRoot, in, "a", in, bad, 0), "rename to a bad name"); break;
      case 6: refused(fs_->rename(kRoot, in, bad, in, "a", 0), "rename of a bad name"); break;
      case 7:
        if (!dots) refused(fs_->lookup(in, bad), "lookup of a bad name");
        break;
      case 8: refused(fs_->write(nobody, wild(), some, false), "write to nobody"); break;
      case 9: refused(fs_->make_node(kRoot, nobody, "a", {.mode = S_IFREG | 0600}), "create in nobody"); break;
      case 10: refused(fs_->write(in, 0, some, false), "write to a directory"); break;
      case 11: refused(fs_->make_symlink(kRoot, in, "z", std::string(4096, 't')), "symlink too long"); break;
      case 12:
        static_cast<void>(fs_->read_directory(in, wild(), true, [&](const DirectoryEntry& entry) {
          if (entry.attributes != nullptr) fs_->forget(entry.inode, 1);
          return true;
        }));
        break;
      default:
        if (const auto id = file()) {
          refused(fs_->set_xattr(kRoot, inode(*id), bad, some, FileSystem::XattrMode::kEither, false),
                  "setxattr of a bad name");
          refused(fs_->rename(kRoot, in, "a", in, "b", 0x80 + input_.take<std::uint8_t>()), "rename with bad flags");
        }
        break;
    }
    if (fs_->volume().failure()) crash();
  }

  fuzz::FuzzInput input_;
  TickingClock clock_;
  SimDisk disk_;
  std::unique_ptr<FileSystem> fs_;
  TreeModel model_, before_;
  // Since the last sync, and as text: what a crash may leave.
  std::deque<std::string> history_;
  std::deque<TreeModel> states_;
  std::vector<Held> held_;
  bool armed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  fuzz::keep_quiet();
  Walk(fuzz::FuzzInput(data, size_bytes)).run();
  return 0;
}
