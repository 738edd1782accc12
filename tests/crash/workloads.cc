#include "tests/crash/workloads.h"

#include <array>
#include <numeric>
#include <utility>

#include "kernel/random.h"

namespace weft::crash {
namespace {

// Every operation the file system has, over two directories and a handful of names. What each image has: A with the file x (three
// blocks, one in part), the file y (100 bytes), the empty directory e and the symlink s; B with the file z (two blocks).
constexpr std::string_view kAlphabet[] = {
    "create A/n",
    "fifo A/n",
    "device B/n",
    "mkdir A/n",
    "mkdir B/n",
    "symlink A/n 20",
    "symlink B/n 3000",
    "link A/x B/n",
    "link A/y A/n",
    "unlink A/x",
    "unlink A/y",
    "unlink B/z",
    "unlink A/s",
    "rmdir A/e",
    "rename A/x A/n",
    "rename A/x B/n",
    "rename A/x A/y",
    "rename A/x B/z",
    "rename A/e B/n",
    "rename A/y B/n noreplace",
    "rename A/x B/z exchange",
    "rename A/e A/x exchange",
    "rename A/e B/z exchange",
    "rename A/x B/n whiteout",
    "rename A/y B/z whiteout",
    "write A/x 0 8192",
    "write A/x 4096 4096",
    "write A/x 100 50",
    "write A/x 5000 9000",
    "write A/y 0 100",
    "write A/y 20000 500",
    "write B/z 0 8192",
    "append A/x 3000",
    "append B/z 4096",
    "truncate A/x 0",
    "truncate A/x 4096",
    "truncate A/x 5000",
    "truncate A/x 50000",
    "truncate A/y 50 600",
    "reserve A/x 8192 20000",
    "keep B/z 8192 16384",
    "punch A/x 0 4096",
    "punch A/x 1000 5000",
    "zero A/x 2000 20000",
    "zerokeep B/z 0 4096",
    "copy A/x 0 B/z 4096 8192",
    "copy B/z 0 A/y 0 8192",
    "chmod A/x 600",
    "chown A/y 7",
    "touch A/x",
    "setxattr A/x user.a 60",
    "setxattr A/y user.b 3000",
    "setxattr A user.d 40",
    "removexattr A/x user.a",
    "flags A/x nodump",
    "flags A/y sync",
    "flags A dirsync",
    "tmpfile A/n 5000",
    "temporary B 5000",
    "orphan A/x 5000",
    "checkpoint",
};
constexpr std::uint64_t kOperations = std::size(kAlphabet);

enum class Setting : std::uint8_t { kPlain, kSmall, kFull, kWrap, kBrim, kDuringNodes, kDuringSuperblock, kDuringCopy };
constexpr std::uint64_t kSettings = 8;
constexpr std::uint64_t kSyncs = 4;

// What to sync after an operation: the object it was about, under its new name, or the directory it went from.
Operation sync_after(const Operation& operation, std::uint64_t kind) {
  if (kind == 1) return {"syncfs"};
  const std::string& verb = operation[0];
  std::string path = operation.size() > 1 ? operation[1] : "A";
  const bool exchange = operation.size() > 3 && operation[3] == "exchange";
  if (verb == "link" || (verb == "rename" && !exchange)) path = operation[2];
  if (verb == "copy") path = operation[3];
  if (verb == "unlink" || verb == "rmdir" || verb == "orphan") path = path.substr(0, path.find('/'));
  return {kind == 2 ? "fsync" : "fdatasync", path};
}

// Image and what comes first.
Workload begun(Setting setting, std::uint64_t variant) {
  switch (setting) {
    case Setting::kPlain: return {.image = "plain", .operations = {}};
    case Setting::kFull: return {.image = "full", .operations = {}};
    case Setting::kWrap:
      return {.image = "small", .operations = {{"advance", std::to_string(500 + variant % 4 * 500)}}};
    case Setting::kBrim: return {.image = "small", .operations = {{"brim", std::to_string(variant % 8 * 700)}}};
    default: return {.image = "small", .operations = {}};
  }
}

Operation during(Setting setting) {
  return {"during", std::to_string(static_cast<int>(setting) - static_cast<int>(Setting::kDuringNodes))};
}

bool is_during(Setting setting) { return setting >= Setting::kDuringNodes; }

void add(Workload& workload, std::string_view operation, std::uint64_t sync) {
  workload.operations.push_back(parse_operation(operation));
  if (sync != 0) workload.operations.push_back(sync_after(workload.operations.back(), sync));
}

std::vector<Workload> make_special() {
  std::vector<Workload> all;
  const auto take = [&](const std::string& text) { all.push_back(Workload::parse(text)); };
  // Files without copy-on-write, whose new blocks are flushed before they are mapped.
  for (const char* sync : {"", "; fsync A/n", "; fdatasync A/n", "; syncfs"}) {
    const std::string nocow = "create A/n; flags A/n nocow; ";
    for (const char* image : {"small; ", "plain; ", "small; advance 1500; ", "full; "}) {
      take(image + nocow + "write A/n 0 8192" + sync);
      take(image + nocow + "write A/n 0 8192" + sync + "; write A/n 8192 8192" + sync);
      take(image + nocow + "write A/n 8192 4096" + sync + "; write A/n 0 4096; chmod A/x 600" + sync);
      take(image + nocow + "syncfs; write A/n 0 4096; syncfs; truncate A/n 0" + sync + "; write A/n 0 4096" + sync);
    }
  }

  // Records of one batch: the power goes between them, and again in the next life, which writes records of the same sizes.
  std::string batch;
  for (int i = 0; i < 10; ++i) batch += "; setxattr A/x user.k" + std::to_string(i) + " 9000";
  std::string shorter = batch.substr(0, batch.rfind(';'));
  for (const std::string& sync : {std::string("; syncfs"), std::string("; fsync A/x")}) {
    take("plain" + batch + sync);
    take("plain" + batch + sync + "; chmod A/y 600" + sync);
    for (int n = 0; n < 24; ++n) {
      const std::string cut = "; crash " + std::to_string(n);
      take("plain" + batch + sync + cut + batch + sync);
      take("plain" + batch + sync + cut + shorter + sync);
    }
  }
  std::string two_records;
  for (int i = 0; i < 7; ++i) two_records += "; setxattr A/x user.k" + std::to_string(i) + " 8000";
  for (int n = 0; n < 24; ++n)
    take("small" + two_records + two_records + "; syncfs; crash " + std::to_string(n) + two_records + "; syncfs");

  // Space that is freed, and asked for again at once.
  for (const char* image : {"full; ", "small; "}) {
    for (const char* sync : {"", "; syncfs"}) {
      for (const char* again : {"write B/z 0 8192", "write A/y 0 12000", "create B/n; write B/n 0 12288"}) {
        take(std::string(image) + "unlink A/x" + sync + "; " + again + "; syncfs; " + again + "; syncfs");
        take(std::string(image) + "truncate A/x 0" + sync + "; " + again + "; checkpoint; " + again + "; syncfs");
        take(std::string(image) + "write A/x 0 8192" + sync + "; during 0; " + again + "; syncfs; " + again +
             "; syncfs");
        take(std::string(image) + "write A/x 0 8192; during 1; " + again + "; " + again + sync + "; " + again);
      }
    }
  }
  // Nodes and data compete for the last blocks, and the log has both.
  for (const char* first : {"symlink A/n 4000", "setxattr A/x user.b 6000", "mkdir B/n"}) {
    for (const char* sync : {"", "; syncfs"}) {
      take(std::string("full; ") + first + "; write A/x 0 8192; append A/y 9000" + sync);
      take(std::string("full; write A/x 0 8192; ") + first +
           "; unlink B/z; write A/x 4096 12288; setxattr A/y user.b 3000" + sync);
    }
  }
  // A write that has to wait for a checkpoint in its middle, if it had a middle.
  for (int left = 0; left < 6000; left += 300) {
    take("small; brim " + std::to_string(left) + "; write A/x 0 24576; fsync A/x");
    take("small; brim " + std::to_string(left) + "; rename A/x B/n; chmod B/n 600; write B/n 0 8192");
  }
  // Operations of several steps, with a checkpoint between any two of these.
  for (int left = 0; left < 6000; left += 300) {
    for (const char* one :
         {"truncate A/m 0", "truncate A/m 13000", "punch A/m 0 250000", "unlink A/m", "zero A/m 0 300000"})
      take("many; brim " + std::to_string(left) + "; " + one + "; chmod A/x 600");
  }
  // Checkpoints that move on through the last free blocks, so that recovery begins to place nodes elsewhere than the first life.
  std::string moved = "full";
  for (int i = 0; i < 8; ++i) {
    moved += "; chmod A/x 60" + std::to_string(i) + "; checkpoint";
    take(moved + "; write A/x 0 4096; syncfs");
    take(moved + "; setxattr A/y user.b 50; write A/x 0 8192; write A/y 0 100; syncfs");
    take(moved + "; mkdir B/n; append A/y 9000; chmod A/x 600; write B/z 4096 4096; syncfs");
  }
  // Several checkpoints in a row, so that all slots of superblock and bitmaps come round.
  for (const char* between : {"write A/x 0 8192", "create A/n; unlink A/n", "append A/y 5000"}) {
    std::string text = "small";
    for (int i = 0; i < 5; ++i) text += std::string("; ") + between + "; checkpoint";
    take(text);
    take(text + "; " + between + "; syncfs");
  }

  // Many extents, large writes: last, since each state of these costs more.
  const std::vector<std::string> syncs = {"", "; syncfs"};
  const std::vector<std::string> large = {
      "truncate A/m 0",      "truncate A/m 13000",       "unlink A/m",
      "punch A/m 0 250000",  "punch A/m 5000 200000",    "zero A/m 0 300000",
      "write A/b 0 1300000", "write A/b 500000 1200000", "truncate A/b 100",
      "append A/b 1100000",  "copy A/b 0 A/m 0 1300000", "orphan A/m 100",
      "rename A/b A/m",      "reserve A/m 0 300000",     "link A/m B/n",
      "write A/m 0 200000",
  };
  for (const std::string& one : large) {
    const std::string image = one.contains("A/b") ? "large; " : "many; ";
    for (const std::string& sync : syncs) take(image + one + sync);
    take(image + "during 0; " + one + "; syncfs");
    take(image + "advance 3000; " + one + "; syncfs; chmod A/x 600; syncfs");
  }
  for (const std::string& one : large) {
    for (const std::string& two : large) {
      const bool moves_much = one.contains("A/b") || two.contains("A/b");  // a second each
      if (one != two && !moves_much) take("many; " + one + "; fsync A; " + two + "; syncfs");
    }
  }
  return all;
}

}  // namespace

std::string_view name_of(Family family) noexcept {
  constexpr std::array<std::string_view, kFamilies> names = {"special", "of one", "of two", "random"};
  return names[static_cast<std::size_t>(family)];
}

Workloads::Workloads(std::uint64_t seed) : seed_(seed), special_(make_special()) {}

std::uint64_t Workloads::size(Family family) const noexcept {
  switch (family) {
    case Family::kSpecial: return special_.size();
    case Family::kSingle: return kSettings * kOperations * kSyncs;
    case Family::kPair: return kSettings * kOperations * kOperations * kSyncs * kSyncs;
    case Family::kRandom: break;
  }
  return 0;
}

std::uint64_t Workloads::systematic() const noexcept {
  return size(Family::kSpecial) + size(Family::kSingle) + 2 * size(Family::kPair);
}

Workloads::Numbered Workloads::at(std::uint64_t number) const {
  if (number < special_.size()) return {Family::kSpecial, special_[number]};
  number -= special_.size();
  if (number < size(Family::kSingle)) return {Family::kSingle, single(number)};
  number -= size(Family::kSingle);
  const std::uint64_t pairs = size(Family::kPair);
  if (number >= 2 * pairs) return {Family::kRandom, random(number - pairs)};
  if (number % 2 == 1) return {Family::kRandom, random(number / 2)};
  // A step that shares no factor with their number visits all of them.
  std::uint64_t step = (pairs / 3 * 2 + seed_ * 2) | 1;
  while (std::gcd(step, pairs) != 1) step += 2;
  return {Family::kPair, pair(static_cast<std::uint64_t>(static_cast<__uint128_t>(number / 2) * step % pairs))};
}

Workload Workloads::single(std::uint64_t index) const {
  const auto setting = static_cast<Setting>(index % kSettings);
  index /= kSettings;
  Workload workload = begun(setting, index);
  if (is_during(setting)) workload.operations.push_back(during(setting));
  add(workload, kAlphabet[index / kSyncs % kOperations], index % kSyncs);
  return workload;
}

Workload Workloads::pair(std::uint64_t index) const {
  const auto next = [&](std::uint64_t below) { return std::exchange(index, index / below) % below; };
  const auto setting = static_cast<Setting>(next(kSettings));
  const std::uint64_t between = next(kSyncs), after = next(kSyncs);
  const std::uint64_t first = next(kOperations), second = next(kOperations);
  Workload workload = begun(setting, first + second);
  add(workload, kAlphabet[first], between);
  if (is_during(setting)) workload.operations.push_back(during(setting));
  add(workload, kAlphabet[second], after);
  return workload;
}

Workload Workloads::random(std::uint64_t index) const {
  Random random(seed_ * 0x9e3779b97f4a7c15ULL + index);
  static constexpr std::string_view kPaths[] = {"A/x", "A/y", "A/n", "B/z", "B/n", "A/e", "A", "B", "B/e/n"};
  const auto setting = static_cast<Setting>(random.below(kSettings));
  Workload workload = begun(setting, random.next());
  const std::uint64_t length = random.between(3, 12);
  bool inside = false;
  for (std::uint64_t i = 0; i < length; ++i) {
    Operation operation = parse_operation(kAlphabet[random.below(kOperations)]);
    // Other names and numbers than the alphabet's, of the same kind.
    for (std::size_t word = 1; word < operation.size(); ++word) {
      const char first = operation[word][0];
      if (first == 'A' || first == 'B') {
        if (random.one_in(2)) operation[word] = kPaths[random.below(std::size(kPaths))];
      } else if (first >= '0' && first <= '9' && operation[0] != "chmod" &&
                 !(operation[0] == "truncate" && word == 3)) {
        const std::uint64_t value = std::stoull(operation[word]);
        if (random.one_in(3)) operation[word] = std::to_string(1 + random.below(value * 2 + 5000));
        if (random.one_in(6)) operation[word] = std::to_string(4096 * random.between(1, 6));
      }
    }
    workload.operations.push_back(operation);
    if (random.one_in(2)) workload.operations.push_back(sync_after(operation, random.between(1, 3)));
    if (is_during(setting) && !inside && random.one_in(3)) {
      workload.operations.push_back(during(setting));
      inside = true;
    }
    if (!inside && random.one_in(12)) workload.operations.push_back({"crash", std::to_string(random.below(64))});
  }
  return workload;
}

}  // namespace weft::crash
