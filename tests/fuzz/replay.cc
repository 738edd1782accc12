// tests/fuzz/replay.cc - main() of a fuzz target where libFuzzer is not: runs its corpus and a seeded few mutations.
//
//   make test  ->  [replay]  ->  LLVMFuzzerTestOneInput of tests/fuzz/<name>_fuzz.cc
//
// So every finding that was kept in tests/fuzz/corpus/<name>/ is a regression test, with any compiler. The mutations
// cost a second or two at most; `make fuzz` is the search in earnest. WEFT_TEST_SEED chooses other ones.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr int kMutations = 2000;
constexpr auto kMutationTime = std::chrono::seconds(1);
constexpr std::size_t kLargestAddition = 64;

Input read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(file), {});
}

// Flips, overwrites, cuts or adds a few bytes; values that parsers trip over are likelier than chance has them.
void mutate(Input& input, std::mt19937_64& random) {
  static constexpr std::uint8_t kTelling[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
  for (std::size_t step = 1 + below(8); step > 0; --step) {
    if (input.empty() || below(8) == 0) {
      const std::size_t added = 1 + below(kLargestAddition);
      const std::size_t at = below(input.size() + 1);
      Input bytes(added);
      for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
      input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin(), bytes.end());
    } else if (below(8) == 0) {
      input.resize(below(input.size()) + 1);
    } else if (below(2) == 0) {
      input[below(input.size())] ^= static_cast<std::uint8_t>(1u << below(8));
    } else {
      input[below(input.size())] = kTelling[below(std::size(kTelling))];
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Input> corpus;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::printf("%s\n", entry.path().c_str());
      std::fflush(stdout);  // the last name printed is the one that crashed
      corpus.push_back(read_file(entry.path()));
      LLVMFuzzerTestOneInput(corpus.back().data(), corpus.back().size());
    }
  }
  const std::size_t kept = corpus.size();
  if (corpus.empty()) corpus.emplace_back();

  const char* given = std::getenv("WEFT_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
  std::printf("mutations from WEFT_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  const auto end = std::chrono::steady_clock::now() + kMutationTime;
  int done = 0;
  for (; done < kMutations && std::chrono::steady_clock::now() < end; ++done) {
    Input input = corpus[random() % corpus.size()];
    mutate(input, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu of the corpus, %d mutations\n", kept, done);
  return 0;
}
