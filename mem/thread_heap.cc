// mem/thread_heap.cc - see thread_heap.h.
#include "mem/thread_heap.h"

#include <pthread.h>

#include <atomic>

#include "mem/hardened.h"
#include "mem/heap_registry.h"
#include "mem/limits.h"
#include "mem/options.h"
#include "mem/purge_thread.h"
#include "mem/sampling.h"
#include "mem/seldom.h"

namespace weft::mem {

WEFT_SELDOM constinit HardenedLists no_heap;
constinit thread_local LocalHeap* current_heap = &no_heap;
constinit std::array<std::uint8_t, kTableMax + 1> class_table = kClassTable;

namespace {

constinit thread_local bool ending = false;
constinit pthread_key_t key;
// 0: nobody has begun; 1: somebody is at it; 2: done.
constinit std::atomic<int> prepared{0};

void thread_ends(void* heap) noexcept {
  ending = true;
  current_heap = &no_heap;
  heap_registry.detach(*static_cast<LocalHeap*>(heap));
}

// Registered with the first block, so before nearly everybody's: of handlers that prepare for a fork ours runs last, of the others
// first, and they may allocate.
void before_fork() noexcept {
  purge_thread::before_fork();
  hardened::before_fork();
  sampling::before_fork();
  heap_registry.before_fork();
}
void after_fork_in_parent() noexcept {
  heap_registry.after_fork_in_parent();
  sampling::after_fork();
  hardened::after_fork();
  purge_thread::after_fork_in_parent();
}
void after_fork_in_child() noexcept {
  // Flushes heaps of threads that are not there, which gives up their samples.
  sampling::after_fork();
  heap_registry.after_fork_in_child(current_heap);
  hardened::after_fork();
  purge_thread::after_fork_in_child();
}

}  // namespace

// The key may be missing where a process has used up all of them: then heaps of ended threads stay theirs.
void prepare_process() noexcept {
  if (prepared.load(std::memory_order_acquire) != 0) return;
  int none = 0;
  if (!prepared.compare_exchange_strong(none, 1, std::memory_order_acq_rel)) return;
  const Options& asked = options();
  if (asked.soft_bytes != kNoLimit || asked.hard_bytes != kNoLimit)
    set_limits({.soft_bytes = asked.soft_bytes, .hard_bytes = asked.hard_bytes});
  const bool made = pthread_key_create(&key, &thread_ends) == 0;
  // glibc has room for the first handlers without allocating.
  pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
  if (made) prepared.store(2, std::memory_order_release);
}

LocalHeap* attach_heap() noexcept {
  if (has_heap()) return current_heap;
  prepare_process();
  LocalHeap* heap = heap_registry.attach();
  if (heap == nullptr) return nullptr;
  // Before pthread_setspecific(), which allocates for keys beyond the first 32.
  current_heap = heap;
  if (prepared.load(std::memory_order_acquire) == 2) pthread_setspecific(key, heap);
  return heap;
}

LocalHeap* attach_heap_to_free() noexcept { return ending ? nullptr : attach_heap(); }

}  // namespace weft::mem
