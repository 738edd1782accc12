// sched/epoll_set.h - waits for readiness of descriptors where there is no io_uring. Internal: a part of the reactor.
//
// Any number of waits on one descriptor, each of which ends once: with the events that are there, when cancelled, or at once
// with -EPERM where epoll has nothing to wait for (regular files: always ready).
//
// Invariants   E1  a descriptor is registered, one-shot, for all its waits' events together, or has no waits
//              E2  a wait completes once, inside prepare() (an error), cancel() or wait()
// Thread-safety: one owner thread. wait() blocks it. Tests: tests/sched/stream_test.cc, without io_uring.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kernel/result.h"
#include "sched/descriptor.h"

namespace weft::sched {

struct IoOp;

class EpollSet {
 public:
  // `wake_fd` becoming readable ends a wait(), which says so.
  static Result<EpollSet> create(int wake_fd);

  // Completes `op` with the events of POLLIN.. that come to be, or -errno.
  void prepare(int fd, std::uint32_t events, IoOp& op) noexcept;
  // Completes it with -ECANCELED; false: it is not here.
  bool cancel(const IoOp& op) noexcept;
  [[nodiscard]] bool empty() const noexcept { return waits_.empty(); }
  // Completes what is ready, after at most `timeout` (none: for ever). True: the wake_fd is readable.
  bool wait(std::optional<std::chrono::nanoseconds> timeout) noexcept;

 private:
  struct Wait {
    std::uint32_t events = 0;
    IoOp* op = nullptr;
  };
  using Waits = std::unordered_map<int, std::vector<Wait>>;

  explicit EpollSet(io::Descriptor set) noexcept : set_(std::move(set)) {}
  // Registers what the waits of `fd` want together, or takes it out; -errno.
  int renew(int fd, const std::vector<Wait>& waits, bool is_there) noexcept;
  void deliver(int fd, std::uint32_t events) noexcept;

  io::Descriptor set_;
  int wake_fd_ = -1;
  Waits waits_;
};

}  // namespace weft::sched
