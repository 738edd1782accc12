#include "tests/crash/search.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "kernel/crash_states.h"

namespace weft::crash {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t x = a ^ b * 0x9e3779b97f4a7c15ULL;
  x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL;
  return x ^ x >> 32;
}

// Which states are legal may not depend on how often or in which order the trees came.
std::uint64_t hash_of_set(std::span<const std::uint64_t> trees) {
  std::vector<std::uint64_t> sorted(trees.begin(), trees.end());
  std::ranges::sort(sorted);
  const auto repeated = std::ranges::unique(sorted);
  sorted.erase(repeated.begin(), repeated.end());
  std::uint64_t hash = 0;
  for (const std::uint64_t tree : sorted) hash = mix(hash, tree);
  return hash;
}

CrashOptions options_at(unsigned depth, std::uint64_t seed) {
  CrashOptions options;
  options.seed = seed;
  if (depth > 0) options.exhaustive_up_to = 6, options.samples = 8;
  return options;
}

std::uint64_t promised_at(const Recording& recording, std::size_t prefix) {
  std::uint64_t promised = 0;
  for (std::size_t i = 0; i < prefix; ++i) {
    const auto& event = recording.events()[i];
    if (event.kind == Recording::EventKind::kMark) promised = std::max(promised, event.subject);
  }
  return promised;
}

std::string text_of(const Crash& crash) {
  std::string out = std::to_string(crash.prefix) + ":";
  for (const auto& survivor : crash.survivors) {
    out += " " + std::to_string(survivor.write);
    const bool whole = survivor.first_sector == 0 && survivor.sectors > 0xffffffffU && !survivor.all_but;
    if (!whole) {
      out += (survivor.all_but ? "-" : "+") + std::to_string(survivor.first_sector) + "+" +
             std::to_string(survivor.sectors);
    }
  }
  return out;
}

Crash parse_crash(const std::string& text) {
  Crash crash;
  for (const std::string& word : split(text, ' ')) {
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(word.c_str(), &end, 10);
    if (*end == ':') {
      crash.prefix = value;
      continue;
    }
    Recording::Survivor survivor{.write = value};
    if (*end == '+' || *end == '-') {
      survivor.all_but = *end == '-';
      survivor.first_sector = std::strtoull(end + 1, &end, 10);
      if (*end == '+') survivor.sectors = std::strtoull(end + 1, &end, 10);
    }
    crash.survivors.push_back(survivor);
  }
  return crash;
}

}  // namespace

std::string Case::text() const {
  std::string out = workload.text();
  for (std::size_t i = 0; i < crashes.size(); ++i) out += (i == 0 ? " @ " : " / ") + text_of(crashes[i]);
  return out;
}

Case Case::parse(std::string_view text) {
  Case result;
  const auto parts = split(text, '@');
  if (parts.empty()) return result;
  result.workload = Workload::parse(parts[0]);
  if (parts.size() > 1) {
    // A slash between spaces: those of paths have none.
    std::string_view rest = parts[1];
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(" / "), rest.size());
      result.crashes.push_back(parse_crash(std::string(rest.substr(0, end))));
      rest.remove_prefix(std::min(end + 3, rest.size()));
    }
  }
  return result;
}

Search::Search(Seen& contents, Seen& judged, SearchOptions options)
    : contents_(contents), judged_(judged), options_(std::move(options)), oracle_(options_.remember) {}

std::string Search::check(const DiskImage& content, std::span<const std::uint64_t> legal, Verdict& verdict) {
  verdict = oracle_.judge(content);
  if (!verdict.wrong.empty()) return verdict.wrong;
  if (std::ranges::find(legal, verdict.tree) == legal.end()) return "the tree is none of those it may be";
  return {};
}

bool Search::explore(const Recording& recording, const Life* life, std::uint64_t tree, unsigned depth) {
  // Of the top: from the last mark to the end. Inside a recovery: what undisturbed recovery finds.
  std::span<const std::uint64_t> legal =
      life != nullptr ? std::span<const std::uint64_t>(life->history) : std::span<const std::uint64_t>(&tree, 1);
  std::uint64_t legal_hash = hash_of_set(legal);
  std::size_t seen_events = 0;
  std::uint64_t promised = 0;
  path_.resize(depth + 1);
  for_each_crash_state(recording, options_at(depth, options_.seed), [&](const CrashState& state) {
    ++counts_.shown;
    if (life != nullptr) {
      for (; seen_events < state.prefix; ++seen_events) {
        const auto& event = recording.events()[seen_events];
        if (event.kind != Recording::EventKind::kMark || event.subject <= promised) continue;
        promised = event.subject;
        legal = std::span(life->history).subspan(promised);
        legal_hash = hash_of_set(legal);
      }
    }
    contents_.insert(state.hash);
    if (!judged_.insert(mix(state.hash, legal_hash))) return true;
    ++counts_.states;
    Verdict verdict;
    if (std::string reason = check(state.content, legal, verdict); !reason.empty()) {
      path_[depth] = {.prefix = state.prefix, .survivors = state.survivors};
      failure_ = Failure{.where = {.workload = *workload_, .crashes = path_}, .reason = std::move(reason)};
      return false;
    }
    if (depth < options_.recoveries && mix(state.hash, options_.seed) % options_.recover_one_in == 0) {
      path_[depth] = {.prefix = state.prefix, .survivors = state.survivors};
      const Recording recovery = Oracle::record_recovery(state.content);
      if (!explore(recovery, nullptr, verdict.tree, depth + 1)) return false;
      path_.resize(depth + 1);
    }
    return !options_.enough || !options_.enough();
  });
  return !failure_.has_value();
}

std::optional<Failure> Search::run(const Workload& workload) {
  workload_ = &workload;
  failure_.reset();
  path_.clear();
  const Life life = live(workload, options_.bug);
  if (!life.wrong.empty()) return Failure{.where = {.workload = workload, .crashes = {}}, .reason = life.wrong};
  explore(life.recording, &life, 0, 0);
  counts_.recovered = oracle_.recovered();
  return std::move(failure_);
}

Failure Search::shrink(Failure failure) {
  for (bool smaller = true; smaller;) {
    smaller = false;
    for (std::size_t i = failure.where.workload.operations.size(); i-- > 0;) {
      Workload fewer = failure.where.workload;
      fewer.operations.erase(fewer.operations.begin() + static_cast<std::ptrdiff_t>(i));
      Seen contents(1 << 20);
      Seen judged(1 << 20);
      SearchOptions options = options_;
      options.enough = nullptr;
      Search again(contents, judged, options);
      if (auto found = again.run(fewer)) {
        failure = std::move(*found);
        smaller = true;
      }
    }
  }
  return failure;
}

bool replay(const Case& what, DiskBug bug) {
  std::printf("%s\n", what.text().c_str());
  const Life life = live(what.workload, bug);
  if (!life.wrong.empty()) {
    std::printf("the workload goes wrong: %s\n", life.wrong.c_str());
    return true;
  }
  using Kind = Recording::EventKind;
  const auto show = [](const Recording& recording, const Crash& crash) {
    const auto unflushed = recording.unflushed_at(crash.prefix);
    for (std::size_t i = 0; i < std::min(crash.prefix, recording.events().size()); ++i) {
      const auto& event = recording.events()[i];
      if (event.kind == Kind::kWriteBegin) {
        const auto& write = recording.writes()[event.subject];
        const bool at_stake = std::ranges::find(unflushed, event.subject) != unflushed.end();
        std::printf("  write %llu: block %llu, %llu bytes%s\n", static_cast<unsigned long long>(event.subject),
                    static_cast<unsigned long long>(write.offset_bytes / DiskImage::kChunkBytes),
                    static_cast<unsigned long long>(write.length_bytes), at_stake ? ", not flushed" : "");
      }
      if (event.kind == Kind::kFlushEnd) std::printf("  flush\n");
      if (event.kind == Kind::kMark)
        std::printf("  state %llu is promised\n", static_cast<unsigned long long>(event.subject));
    }
    std::printf("  power off, left of what was not flushed: %s\n", text_of(crash).c_str());
  };
  Recording recording = life.recording;
  std::span<const std::uint64_t> legal = life.history;
  std::uint64_t tree = 0;
  bool failed = false;
  for (std::size_t depth = 0; depth < what.crashes.size(); ++depth) {
    const Crash& crash = what.crashes[depth];
    if (crash.prefix > recording.events().size()) {
      std::printf("there are only %zu events\n", recording.events().size());
      return false;
    }
    std::printf(depth == 0 ? "on the disk:\n" : "recovery writes:\n");
    show(recording, crash);
    if (depth == 0) legal = legal.subspan(promised_at(recording, crash.prefix));
    const DiskImage content = recording.content(crash.prefix, crash.survivors);
    Oracle oracle(false);
    const Verdict verdict = oracle.judge(content);
    const bool is_legal = std::ranges::find(legal, verdict.tree) != legal.end();
    failed = !verdict.wrong.empty() || !is_legal;
    std::printf("recovery finds:\n%s", Oracle::look_at(content).c_str());
    std::printf("%s\n", !verdict.wrong.empty() ? verdict.wrong.c_str()
                        : is_legal             ? "which is right"
                                               : "which is none of the legal trees");
    if (failed && depth == 0) {
      for (std::size_t i = life.history.size() - legal.size(); i < life.trees.size(); ++i)
        std::printf("legal, state %zu:\n%s", i, life.trees[i].c_str());
    }
    if (failed) break;
    tree = verdict.tree;
    legal = std::span(&tree, 1);
    recording = Oracle::record_recovery(content);
  }
  return failed;
}

}  // namespace weft::crash
