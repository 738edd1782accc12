// tests/preload/rules.cc - what standards and manuals demand of malloc and its kin, asked by a program that knows nothing of
// whose heap it has. Run by tests/mem/preload_test.cc with and without ours; prints each broken rule, exits with their number.
//
// Stand-alone: built against nothing of Weft.
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

extern "C" {
void free_sized(void*, std::size_t) __attribute__((weak));
void free_aligned_sized(void*, std::size_t, std::size_t) __attribute__((weak));
void* __libc_malloc(std::size_t);
}

namespace {

int broken = 0;
void expect(bool holds, const char* rule) {
  if (holds) return;
  std::printf("broken: %s\n", rule);
  ++broken;
}
bool aligned(const void* block, std::size_t to) { return reinterpret_cast<std::uintptr_t>(block) % to == 0; }

// Not known to the compiler, which otherwise knows what malloc() does with them.
volatile std::size_t huge = SIZE_MAX;
volatile std::size_t more_than_a_difference = static_cast<std::size_t>(PTRDIFF_MAX) + 1;

void refusals() {
  errno = 0;
  expect(malloc(huge - 8) == nullptr && errno == ENOMEM, "malloc(SIZE_MAX - 8) is ENOMEM");
  errno = 0;
  expect(malloc(more_than_a_difference) == nullptr && errno == ENOMEM, "malloc(PTRDIFF_MAX + 1) is ENOMEM");
  errno = 0;
  expect(calloc(huge / 2, 3) == nullptr && errno == ENOMEM, "calloc() whose product overflows is ENOMEM");
  void* volatile block = malloc(10);
  std::memset(block, 7, 10);
  errno = 0;
  expect(realloc(block, huge - 8) == nullptr && errno == ENOMEM, "realloc(SIZE_MAX - 8) is ENOMEM");
  errno = 0;
  expect(reallocarray(block, huge / 2, 3) == nullptr && errno == ENOMEM,
         "reallocarray() whose product overflows is ENOMEM");
  expect(static_cast<char*>(block)[9] == 7, "a realloc() that fails leaves the block");
  free(block);
  errno = 0;
  expect(pvalloc(huge - 8) == nullptr && errno == ENOMEM, "pvalloc(SIZE_MAX - 8) is ENOMEM");
  errno = 0;
  expect(memalign(4096, huge - 8) == nullptr && errno == ENOMEM, "memalign(4096, SIZE_MAX - 8) is ENOMEM");
}

void alignments() {
  void* block = nullptr;
  for (std::size_t align = 8; align <= 1 << 20; align *= 2) {
    expect(posix_memalign(&block, align, 100) == 0 && aligned(block, align), "posix_memalign() aligns");
    free(block);
    block = aligned_alloc(align, align * 2);
    expect(block != nullptr && aligned(block, align), "aligned_alloc() aligns");
    free(block);
    block = memalign(align, 33);
    expect(block != nullptr && aligned(block, align) && malloc_usable_size(block) >= 33, "memalign() aligns");
    std::memset(block, 1, malloc_usable_size(block));
    free(block);
  }
  errno = 0;
  block = &block;
  void* before = block;
  expect(posix_memalign(&block, 24, 10) == EINVAL && block == before,
         "posix_memalign(24) is EINVAL and leaves the pointer");
  expect(posix_memalign(&block, 4, 10) == EINVAL, "posix_memalign(4) is EINVAL");
  expect(posix_memalign(&block, 16, huge - 8) == ENOMEM && block == before, "posix_memalign(SIZE_MAX - 8) is ENOMEM");
  expect(errno == 0, "posix_memalign() leaves errno alone");
  block = memalign(48, 10);
  expect(block != nullptr && aligned(block, 64), "memalign(48) aligns to 64, as glibc does");
  free(block);
  block = valloc(1);
  expect(aligned(block, 4096), "valloc() aligns to a page");
  free(block);
  block = pvalloc(1);
  expect(aligned(block, 4096) && malloc_usable_size(block) >= 4096, "pvalloc() gives whole pages");
  free(block);
}

void sizes() {
  void* a = malloc(0);
  void* b = malloc(0);
  expect(a != nullptr && b != nullptr && a != b, "malloc(0) gives blocks of their own");
  free(a);
  free(b);
  void* block = malloc(100);
  errno = 55;
  expect(realloc(block, 0) == nullptr && errno == 55, "realloc(p, 0) frees");
  auto* zeros = static_cast<unsigned char*>(calloc(1000, 100));
  bool zero = true;
  for (int i = 0; i < 100000; ++i) zero = zero && zeros[i] == 0;
  expect(zero, "calloc() gives zeros");
  free(zeros);
  errno = 66;
  free(malloc(100));
  free(malloc(10000000));
  free(nullptr);
  expect(errno == 66, "free() leaves errno alone");
  block = malloc(24);
  if (free_sized != nullptr)
    free_sized(block, 24);
  else
    free(block);
  block = aligned_alloc(64, 128);
  if (free_aligned_sized != nullptr)
    free_aligned_sized(block, 64, 128);
  else
    free(block);
  free(__libc_malloc(100));
}

int handler_calls = 0;
void operators() {
  bool thrown = false;
  try {
    char* block = new char[huge / 4];
    delete[] block;
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  expect(thrown, "operator new throws bad_alloc");
  expect(operator new(huge / 4, std::nothrow) == nullptr, "operator new(nothrow) gives nullptr");
  std::set_new_handler([] {
    if (++handler_calls == 3) std::set_new_handler(nullptr);
  });
  thrown = false;
  try {
    operator delete(operator new(huge / 4));
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  expect(thrown && handler_calls == 3, "operator new calls the new-handler until there is none");
  std::set_new_handler([] { throw std::bad_alloc(); });
  expect(operator new[](huge / 4, std::nothrow) == nullptr,
         "a new-handler that throws makes operator new(nothrow) give nullptr");
  std::set_new_handler(nullptr);
  struct alignas(256) Wide {
    char bytes[300];
  };
  auto* wide = new Wide;
  expect(aligned(wide, 256), "operator new aligns over-aligned types");
  delete wide;
  auto* many = new Wide[3];
  expect(aligned(many, 256), "operator new[] aligns over-aligned types");
  delete[] many;
}

// The number after the last of these words: totals stand behind those of single heaps.
std::size_t number_after(const std::string& text, const char* words) {
  const std::size_t at = text.rfind(words);
  return at == std::string::npos ? SIZE_MAX : std::strtoull(text.c_str() + at + std::strlen(words), nullptr, 10);
}

void malloc_info_agrees() {
  void* volatile large = malloc(60000000);
  static char room[100000];
  std::FILE* stream = fmemopen(room, sizeof room, "w");
  malloc_info(0, stream);
  std::fclose(stream);
  const std::string text = room;
  const struct mallinfo2 info = mallinfo2();
  const std::string mmap = "<total type=\"mmap\" count=\"" + std::to_string(info.hblks) + "\" size=\"";
  expect(number_after(text, mmap.c_str()) == info.hblkhd, "malloc_info() and mallinfo2() count the same large blocks");
  const std::size_t current = number_after(text, "<system type=\"current\" size=\"");
  expect(current >= info.uordblks && current < info.uordblks + 60000000, "malloc_info() counts large blocks apart");
  expect(number_after(text, "<system type=\"max\" size=\"") >= current,
         "malloc_info()'s maximum is none below what is");
  free(large);
}

void numbers() {
  const struct mallinfo2 before = mallinfo2();
  std::vector<void*> blocks(1000);
  for (void*& block : blocks) block = malloc(1000);
  void* volatile large = malloc(50000000);
  const struct mallinfo2 after = mallinfo2();
  expect(after.uordblks >= before.uordblks + 1000000, "mallinfo2() counts what is in use");
  expect(after.hblkhd >= before.hblkhd + 50000000, "mallinfo2() counts large blocks");
  for (void* block : blocks) free(block);
  free(large);
  // A heap that looks for misuse keeps what is freed for a while.
  const struct mallinfo2 end = mallinfo2();
  expect(end.uordblks + end.fordblks == end.arena, "mallinfo2()'s used and free bytes are all there are");
  expect(end.uordblks <= before.uordblks + 300000, "mallinfo2() counts what is freed");
  char* text = nullptr;
  std::size_t length = 0;
  std::FILE* stream = open_memstream(&text, &length);
  expect(malloc_info(0, stream) == 0, "malloc_info() works");
  std::fclose(stream);
  expect(std::strncmp(text, "<malloc version=\"1\">", 20) == 0 && std::strstr(text, "</malloc>") != nullptr,
         "malloc_info() writes XML");
  free(text);
  malloc_info_agrees();
  expect(malloc_info(1, stdout) != 0, "malloc_info() refuses options");
  expect(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1, "mallopt() is well");
  malloc_trim(0);
}

void early_and_late() {
  std::thread([] { free(strdup("a thread")); }).join();
  std::atexit([] { free(malloc(100)); });
}

}  // namespace

int main() {
  refusals();
  alignments();
  sizes();
  operators();
  numbers();
  early_and_late();
  std::printf("%d rules are broken\n", broken);
  return broken;
}
