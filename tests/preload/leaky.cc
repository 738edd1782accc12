// tests/preload/leaky.cc - a program with leaks of known size: tests/mem/profile_test.cc looks for them in its profile.
//
// 48 MiB in small blocks, in turn with as many of the same size that are freed at once, and 32 MiB in large ones that grew; freed
// are 100 MiB. With an argument that begins with a digit, as many seconds of sleep follow. Stand-alone.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

extern "C" {

// On the stack when malloc is called: not their last call.
#define WEFT_RETURNED(block)       \
  void* volatile returned = block; \
  return returned

[[gnu::noinline]] void* leak_small() { WEFT_RETURNED(std::malloc(1000)); }
[[gnu::noinline]] void* for_a_moment() { WEFT_RETURNED(std::malloc(1000)); }
[[gnu::noinline]] void* leak_large() { WEFT_RETURNED(std::realloc(std::malloc(40000), 1 << 20)); }
[[gnu::noinline]] void* free_later() { WEFT_RETURNED(new char[2000]); }

}  // extern "C"

namespace {

// Where somebody may find them.
void** first;

void keep(void* block) {
  *static_cast<void**>(block) = first;
  first = static_cast<void**>(block);
}

}  // namespace

int main(int count, char** words) {
  for (int i = 0; i < (48 << 20) / 1000; ++i) {
    keep(leak_small());
    void* volatile moment = for_a_moment();
    std::free(moment);
  }
  for (int i = 0; i < 32; ++i) keep(leak_large());
  std::string* texts = new std::string[10];
  for (int i = 0; i < (100 << 20) / 2000; ++i) {
    auto* each = static_cast<char*>(free_later());
    std::memset(each, 'a', 2000);
    texts[i % 10].assign(each, 1999);
    delete[] each;
  }
  delete[] texts;
  if (count > 1) sleep(static_cast<unsigned>(std::atoi(words[1])));
  return 0;
}
