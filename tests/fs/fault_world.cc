#include "tests/fs/fault_world.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "kernel/random.h"
#include "kernel/units.h"
#include "tests/fs/check/check_fixture.h"

namespace weft::fs::test {

bool is_trouble(Errc code) {
  return code == Errc::kIo || code == Errc::kChecksum || code == Errc::kCorrupt || code == Errc::kReadOnly ||
         code == Errc::kClosed;
}

Look look_for(FileSystem& fs, const SnapshotTree& truth) {
  Look result;
  const auto excused = [&](const Error& error, const std::string& what) {
    ++result.errors;
    if (!is_trouble(error.code())) result.wrong += what + ": " + error.message() + "\n";
  };
  for (const auto& [path, node] : truth) {
    const auto inode = find(fs, path == "/" ? "" : path);
    if (!inode) {
      excused(inode.error(), path);
      continue;
    }
    if (const auto facts = fs.attributes(*inode); !facts) {
      excused(facts.error(), path + " attributes");
    } else if (facts->mode != node.mode || facts->links != node.links || facts->flags != node.flags ||
               (!S_ISDIR(node.mode) && facts->size_bytes != node.size_bytes)) {
      result.wrong += path + ": other attributes\n";
    }
    if (S_ISREG(node.mode)) {
      std::vector<std::byte> buffer(node.content.size() + 1);
      const auto got = fs.read(*inode, 0, buffer);
      if (!got) {
        excused(got.error(), path + " content");
      } else if (std::string_view(reinterpret_cast<const char*>(buffer.data()), *got) != node.content) {
        result.wrong += path + ": other content\n";
      }
    }
    if (S_ISLNK(node.mode)) {
      const auto got = fs.read_symlink(*inode);
      if (!got) excused(got.error(), path + " target");
      if (got && *got != node.content) result.wrong += path + ": another target\n";
    }
    if (S_ISDIR(node.mode)) {
      std::set<std::string> expected, listed;
      const std::string prefix = path == "/" ? path : path + "/";
      for (auto at = truth.upper_bound(prefix); at != truth.end() && at->first.starts_with(prefix); ++at) {
        if (at->first.find('/', prefix.size()) == std::string::npos) expected.insert(at->first.substr(prefix.size()));
      }
      const Status status = fs.read_directory(*inode, 2, false, [&](const DirectoryEntry& entry) {
        listed.emplace(entry.name);
        return true;
      });
      if (!status) excused(status.error(), path + " listing");
      if (status && listed != expected) result.wrong += path + ": lists other names\n";
    }
    if (const auto names = fs.list_xattrs(*inode); !names) {
      excused(names.error(), path + " names of attributes");
    } else if (names->size() != node.xattrs.size()) {
      result.wrong += path + ": another number of attributes\n";
    }
    for (const auto& [name, value] : node.xattrs) {
      const auto got = fs.get_xattr(*inode, name);
      if (!got) {
        excused(got.error(), path + " " + name);
      } else if (*got != to_bytes(value)) {
        result.wrong += path + ": another value of " + name + "\n";
      }
    }
  }
  return result;
}

// Some of its blocks zeros, and zeros behind it up to the end of its last block.
bool is_with_holes(std::string_view content, std::string_view whole) {
  if (content.size() != whole.size() && content.size() != round_up(whole.size(), kBlockBytes)) return false;
  for (std::size_t at = 0; at < content.size(); at += kBlockBytes) {
    std::string_view block = content.substr(at, kBlockBytes);
    const std::string_view was = whole.substr(at, kBlockBytes);
    if (block.starts_with(was)) block.remove_prefix(was.size());
    if (block.find_first_not_of('\0') != block.npos) return false;
  }
  return true;
}

// ------------------------------------------------------------------------------------------------------- FaultRun

FaultRun::FaultRun(std::uint64_t seed, const PopulatedVolume& volume)
    : disk(volume.image, {.seed = seed}), model(volume.model) {
  remember();
}

void FaultRun::remember() {
  SnapshotTree tree = model.snapshot();
  history_.push_back({describe(tree), std::move(tree)});
}

void FaultRun::acknowledged(const std::string& about) {
  std::size_t at = history_.size() - 1;
  const auto text_of_file = [&](std::size_t index) {
    const auto node = history_[index].tree.find(about);
    return node == history_[index].tree.end() ? std::string() : describe({{about, node->second}});
  };
  if (!about.empty()) {
    while (at > floor_ && text_of_file(at) == text_of_file(at - 1)) --at;
  }
  floor_ = std::max(floor_, at);
}

void FaultRun::run_steps(bool silent) {
  auto mounted = FileSystem::mount(disk, fault_options(clock));
  if (!mounted) {
    EXPECT_TRUE(is_trouble(mounted.error().code())) << "mounting: " << mounted.error().message();
    ++failed_;
    mounted = FileSystem::mount(disk, fault_options(clock));  // a fault that passes
    if (!mounted) return;
  }
  fs = std::move(*mounted);
  for (const FaultStep& each : fault_steps()) {
    if (uncertain_) break;
    step(each, silent);
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "in step '" << each.name << "'";
      return;
    }
  }
  if (silent && !uncertain_) {
    const Look look = look_for(*fs, history_.back().tree);
    EXPECT_EQ(look.wrong, "");
  }
}

void FaultRun::step(const FaultStep& step, bool silent) {
  std::vector<TreeModel> states = {model};  // that it passes through
  bool possible = true;
  for (const Effect& effect : step.effects) {
    TreeModel next = states.back();
    possible = possible && !effect(next);
    if (possible) states.push_back(std::move(next));
  }
  const bool failed_before = fs->volume().failure().has_value();
  const Status status = step.run(*fs);
  if (status) {
    // Of one that has failed nothing is promised any more.
    EXPECT_FALSE(failed_before && (step.durable || !step.effects.empty())) << "acknowledged after a failure";
    EXPECT_TRUE(possible) << "succeeded, and should not";
    for (std::size_t i = 1; i < states.size(); ++i) {
      model = std::move(states[i]);
      remember();
    }
    if (step.durable) acknowledged(step.about);
    return;
  }
  // Where an earlier step failed, what this one wants may not be there.
  const Errc code = status.error().code();
  const bool excused = is_trouble(code) || (no_space_ && code == Errc::kNoSpace) ||
                       (failed_ != 0 && (!possible || (step.effects.empty() && code == Errc::kNotFound)));
  EXPECT_TRUE(excused) << status.error().message();
  ++failed_;
  if (!silent) disk.clear_faults();
  for (const Effect& effect : step.partly) {
    TreeModel some = model;
    if (code == Errc::kNoSpace && !effect(some)) states.push_back(std::move(some));
  }
  settle(std::move(states));
  if (silent) return;
  for (SimDisk::Fault fault : faults_) {
    if (fault.times != SimDisk::kForEver) continue;  // it has struck
    fault.skip = 0;
    disk.inject(fault);
  }
}

// After a step that failed: in which of its states is the tree? The disk may have any of them.
void FaultRun::settle(std::vector<TreeModel> states) {
  for (std::size_t i = 1; i < states.size(); ++i) {
    SnapshotTree tree = states[i].snapshot();
    history_.push_back({describe(tree), std::move(tree)});
  }
  const auto tree = take_snapshot(*fs);
  if (!tree) {  // what a liar has taken stays away
    uncertain_ = true;
    return;
  }
  const std::string found = describe(*tree);
  for (TreeModel& state : states) {
    if (describe(state.snapshot()) != found) continue;
    model = std::move(state);
    remember();
    return;
  }
  ADD_FAILURE() << "a step that failed left a tree that it never should:\n"
                << found << "it was:\n"
                << describe(states.front().snapshot());
}

void FaultRun::remove_all() {
  const SnapshotTree tree = model.snapshot();
  for (auto at = tree.rbegin(); at != tree.rend(); ++at) {  // what is in a directory comes behind it
    if (at->first == "/") continue;
    const auto parent = find(*fs, parent_of(at->first));
    ASSERT_OK(parent);
    const Status removed = S_ISDIR(at->second.mode) ? fs->remove_directory({}, *parent, name_of(at->first))
                                                    : fs->unlink({}, *parent, name_of(at->first));
    ASSERT_TRUE(removed.has_value()) << at->first << ": " << removed.error().message();
    const TreeModel::Id id = find(model, parent_of(at->first)).value();
    EXPECT_FALSE(S_ISDIR(at->second.mode) ? model.remove_directory(id, name_of(at->first))
                                          : model.unlink(id, name_of(at->first)));
    remember();
  }
}

void FaultRun::end(bool unmount) {
  disk.clear_faults();
  faults_.clear();
  if (fs != nullptr && unmount && fs->unmount()) floor_ = history_.size() - 1;
  fs.reset();
  disk.crash();
}

void FaultRun::expect_recovery() {
  MemoryDisk copy(disk.copy());
  EXPECT_EQ(problems_after_repair(copy), "");
  auto mounted = FileSystem::mount(disk, fault_options(clock));
  ASSERT_TRUE(mounted.has_value()) << mounted.error().message();
  fs = std::move(*mounted);
  const auto tree = take_snapshot(*fs);
  ASSERT_TRUE(tree.has_value()) << tree.error().message();
  const std::string found = describe(*tree);
  EXPECT_EQ(fs->volume().space().inode_count, count_inodes(*tree));
  const bool legal = std::any_of(history_.begin() + static_cast<std::ptrdiff_t>(floor_), history_.end(),
                                 [&](const State& state) { return state.text == found; });
  if (!legal) {
    const auto any = std::ranges::find(history_, found, &State::text);
    ADD_FAILURE() << (any == history_.end()
                          ? "the tree is none that there was:\n" + found + "last:\n" + history_.back().text
                          : "what was acknowledged is lost");
  }
  if (no_space_) static_cast<void>(fs->unlink({}, kRootInode, "fill"));
  const auto made = fs->make_node({}, kRootInode, "works", {.mode = S_IFREG | 0600});
  ASSERT_OK(made);
  EXPECT_OK(fs->write(made->inode, 0, to_bytes("again"), false));
  fs->forget(made->inode, 1);
  EXPECT_OK(fs->unmount());
  fs.reset();
  EXPECT_EQ(problems_of(disk.copy()), "");
}

// Every file that can be read has a content that it had at some time; `with_holes`: or zeros in the place of some of its blocks.
Look FaultRun::look_in_history(FileSystem& on, bool with_holes) {
  Look result;
  std::set<std::string> paths;
  for (const State& state : history_) {
    for (const auto& [path, node] : state.tree) paths.insert(path);
  }
  for (const std::string& path : paths) {
    const auto inode = find(on, path == "/" ? "" : path);
    if (!inode) {
      ++result.errors;
      continue;
    }
    const auto facts = on.attributes(*inode);
    if (!facts || !S_ISREG(facts->mode) || (facts->flags & kInodeNoCow) != 0) continue;
    std::vector<std::byte> buffer(facts->size_bytes + 1);
    const auto got = on.read(*inode, 0, buffer);
    if (!got) {
      ++result.errors;
      continue;
    }
    const std::string_view content(reinterpret_cast<const char*>(buffer.data()), *got);
    const bool known = std::ranges::any_of(history_, [&](const State& state) {
      const auto node = state.tree.find(path);
      return node != state.tree.end() &&
             (with_holes ? is_with_holes(content, node->second.content) : content == node->second.content);
    });
    if (!known) result.wrong += path + ": a content that it never had\n";
  }
  return result;
}

void FaultRun::expect_nothing_wrong_with(const DiskImage& image) {
  {
    MemoryDisk copy(image);
    if (auto mounted = FileSystem::mount(copy, fault_options(clock))) {
      // One that can be read whole is one that there was.
      if (const auto tree = take_snapshot(**mounted)) {
        const std::string found = describe(*tree);
        EXPECT_NE(std::ranges::find(history_, found, &State::text), history_.end()) << found;
      }
      EXPECT_EQ(look_in_history(**mounted, false).wrong, "");
      static_cast<void>((*mounted)->unmount());
    } else {
      EXPECT_TRUE(is_trouble(mounted.error().code()) || mounted.error() == Errc::kWrongFormat)
          << mounted.error().message();
    }
  }
  MemoryDisk copy(image);
  std::string said;
  EXPECT_EQ(problems_after_repair(copy, &said), "");
  auto mounted = FileSystem::mount(copy, fault_options(clock));
  ASSERT_TRUE(mounted.has_value()) << "after the repair: " << mounted.error().message();
  // Where extents were lost there are holes, where the record was lost the size is in whole blocks; and it has been said.
  const bool told = said.find("reads as zeros") != said.npos || said.find("its record is missing") != said.npos;
  EXPECT_EQ(look_in_history(**mounted, told).wrong, "") << "after the repair, which said:\n" << said;
  EXPECT_OK((*mounted)->unmount());
  EXPECT_EQ(problems_of(copy.copy()), "");
}

std::string problems_after_repair(BlockDevice& device, std::string* said) {
  check::CheckOptions repairing;
  repairing.repair = true;
  const auto repaired = check::check_volume(device, repairing);
  if (!repaired) return "no repair: " + repaired.error().message();
  if (said != nullptr) *said = text_of(*repaired);
  if (repaired->uncorrected != 0) return "not repaired: " + text_of(*repaired);
  const auto again = check::check_volume(device, {});
  if (!again) return "no second look: " + again.error().message();
  return text_of(*again);
}

std::uint64_t fault_seed() {
  const char* seed = std::getenv("WEFT_TEST_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 0) : 1;
}

std::uint64_t fault_stride(std::uint64_t stride) {
  const char* how = std::getenv("WEFT_FAULTS");
  if (how != nullptr && std::string_view(how) == "all") return 1;
#ifdef WEFT_LOCK_ORDER  // sanitizers, which take their time
  stride *= 4;
#endif
  return stride;
}

}  // namespace weft::fs::test
