// mem/own_thread.cc - see own_thread.h.
#include "mem/own_thread.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

namespace weft::mem {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;

void* run(void* of) noexcept {
  const auto& thread = *static_cast<const OwnThread*>(of);
  pthread_setname_np(pthread_self(), thread.name);
  thread.body();
  return nullptr;
}

constinit bool held = false;
constinit std::array<const OwnThread*, 4> waiting{};

}  // namespace

bool start_own_thread(const OwnThread& thread) noexcept {
  if (held) {
    auto* place = std::find(waiting.begin(), waiting.end(), nullptr);
    errno = EAGAIN;
    if (place != waiting.end()) *place = &thread;
    return place != waiting.end();
  }
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_t handle{};
  errno = pthread_create(&handle, &attributes, &run, const_cast<OwnThread*>(&thread));
  const bool made = errno == 0;
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return made;
}

void hold_own_threads() noexcept { held = true; }
void release_own_threads() noexcept {
  held = false;
  for (const OwnThread*& thread : waiting) {
    if (thread != nullptr) start_own_thread(*thread);
    thread = nullptr;
  }
}

}  // namespace weft::mem
