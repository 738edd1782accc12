// tests/preload/misuse.cc - what programs do wrong with memory, one case a run: tests/mem/hardened_test.cc counts which a heap stops.
//
//   misuse           lists the cases, one a line: number, kind, what it is
//   misuse NUMBER    does it, and exits with 0 if nobody stopped it
//
// Stand-alone: built against nothing of Weft, and without the compiler's knowledge of malloc.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace {

struct Case {
  const char* kind;
  std::size_t size;
  std::ptrdiff_t at;  // from the start, from the end, or how many blocks lie between
};

constexpr std::size_t kSizes[] = {8, 24, 40, 100, 500, 2000, 10000, 40000, 100000, 1000000};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::size_t size : kSizes) {
    for (const std::ptrdiff_t at : {0, 3, 15}) cases.push_back({"overflow", size, at});
    for (const std::ptrdiff_t at : {0, 5000}) cases.push_back({"overflow far", size, at * 4});
    for (const std::ptrdiff_t at : {1, 8}) cases.push_back({"underflow", size, at});
    for (const std::ptrdiff_t at : {0, 1, 20}) cases.push_back({"double free", size, at});
    cases.push_back({"double delete", size, 0});
    cases.push_back({"interior free", size, 8});
    cases.push_back({"interior free", size, static_cast<std::ptrdiff_t>(size / 2 & ~7UL) + 8});
    cases.push_back({"write after free", size, 0});
    cases.push_back({"write after free", size, static_cast<std::ptrdiff_t>(size / 2)});
    cases.push_back({"read after free", size, 0});
    cases.push_back({"reuse at once", size, 0});
    cases.push_back({"realloc after free", size, 0});
    cases.push_back({"wrong size", size, 1});
    cases.push_back({"free of the next", size, 0});
  }
  cases.push_back({"zero size", 0, 0});
  cases.push_back({"zero size", 0, 7});
  for (const std::ptrdiff_t at : {0, 8, 64}) cases.push_back({"free of the stack", 0, at});
  cases.push_back({"free of a constant", 0, 0});
  cases.push_back({"free of nowhere", 0, 0x123450});
  return cases;
}

char* get(std::size_t size) {
  auto* block = static_cast<char*>(std::malloc(size));
  std::memset(block, 'a', size);
  return block;
}

// Enough of the same size for whatever waits to come back.
void use_others(std::size_t size) {
  std::vector<char*> blocks;
  const int count = size < 20000 ? 3000 : 100;
  blocks.reserve(count);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < count; ++i) blocks.push_back(get(size));
    for (char* block : blocks) std::free(block);
    blocks.clear();
  }
}

// False: what it read is not there any more, which is as good as being stopped.
// (By value: an overflow may reach where the cases lie.)
bool do_it(Case wrong) {
  const std::string kind = wrong.kind;
  const std::size_t size = wrong.size;
  if (kind == "free of the stack") {
    volatile char here[256] = {};
    std::free(const_cast<char*>(here) + wrong.at);
    return true;
  }
  if (kind == "free of a constant") {
    static const char text[] = "a constant";
    std::free(const_cast<char*>(text));
    return true;
  }
  if (kind == "free of nowhere") {
    std::free(reinterpret_cast<void*>(wrong.at));
    return true;
  }
  char* before = get(size);
  char* block = get(size);
  char* after = get(size);
  volatile char* at = block;
  if (kind == "overflow" || kind == "zero size") {
    at[size + wrong.at] = 'x';
  } else if (kind == "overflow far") {
    for (std::size_t i = 0; i <= static_cast<std::size_t>(wrong.at); ++i) at[size + i] = 'x';
  } else if (kind == "underflow") {
    at[-wrong.at] = 'x';
  } else if (kind == "double free") {
    std::free(block);
    for (std::ptrdiff_t i = 0; i < wrong.at; ++i) std::free(get(size));
  } else if (kind == "double delete") {
    operator delete(block);
    operator delete(block);
    return true;
  } else if (kind == "interior free") {
    std::free(block + wrong.at);
    return true;
  } else if (kind == "write after free") {
    std::free(block);
    at[wrong.at] = 'x';
    use_others(size);
    return true;
  } else if (kind == "read after free") {
    std::free(block);
    return at[size - 1] == 'a';
  } else if (kind == "reuse at once") {
    std::free(block);
    return get(size) == block;
  } else if (kind == "realloc after free") {
    std::free(block);
    std::free(std::realloc(block, size * 2));
    return true;
  } else if (kind == "wrong size") {
    void* made = operator new(size);
    operator delete(made, size + 1000);
    return true;
  } else if (kind == "free of the next") {
    std::free(block + ((size + 16 + 15) & ~15UL) + 8);
    return true;
  }
  std::free(block);
  std::free(after);
  std::free(before);
  use_others(size);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<Case> cases = all_cases();
  if (count < 2) {
    for (std::size_t i = 0; i < cases.size(); ++i)
      std::printf("%zu %s of %zu bytes, %td\n", i, cases[i].kind, cases[i].size, cases[i].at);
    return 0;
  }
  const std::size_t number = std::strtoul(arguments[1], nullptr, 10);
  if (number >= cases.size()) return 2;
  return do_it(cases[number]) ? 0 : 3;
}
