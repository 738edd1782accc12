// tests/preload/count.cc - a load for counting the instructions of malloc and free (tests/bench/mem.sh, by callgrind, which collects
// what is done within the two functions of the names below).
//
//   count ROUNDS      a thousand blocks of 1 to 512 bytes are live; each round one of them is freed and one made
//
// The random numbers are the same each time. Stand-alone: built against nothing of Weft.
#include <array>
#include <cstdint>
#include <cstdlib>

extern "C" {
// Not tail calls: their ends would be missed.
[[gnu::noinline]] void* counted_malloc(std::size_t size) {
  void* block = std::malloc(size);
  asm volatile("" ::: "memory");
  return block;
}
[[gnu::noinline]] void counted_free(void* block) {
  std::free(block);
  asm volatile("" ::: "memory");
}
}

int main(int count, char** arguments) {
  std::array<void*, 1000> blocks{};
  std::uint64_t random = 88172645463325252;
  for (long round = count > 1 ? std::atol(arguments[1]) : 0; round > 0; --round) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    void*& block = blocks[random % blocks.size()];
    counted_free(block);
    block = counted_malloc(1 + random / 1024 % 512);
  }
  return 0;
}
