// tests/preload/aligned.cc - aligned blocks of all sizes, used rightly and wrongly: tests/mem/hardened_test.cc.
//
//   aligned right|twice|before|beyond
//
// Stand-alone: built against nothing of Weft, and without the compiler's knowledge of malloc.
#include <malloc.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

constexpr std::array<std::size_t, 7> kSizes{1, 40, 500, 1000, 5000, 40000, 300000};
constexpr std::array<std::size_t, 6> kAligns{32, 64, 256, 4096, 16384, 65536};

char* get(std::size_t align, std::size_t size) {
  void* block = nullptr;
  if (posix_memalign(&block, align, size) != 0) std::abort();
  if (reinterpret_cast<std::uintptr_t>(block) % align != 0 || malloc_usable_size(block) < size) {
    std::printf("%zu bytes are not aligned to %zu, or too few\n", size, align);
    std::exit(1);
  }
  std::memset(block, 'a', size);
  return static_cast<char*>(block);
}

void use_rightly(std::size_t align, std::size_t size) {
  std::array<char*, 40> blocks{};
  for (char*& block : blocks) block = get(align, size);
  for (char* block : blocks) {
    auto* moved = static_cast<char*>(std::realloc(block, size + 100));
    if (moved[0] != 'a' || moved[size - 1] != 'a') std::abort();
    std::free(moved);
  }
  void* made = ::operator new(size, std::align_val_t{align});
  ::operator delete(made, size, std::align_val_t{align});
}

}  // namespace

int main(int count, char** arguments) {
  const char* what = count > 1 ? arguments[1] : "";
  if (std::strcmp(what, "right") == 0) {
    for (const std::size_t align : kAligns) {
      for (const std::size_t size : kSizes) use_rightly(align, size);
    }
    std::puts("right");
    return 0;
  }
  // Whose larger block it begins depends on where that lies.
  std::array<volatile char*, 40> blocks{};
  for (auto& block : blocks) block = get(64, 100);
  for (auto& block : blocks) {
    if (std::strcmp(what, "before") == 0) block[-1] = static_cast<char>(~block[-1]);
    if (std::strcmp(what, "beyond") == 0) std::memset(const_cast<char*>(block) + 100, 'x', 100);
    std::free(const_cast<char*>(block));
    if (std::strcmp(what, "twice") == 0) std::free(const_cast<char*>(block));
  }
  return 0;
}
