// tests/preload/greedy.cc - takes memory until there is none, in every way: tests/mem/limits_test.cc limits it. Stand-alone.
//
// Prints a line for each way, and what it got is freed in between; exits with 0 if each ended as the standard says.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kBlock = 100000;
std::size_t got = 0;
int handled = 0;

// A chain through themselves: nothing else is allocated.
void** chain = nullptr;
void keep(void* block) {
  *static_cast<void**>(block) = chain;
  chain = static_cast<void**>(block);
  got += kBlock;
}
void let_go() {
  while (chain != nullptr) {
    void** next = static_cast<void**>(*chain);
    std::free(chain);
    chain = next;
  }
  got = 0;
}

bool by_malloc() {
  for (;;) {
    errno = 0;
    void* volatile block = std::malloc(kBlock);
    if (block == nullptr) return errno == ENOMEM;
    keep(block);
  }
}

bool by_new() {
  try {
    for (;;) keep(::operator new(kBlock));
  } catch (const std::bad_alloc&) {
    return true;
  }
}

// The handler makes room once, and is asked again.
bool by_new_with_handler() {
  std::set_new_handler([] {
    if (++handled == 1) {
      let_go();
    } else {
      std::set_new_handler(nullptr);
    }
  });
  return by_new() && handled == 2;
}

bool by_new_nothrow() {
  for (;;) {
    void* volatile block = ::operator new(kBlock, std::nothrow);
    if (block == nullptr) return true;
    keep(block);
  }
}

bool by_vector() {
  std::vector<std::string> all;
  try {
    for (;;) all.emplace_back(1000, 'a');
  } catch (const std::bad_alloc&) {
    got = all.size() * 1000;
    return true;
  }
}

}  // namespace

int main() {
  struct Way {
    const char* name;
    bool (*take)();
  };
  int broken = 0;
  for (const Way& way : {Way{"malloc", by_malloc}, Way{"new", by_new}, Way{"handler", by_new_with_handler},
                         Way{"nothrow", by_new_nothrow}, Way{"vector", by_vector}}) {
    const bool well = way.take();
    const std::size_t bytes = got;
    let_go();
    std::printf("%s: %zu MiB%s\n", way.name, bytes >> 20, well ? "" : ", and then it was broken");
    broken += well ? 0 : 1;
  }
  return broken;
}
