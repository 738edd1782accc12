#include "tests/crash/life.h"

#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "fs/file_system.h"
#include "fs/format.h"
#include "fs/superblock.h"
#include "kernel/check.h"
#include "kernel/crash_states.h"
#include "kernel/memory_disk.h"
#include "kernel/units.h"
#include "tests/crash/gate.h"
#include "tests/crash/operations.h"
#include "tests/crash/oracle.h"
#include "tests/support/sample_tree.h"
#include "tests/support/tree_snapshot.h"

namespace weft::crash {
namespace {

using fs::AllocateMode;
using fs::AttributeChange;
using fs::FileSystem;
using fs::kBlockBytes;
using fs::test::code;
using fs::test::find;
using fs::test::TreeModel;
using Id = TreeModel::Id;
using Code = TreeModel::Code;

const fs::Caller kSomebody{};

struct Start {
  DiskImage image;
  TreeModel model;
};

class Player {
 public:
  Player(Start start, DiskBug bug) : memory_(std::make_unique<MemoryDisk>(std::move(start.image))), bug_(bug) {
    twins_.model = std::move(start.model);
    layout_ = fs::Layout(fs::find_superblock(*memory_).value().superblock);
    mount();
  }

  Life live(const std::vector<Operation>& operations) {
    begin();
    play(operations);
    twins_.held.clear();
    twins_.fs.reset();
    life_.recording = recorder_->finish();
    return std::move(life_);
  }

  // What the next workload may begin on.
  Start unmounted(const std::vector<Operation>& operations) {
    begin();
    play(operations);
    WEFT_CHECK(life_.wrong.empty());
    WEFT_CHECK(twins_.fs->unmount().has_value());
    twins_.fs.reset();
    return {memory_->copy(), twins_.model};
  }

 private:
  // ---------------------------------------------------------------------------------------------- the course of things

  void mount() {
    twins_.fs.reset();
    recorder_ = std::make_unique<RecordingDisk>(*memory_, memory_->copy());
    liar_ = std::make_unique<LyingDisk>(*recorder_, bug_, layout_);
    gate_ = std::make_unique<Gate>(*liar_, layout_);
    auto mounted = FileSystem::mount(*gate_, mount_options());
    if (!mounted) {
      life_.wrong = "does not mount: " + mounted.error().message();
      return;
    }
    twins_.fs = std::move(*mounted);
  }

  // From here on everything is recorded, and whatever was before is durable.
  void begin() {
    if (!twins_.fs) return;
    static_cast<void>(twins_.fs->sync());
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
    life_.trees.push_back(describe(twins_.model.snapshot()));
    life_.history.push_back(hash_of(life_.trees.back()));
    models_.push_back(twins_.model);
  }

  [[nodiscard]] std::uint64_t now() const { return life_.history.size() - 1; }

  void play(std::span<const Operation> operations) {
    for (std::size_t i = 0; i < operations.size() && life_.wrong.empty() && twins_.fs; ++i) {
      const Operation& operation = operations[i];
      ++ordinal_;
      if (operation[0] == "during") {
        if (!inside_checkpoint_) return during(number_of(operation, 1), operations.subspan(i + 1));
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
    static_cast<void>(twins_.fs->volume().checkpoint());
    gate_->before_write = nullptr;
    if (!played) play(rest);
  }

  void play_one(const Operation& operation) {
    const std::string& verb = operation[0];
    if (verb == "fsync" || verb == "fdatasync") return sync_one(operation);
    if (verb == "syncfs") {
      expect(code(twins_.fs->sync()), Code{}, operation);
      return acknowledge(now());
    }
    if (verb == "checkpoint") {
      if (!inside_checkpoint_) expect(code(twins_.fs->volume().checkpoint()), Code{}, operation);
      return;
    }
    if (verb == "advance") return inside_checkpoint_ ? void() : advance(number_of(operation, 1));
    if (verb == "brim") return inside_checkpoint_ ? void() : brim(number_of(operation, 1));
    if (verb == "fill") return fill(number_of(operation, 1));
    if (verb == "crash") return inside_checkpoint_ ? void() : crash(number_of(operation, 1));
    change(operation);
  }

  void sync_one(const Operation& operation) {
    const auto id = find(twins_.model, operation[1]);
    const auto inode = find(*twins_.fs, operation[1]);
    if (!id || !inode) return expect(inode ? Code{} : Code{Errc::kNotFound}, id ? Code{} : Errc::kNotFound, operation);
    const bool data_only = operation[0] == "fdatasync";
    expect(code(twins_.fs->fsync(*inode, data_only)), Code{}, operation);
    const auto last = touched_.find(*id);
    if (last != touched_.end()) acknowledge(data_only ? last->second.data : last->second.any);
  }

  void acknowledge(std::uint64_t state) { recorder_->mark(state); }

  // What changes the tree: done to both, compared, remembered.
  void change(const Operation& operation) {
    const TreeModel before = twins_.model;
    const fs::Lsn first = twins_.fs->volume().committed();
    const Done done = perform(twins_, operation, ordinal_);
    const auto [real, expected] = done.answers;
    const bool refused = real == Errc::kNoSpace && !expected;
    if (refused) {
      twins_.model = before;
    } else {
      expect(real, expected, operation);
      if (!life_.wrong.empty()) return;
    }
    if (!expected && twins_.fs->volume().committed().value() > first.value() + (refused ? 0 : 1)) {
      const TreeModel after = std::exchange(twins_.model, before);
      for (const TreeModel& state : done.between) {
        twins_.model = state;
        remember();
      }
      twins_.model = refused ? what_is_left(done.between, before) : after;
    }
    remember();
    if (real) return;
    // What was so already is no change: fallocate() of blocks that are there.
    const std::size_t states = life_.history.size();
    const bool same = life_.history[states - 1] == life_.history[states - 2];
    if (same && twins_.fs->volume().committed() == first) return;
    for (const auto& [id, data] : done.touched) {
      Touched& last = touched_[id];
      last.any = now();
      if (data) last.data = now();
    }
    if (done.settles) acknowledge(now());
  }

  // An operation of several transactions ran out of space after some of them.
  TreeModel what_is_left(const std::vector<TreeModel>& between, const TreeModel& before) {
    const auto tree = fs::test::take_snapshot(*twins_.fs);
    const std::string live = tree ? describe(*tree) : "";
    for (const TreeModel& state : between) {
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
    while (gate_->log_end + 16 * kKiB < end && log_something(12 * kKiB))
      static_cast<void>(twins_.fs->volume().checkpoint());
    for (int i = 0; i < 40 && gate_->log_end + kKiB < end; ++i) static_cast<void>(log_something(1));
    static_cast<void>(twins_.fs->remove_xattr(kSomebody, fs::kRootInode, "user.fill"));
    static_cast<void>(twins_.fs->volume().checkpoint());
    begin();
  }

  // The log so full that what needs more than about `left` bytes of it has to wait for a checkpoint, which begin() takes.
  void brim(std::uint64_t left) {
    const std::uint64_t spare =
        layout_.log_bytes() / 8 + 512;  // never given out: one transaction may not fit before the end
    const std::uint64_t full = layout_.log_bytes() - spare - left;
    while (gate_->log_written + 16 * kKiB < full && log_something(12 * kKiB)) {}
    static_cast<void>(twins_.fs->remove_xattr(kSomebody, fs::kRootInode, "user.fill"));
    for (int i = 0; i < 40 && gate_->log_written + kKiB < full; ++i) {
      AttributeChange change{.fields = AttributeChange::kMode, .mode = 0755};
      static_cast<void>(twins_.fs->set_attributes(kSomebody, fs::kRootInode, change));
      static_cast<void>(twins_.fs->sync());
    }
    begin();
  }

  bool log_something(std::size_t bytes) {
    const std::uint64_t before = gate_->log_written;
    static_cast<void>(twins_.fs->set_xattr(kSomebody, fs::kRootInode, "user.fill", std::vector<std::byte>(bytes),
                                           FileSystem::XattrMode::kEither, false));
    return twins_.fs->sync().has_value() && gate_->log_written != before;
  }

  // All space but `left` blocks goes to a file, reserved and never written, so that nobody has to read it.
  void fill(std::uint64_t left) {
    const auto made = twins_.fs->make_node(kSomebody, fs::kRootInode, "F", {.mode = S_IFREG | 0600});
    WEFT_CHECK(made.has_value());
    Id id = 0;
    static_cast<void>(twins_.model.make(TreeModel::kRoot, "F", S_IFREG | 0600, "", id));
    std::uint64_t at = 0;
    for (std::uint64_t blocks = 512; blocks != 0;) {
      if (twins_.fs->allocate(made->inode, AllocateMode::kReserveKeepSize, at * kBlockBytes, blocks * kBlockBytes)) {
        at += blocks;
      } else {
        blocks /= 2;
      }
    }
    static_cast<void>(
        twins_.fs->allocate(made->inode, AllocateMode::kPunchHole, (at - left) * kBlockBytes, left * kBlockBytes));
    twins_.fs->forget(made->inode, 1);
    for (int i = 0; i < 2; ++i) static_cast<void>(twins_.fs->volume().checkpoint());
    begin();
  }

  // The power goes, in the n-th of the ways in which it can; life goes on with what is found.
  void crash(std::uint64_t n) {
    twins_.held.clear();
    twins_.fs.reset();
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
    if (!twins_.fs) return;
    const auto tree = fs::test::take_snapshot(*twins_.fs);
    const std::uint64_t found = tree ? hash_of(describe(*tree)) : 0;
    for (std::size_t i = life_.history.size(); i-- > 0;) {
      if (life_.history[i] != found) continue;
      twins_.model = models_[i];
      return begin();
    }
    life_.wrong = "after 'crash' the tree is none that was";
  }

  struct Touched {
    std::uint64_t any = 0;
    std::uint64_t data = 0;
  };

  std::unique_ptr<MemoryDisk> memory_;
  const DiskBug bug_;
  fs::Layout layout_;
  std::unique_ptr<RecordingDisk> recorder_;
  std::unique_ptr<LyingDisk> liar_;
  std::unique_ptr<Gate> gate_;
  Twins twins_;
  Life life_;
  std::vector<TreeModel> models_;  // of the history
  std::map<Id, Touched> touched_;  // the state with the last change of each
  std::uint64_t ordinal_ = 0;      // of the operation
  bool inside_checkpoint_ = false;
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
  WEFT_CHECK(fs::test::make_sample_volume(disk, "crash", stopped_clock()).has_value());
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
