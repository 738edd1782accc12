// tests/preload/idle.cc - a program that frees a lot and sleeps, and tells what comes of its memory while nobody calls malloc.
//
//   idle HOW MIB SECONDS
//     own      two threads allocate half of it each, and free it; then they sleep, as all do from here on
//     others   two threads allocate, and two others free it
//     apart    as own, but the threads do not wait for each other
//     most     as own, but a quarter stays, the last that was allocated
//     one      without threads
//     exit     as own, and main() returns as soon as all is freed, threads or not
//     end      as own; main() ends by pthread_exit(), the threads a while later
//
// Says a line each: KiB resident, more than before, when all was allocated, and when all was freed; after how many milliseconds it was
// within 8 MiB of before, of SECONDS at most, else -1; KiB more than before at that moment; how many threads there are; after how
// many seconds, of ten, came one in which no thread but the main one was woken. Stand-alone.
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

namespace {

constexpr int kThreads = 2;
constexpr long kNear = 8 << 10;  // KiB
constexpr int kMostBlocks = 1 << 20;

// The books are no part of the heap.
std::array<std::array<void*, kMostBlocks>, kThreads> blocks;
std::array<int, kThreads> counts;
std::size_t bytes_of_thread;
pthread_barrier_t step;

// Of a file of /proc, without malloc.
long number_after(const char* path, const char* word) {
  static std::array<char, 16384> text;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t length = read(file, text.data(), text.size() - 1);
  close(file);
  text[length < 0 ? 0 : static_cast<std::size_t>(length)] = '\0';
  const char* at = std::strstr(text.data(), word);
  return at == nullptr ? 0 : std::strtol(at + std::strlen(word), nullptr, 10);
}
long resident_kib() { return number_after("/proc/self/status", "VmRSS:"); }

// How often threads other than the main one gave up the processor.
long switches() {
  long all = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    if (thread.path().filename() != std::to_string(getpid()))
      all += number_after((thread.path() / "status").c_str(), "\nvoluntary_ctxt_switches:");
  }
  return all;
}

long now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

long ms_until_near(long before, long most_ms) {
  for (const long start = now_ms(); now_ms() - start < most_ms; usleep(20000)) {
    if (resident_kib() <= before + kNear) return now_ms() - start;
  }
  return -1;
}

long seconds_until_quiet() {
  for (long second = 1; second <= 10; ++second) {
    const long woken = switches();
    sleep(1);
    if (switches() == woken) return second;
  }
  return -1;
}

void fill(int thread) {
  std::size_t bytes = 0;
  unsigned random = 1 + static_cast<unsigned>(thread);
  while (bytes < bytes_of_thread) {
    random = random * 1664525 + 1013904223;
    // Mostly small, and in bytes mostly not.
    const std::size_t size = (random >> 8) % 64 == 0 ? 1000 + (random >> 14) % 300000 : 16 + (random >> 14) % 1500;
    void* block = std::malloc(size);
    std::memset(block, 1, size);
    blocks[thread][counts[thread]++] = block;
    bytes += size;
  }
}
void empty(int thread, int kept = 0) {
  for (int i = 0; i < counts[thread] - kept; ++i) std::free(blocks[thread][i]);
}

// So many quarters of it stay.
template <int kKept>
void* own(void* which) {
  const auto thread = static_cast<int>(reinterpret_cast<std::intptr_t>(which));
  fill(thread);
  pthread_barrier_wait(&step);
  empty(thread, counts[thread] * kKept / 4);
  pthread_barrier_wait(&step);
  for (;;) pause();
}
void* apart(void* which) {
  const auto thread = static_cast<int>(reinterpret_cast<std::intptr_t>(which));
  fill(thread);
  empty(thread);
  pthread_barrier_wait(&step);
  for (;;) pause();
}
void* ends(void* which) {
  const auto thread = static_cast<int>(reinterpret_cast<std::intptr_t>(which));
  fill(thread);
  empty(thread);
  pthread_barrier_wait(&step);
  sleep(1);
  std::free(std::malloc(100));
  return nullptr;
}
void* producer(void* which) {
  fill(static_cast<int>(reinterpret_cast<std::intptr_t>(which)));
  pthread_barrier_wait(&step);
  for (;;) pause();
}
void* consumer(void* which) {
  pthread_barrier_wait(&step);
  empty(static_cast<int>(reinterpret_cast<std::intptr_t>(which)));
  pthread_barrier_wait(&step);
  for (;;) pause();
}

void start(void* (*body)(void*)) {
  for (int i = 0; i < kThreads; ++i) {
    pthread_t thread{};
    pthread_create(&thread, nullptr, body, reinterpret_cast<void*>(static_cast<std::intptr_t>(i)));
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 4) return 2;
  const std::string how = words[1];
  bytes_of_thread = (std::strtoul(words[2], nullptr, 10) << 20) / kThreads;
  std::memset(blocks.data(), 1, sizeof blocks);
  const long before = resident_kib();
  pthread_barrier_init(&step, nullptr, kThreads + 1);
  long full = before;
  if (how == "one") {
    for (int i = 0; i < kThreads; ++i) fill(i);
    full = resident_kib();
    for (int i = 0; i < kThreads; ++i) empty(i);
  } else if (how == "apart" || how == "end") {
    start(how == "end" ? ends : apart);
    pthread_barrier_wait(&step);
  } else {
    start(how == "others" ? producer : how == "most" ? own<1> : own<0>);
    pthread_barrier_wait(&step);
    full = resident_kib();
    if (how == "others") {
      start(consumer);
      pthread_barrier_wait(&step);
    }
    pthread_barrier_wait(&step);
  }
  if (how == "exit") return 0;
  if (how == "end") pthread_exit(nullptr);
  const long freed = resident_kib();
  const long ms = ms_until_near(before, std::atol(words[3]) * 1000);
  const long left = resident_kib();
  std::printf("full %ld\nfreed %ld\nms %ld\nleft %ld\nthreads %ld\nquiet %ld\n", full - before, freed - before, ms,
              left - before, number_after("/proc/self/status", "Threads:"), seconds_until_quiet());
  std::fflush(stdout);
  exit(0);
}
