// tests/fs/random_test.cc - random operations on a file system and on its model, with remounts and power cuts between them.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <deque>
#include <random>

#include "tests/fs/check/check_fixture.h"
#include "tests/support/mounted.h"
#include "tests/support/tree_model.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

class Walk {
 public:
  Walk(std::uint64_t seed, std::uint64_t size_bytes) : random_(seed), m_(size_bytes) { remember(); }

  // Of a volume that is too small: what does not fit must leave no trace.
  void expect_no_space() { tight_ = true; }
  [[nodiscard]] int refused() const { return refused_; }

  void step() {
    if (tight_) saved_ = model_;
    switch (pick(17)) {
      case 0:
      case 1:
      case 2: return make();
      case 3: return link();
      case 4:
      case 5: return unlink();
      case 6: return remove_directory();
      case 7:
      case 8: return rename();
      case 9:
      case 10:
      case 11: return write();
      case 12: return truncate();
      case 13: return allocate();
      case 14: return set_mode();
      case 15: return set_xattr();
      default: return read();
    }
  }

  void remount() {
    ASSERT_OK(m_->unmount());
    m_.fs.reset();
    EXPECT_EQ(problems_of(m_.disk.copy()), "") << "after unmounting";
    m_.mount();
    compare("after a remount");
    restart_history();
  }
  void sync() {
    ASSERT_OK(m_->sync());
    restart_history();
  }
  // The tree must be one of those since the last sync; the model goes back to it.
  void crash() {
    m_.fs.reset();
    m_.disk.crash();
    EXPECT_EQ(problems_of(m_.disk.copy()), "") << "after a crash";
    m_.mount();
    const auto tree = take_snapshot(*m_.fs);
    ASSERT_TRUE(tree.has_value()) << tree.error().message();
    const std::string found = describe(*tree);
    EXPECT_EQ(m_->volume().space().inode_count, count_inodes(*tree));
    for (auto state = history_.rbegin(); state != history_.rend(); ++state) {
      if (state->first != found) continue;
      model_ = state->second;
      restart_history();
      return;
    }
    FAIL() << "the tree after the crash is none of the " << history_.size() << " that were\nfound:\n"
           << found << "first legal:\n"
           << history_.front().first << "last legal:\n"
           << history_.back().first;
  }
  void compare(const char* when) {
    const auto tree = take_snapshot(*m_.fs);
    ASSERT_TRUE(tree.has_value()) << tree.error().message();
    EXPECT_EQ(describe(*tree), describe(model_.snapshot())) << when;
    EXPECT_EQ(m_->volume().space().inode_count, count_inodes(*tree)) << when;
  }

 private:
  using Id = TreeModel::Id;
  using Code = TreeModel::Code;

  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  std::string name() { return std::string(1, static_cast<char>('a' + pick(6))); }
  Id any_directory() {
    const auto all = model_.directories();
    return all[pick(all.size())];
  }
  std::optional<Id> any_file() {
    const auto all = model_.files();
    if (all.empty()) return std::nullopt;
    return all[pick(all.size())];
  }
  InodeNo inode(Id id) { return model_.at(id).inode; }
  // A crash takes nothing of what came before the last sync.
  void remember() {
    if (!tight_) history_.emplace_back(describe(model_.snapshot()), model_);
  }
  void restart_history() {
    history_.clear();
    remember();
  }
  void expect(Code real, Code model, const char* what) {
    if (tight_ && real == Errc::kNoSpace && !model) {
      model_ = saved_;
      ++refused_;
      return;
    }
    EXPECT_EQ(real, model) << what;
    remember();
  }

  TwinName any_name() {
    const Id parent = any_directory();
    return {parent, inode(parent), name()};
  }
  void expect(const Answers& answers, const char* what) { expect(answers.real, answers.model, what); }

  void make() {
    const TwinName at = any_name();
    const std::uint64_t kind = pick(4);
    const std::uint32_t mode = kind == 0 ? S_IFDIR | 0750u : kind == 1 ? S_IFLNK | 0777u : S_IFREG | 0640u;
    const std::string target = kind == 1 ? std::string(1 + pick(3000), 't') : "";
    Id made = 0;
    expect(test::make(*m_.fs, model_, at, {.mode = mode}, target, made), "make");
  }
  void link() {
    const auto file = any_file();
    if (file) expect(test::link(*m_.fs, model_, *file, inode(*file), any_name()), "link");
  }
  void unlink() { expect(test::unlink(*m_.fs, model_, any_name()), "unlink"); }
  void remove_directory() { expect(test::remove_directory(*m_.fs, model_, any_name()), "rmdir"); }
  void rename() {
    const TwinName from = any_name();
    TwinName to = any_name();
    if (pick(2) == 0) to.parent = from.parent, to.directory = from.directory;
    expect(test::rename(*m_.fs, model_, from, to, static_cast<std::uint32_t>(pick(3))), "rename");
  }
  void write() {
    const auto file = any_file();
    if (!file) return;
    std::uint64_t offset = pick(tight_ ? 2'000'000 : 100'000), length = 1 + pick(tight_         ? 1'200'000
                                                                                 : pick(3) == 0 ? 60'000
                                                                                                : 500);
    if (pick(2) == 0) offset = offset / 4096 * 4096, length = (length / 4096 + 1) * 4096;
    std::string bytes(length, '\0');
    std::uint64_t word = random_();
    for (char& byte : bytes) byte = static_cast<char>((word = word * 6364136223846793005 + 1) >> 56);
    const WriteAccepted behind = [](std::size_t) {};
    const auto got = m_->write(inode(*file), offset, to_bytes(bytes), false, false, pick(2) == 0 ? behind : nullptr);
    if (tight_ && got && *got < length) bytes.resize(length = *got);  // as much as there was room for
    expect(code(got), model_.write(*file, offset, bytes), "write");
    if (!got) return;
    EXPECT_EQ(got.value_or(0), length);
  }
  void truncate() {
    const auto file = any_file();
    if (!file) return;
    const std::uint64_t size = pick(120'000);
    expect(code(m_->set_attributes({}, inode(*file), {.fields = AttributeChange::kSize, .size_bytes = size})),
           model_.truncate(*file, size), "truncate");
  }
  void allocate() {
    const auto file = any_file();
    if (!file) return;
    const std::uint64_t offset = pick(100'000), length = 1 + pick(30'000);
    const auto mode = static_cast<AllocateMode>(pick(tight_ ? 3 : 5)) /* zeroing is two steps */;
    const std::uint64_t size = std::max(model_.at(*file).node.size_bytes, offset + length);
    const auto got = code(m_->allocate(inode(*file), mode, offset, length));
    if (mode != AllocateMode::kReserve && mode != AllocateMode::kReserveKeepSize) {
      static_cast<void>(model_.punch(*file, offset, length));
      remember();  // zeroed, not yet longer: a state that a crash may leave
    }
    if (mode == AllocateMode::kReserve || mode == AllocateMode::kZeroRange)
      static_cast<void>(model_.truncate(*file, size));
    expect(got, std::nullopt, "allocate");
  }
  void set_mode() {
    const auto file = any_file();
    if (!file) return;
    const auto mode = static_cast<std::uint32_t>(pick(0777 + 1));
    const auto owner = static_cast<std::uint32_t>(pick(3));
    model_.at(*file).node.mode = S_IFREG | mode;
    model_.at(*file).node.uid = owner;
    expect(
        code(m_->set_attributes(
            {}, inode(*file), {.fields = AttributeChange::kMode | AttributeChange::kUid, .mode = mode, .uid = owner})),
        std::nullopt, "chmod");
  }
  void set_xattr() {
    const auto file = any_file();
    if (!file) return;
    const std::string what = "user." + name();
    auto& xattrs = model_.at(*file).node.xattrs;
    if (pick(3) == 0) {
      const Code expected = xattrs.erase(what) == 1 ? Code{} : Code{Errc::kNoData};
      return expect(code(m_->remove_xattr({}, inode(*file), what)), expected, "removexattr");
    }
    xattrs[what] = std::string(pick(pick(4) == 0 ? 5000 : 100), 'v');
    expect(code(m_->set_xattr({}, inode(*file), what, to_bytes(xattrs[what]), FileSystem::XattrMode::kEither, false)),
           std::nullopt, "setxattr");
  }
  void read() {
    const auto file = any_file();
    if (!file) return;
    const std::uint64_t offset = pick(120'000);
    const std::size_t length = 1 + pick(20'000);
    const std::string& content = model_.at(*file).node.content;
    EXPECT_EQ(m_.read(inode(*file), offset, length), offset < content.size() ? content.substr(offset, length) : "")
        << "read";
  }

  std::mt19937_64 random_;
  Mounted m_;
  TreeModel model_;
  TreeModel saved_;
  bool tight_ = false;
  int refused_ = 0;
  std::deque<std::pair<std::string, TreeModel>> history_;  // since the last sync
};

std::uint64_t base_seed() {
  const char* text = std::getenv("WEFT_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 20260;
}

TEST(RandomOperations, LeaveTheTreeThatTheModelHasAlsoAfterARemount) {
  for (std::uint64_t seed = base_seed(); seed < base_seed() + 3; ++seed) {
    SCOPED_TRACE("WEFT_SEED=" + std::to_string(seed));
    Walk walk(seed, 64 * kMiB);
    for (int i = 1; i <= 400 && !testing::Test::HasFailure(); ++i) {
      walk.step();
      if (i % 100 == 0) walk.remount();
    }
    walk.compare("at the end");
  }
}

TEST(RandomOperations, LeaveAStateThatWasThereAfterAPowerCut) {
  for (std::uint64_t seed = base_seed(); seed < base_seed() + 4; ++seed) {
    SCOPED_TRACE("WEFT_SEED=" + std::to_string(seed));
    Walk walk(seed * 31 + 7, 32 * kMiB);
    for (int i = 1; i <= 300 && !testing::Test::HasFailure(); ++i) {
      walk.step();
      if (i % 13 == 0) walk.sync();
      if (i % 29 == 0) walk.crash();
    }
    walk.compare("at the end");
  }
}

TEST(RandomOperations, ThatDoNotFitLeaveNoTrace) {
  int refused = 0;
  for (std::uint64_t seed = base_seed(); seed < base_seed() + 3; ++seed) {
    SCOPED_TRACE("WEFT_SEED=" + std::to_string(seed));
    Walk walk(seed * 17 + 3, 5 * kMiB);
    walk.expect_no_space();
    for (int i = 1; i <= 250 && !testing::Test::HasFailure(); ++i) {
      walk.step();
      if (i % 50 == 0) walk.compare("on a full volume");
      if (i % 100 == 0) walk.remount();
    }
    refused += walk.refused();
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace weft::fs::test
