#include "kernel/crash_states.h"

#include <span>
#include <unordered_set>

#include "kernel/random.h"

namespace weft {
namespace {

using Survivor = Recording::Survivor;
constexpr std::uint64_t kSector = 512;

class Enumeration {
 public:
  Enumeration(const Recording& recording, const CrashOptions& options,
              const std::function<bool(const CrashState&)>& visit)
      : recording_(recording), options_(options), visit_(visit), random_(options.seed) {}

  std::size_t run() {
    at_prefix(0, false);
    std::size_t marks = 0;
    for (std::size_t prefix = 1; prefix <= recording_.events().size() && !ended_; ++prefix) {
      const auto kind = recording_.events()[prefix - 1].kind;
      using Kind = Recording::EventKind;
      if (kind == Kind::kMark) ++marks;
      marks_ = marks;
      // The end of a write and the begin of a flush allow nothing that was not allowed before.
      if (kind == Kind::kWriteBegin)
        at_prefix(prefix, true);
      else if (kind == Kind::kMark || kind == Kind::kFlushEnd || kind == Kind::kFlushFailed)
        at_prefix(prefix, false);
    }
    return shown_;
  }

 private:
  // With `newest_stays` the states without the newest write are left out: the prefix before has shown them.
  void at_prefix(std::size_t prefix, bool newest_stays) {
    prefix_ = prefix;
    unflushed_ = recording_.unflushed_at(prefix);
    const std::size_t count = unflushed_.size();
    std::vector<bool> kept(count, true);
    show(kept);
    if (count == 0) return;
    const std::size_t free = newest_stays ? count - 1 : count;

    if (count <= options_.exhaustive_up_to) {
      for (std::uint64_t bits = 0; bits < (1ULL << free) && !ended_; ++bits) {
        for (std::size_t i = 0; i < free; ++i) kept[i] = ((bits >> i) & 1U) != 0;
        show(kept);
      }
    } else {
      sample(kept, free);
    }
    if (options_.tears) tear(count, newest_stays);
  }

  void sample(std::vector<bool>& kept, std::size_t free) {
    const auto all = [&](bool value) {
      for (std::size_t i = 0; i < free; ++i) kept[i] = value;
    };
    for (const bool base : {false, true}) {
      all(base);
      show(kept);
      for (std::size_t i = 0; i < free && !ended_; ++i) {
        kept[i] = !base;
        show(kept);
        for (std::size_t j = i + 1; j < free && free <= options_.pairs_up_to && !ended_; ++j) {
          kept[j] = !base;
          show(kept);
          kept[j] = base;
        }
        kept[i] = base;
      }
    }
    all(false);
    for (std::size_t i = 0; i < free && !ended_; ++i) {
      kept[i] = true;
      show(kept);
    }
    for (std::size_t n = 0; n < options_.samples && !ended_; ++n) {
      for (std::size_t i = 0; i < free; ++i) kept[i] = random_.one_in(2);
      show(kept);
    }
  }

  // The newest write torn, or each of them, with all or none of the others.
  void tear(std::size_t count, bool newest_only) {
    for (std::size_t torn = newest_only ? count - 1 : 0; torn < count && !ended_; ++torn) {
      const std::uint64_t sectors = recording_.writes()[unflushed_[torn]].length_bytes / kSector;
      if (sectors < 2) continue;
      const Survivor parts[] = {
          {unflushed_[torn], 0, 1, true},
          {unflushed_[torn], sectors - 1, 1, true},
          {unflushed_[torn], sectors / 2, 1, true},
          {unflushed_[torn], 0, sectors / 2, false},
      };
      for (const Survivor& part : parts) {
        for (const bool others : {true, false}) {
          survivors_.clear();
          for (std::size_t i = 0; i < count; ++i) {
            if (i == torn)
              survivors_.push_back(part);
            else if (others)
              survivors_.push_back({unflushed_[i]});
          }
          show_survivors();
        }
      }
    }
  }

  void show(const std::vector<bool>& kept) {
    survivors_.clear();
    for (std::size_t i = 0; i < kept.size(); ++i)
      if (kept[i]) survivors_.push_back({unflushed_[i]});
    show_survivors();
  }

  void show_survivors() {
    if (ended_) return;
    const DiskImage content = recording_.content(prefix_, survivors_);
    const std::uint64_t hash = content.hash();
    // Odd multiplier: distinct counts of marks stay distinct.
    if (!seen_.insert(hash + marks_ * 0x9e3779b97f4a7c15ULL).second) return;
    ++shown_;
    if (!visit_({content, prefix_, survivors_, hash}) || shown_ >= options_.most_states) ended_ = true;
  }

  const Recording& recording_;
  const CrashOptions& options_;
  const std::function<bool(const CrashState&)>& visit_;
  Random random_;
  std::unordered_set<std::uint64_t> seen_;
  std::vector<std::size_t> unflushed_;
  std::vector<Survivor> survivors_;
  std::size_t prefix_ = 0;
  std::size_t marks_ = 0;
  std::size_t shown_ = 0;
  bool ended_ = false;
};

}  // namespace

std::size_t for_each_crash_state(const Recording& recording, const CrashOptions& options,
                                 const std::function<bool(const CrashState&)>& visit) {
  return Enumeration(recording, options, visit).run();
}

}  // namespace weft
