#include "sched/io.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <vector>

#include "sched/current.h"
#include "sched/offload.h"
#include "sched/scheduler.h"
#include "sched/spawn.h"
#include "sched/waiter.h"
#include "sched/worker.h"

namespace weft::sched::io {
namespace {

enum class Way { kRing, kOffload, kHere };

Way way() noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current() == nullptr || worker->simulated()) return Way::kHere;
  return worker->reactor().has_ring() ? Way::kRing : Way::kOffload;
}

// Requests that end together.
struct Batch {
  Waiter waiter;
  std::size_t left = 0;  // of the thread that owns the ring
};

struct BatchOp : IoOp {
  Batch* batch = nullptr;
  std::int32_t result = 0;

  static void finish(IoOp& op, std::int32_t result, std::uint32_t) noexcept {
    auto& self = static_cast<BatchOp&>(op);
    self.result = result;
    Batch& batch = *self.batch;
    if (--batch.left == 0 && batch.waiter.claim(Outcome::kNotified)) batch.waiter.resume();
  }
};

// A request whose fiber may give up waiting, and then waits once more: for the kernel to let go.
struct AbandonableOp : IoOp {
  Spinlock lock;
  bool done = false;  // guarded by lock, as the rest
  std::int32_t result = 0;
  Waiter* waiter = nullptr;

  static void finish(IoOp& op, std::int32_t result, std::uint32_t) noexcept {
    auto& self = static_cast<AbandonableOp&>(op);
    Waiter* claimed = nullptr;
    {
      const std::lock_guard guard(self.lock);
      self.done = true;
      self.result = result;
      if (self.waiter != nullptr && self.waiter->claim(Outcome::kNotified)) claimed = self.waiter;
    }
    if (claimed != nullptr) claimed->resume();
  }
};

struct CancelOp : Worker::CancelRequest {
  Waiter waiter;
  static void finish(IoOp& op, std::int32_t, std::uint32_t) noexcept {
    Waiter& waiter = static_cast<CancelOp&>(op).waiter;
    if (waiter.claim(Outcome::kNotified)) waiter.resume();
  }
};

Result<std::int32_t> ring_until(const UringRequest& request, Deadline deadline) {
  AbandonableOp op;
  op.complete = &AbandonableOp::finish;
  Worker* home = current_worker();
  Waiter waiter;
  op.waiter = &waiter;
  home->reactor().prepare(request, &op);
  const Outcome outcome = waiter.park("io", deadline, true);
  if (outcome == Outcome::kNotified) return op.result;

  Waiter last;
  {
    const std::lock_guard guard(op.lock);
    if (op.done) return op.result;
    op.waiter = &last;
  }
  CancelOp cancel;
  cancel.complete = &CancelOp::finish;
  cancel.target = &op;
  home->post_cancel(cancel);
  cancel.waiter.park("io");
  last.park("io");
  // What came through before the cancel must not get lost.
  if (op.result >= 0) return op.result;
  return fail(outcome == Outcome::kCancelled ? Errc::kCancelled : Errc::kTimedOut);
}

// Without a ring nothing interrupts a thread in a system call, so it looks up from time to time.
Result<std::int32_t> offload_until(const UringRequest& request, Deadline deadline) {
  constexpr auto kSlice = std::chrono::milliseconds(50);
  for (;;) {
    if (stop_requested()) return fail(Errc::kCancelled);
    const Deadline slice = std::min(deadline, Deadline::after(kSlice));
    const std::int32_t result = blocking([&] { return perform_blocking(request, slice); });
    if (result != -ETIME) return result;
    if (deadline.passed()) return fail(Errc::kTimedOut);
  }
}

template <typename Make>
std::int32_t repeat_interrupted(Make&& make) noexcept {
  std::int32_t result = -EINTR;
  while (result == -EINTR) result = make();
  return result;
}

Result<std::size_t> sized(const UringRequest& request, const char* what) {
  const std::int32_t result = repeat_interrupted([&] { return perform(request); });
  if (result < 0) return fail(Error::from_errno(-result, what));
  return static_cast<std::size_t>(result);
}

Status plain(const UringRequest& request, const char* what) {
  const std::int32_t result = repeat_interrupted([&] { return perform(request); });
  if (result < 0) return fail(Error::from_errno(-result, what));
  return {};
}

Result<std::int32_t> waited(const UringRequest& request, Deadline deadline, const char* what) {
  for (;;) {
    const std::int32_t result = TRY(perform_until(request, deadline));
    if (result >= 0) return result;
    if (result != -EINTR) return fail(Error::from_errno(-result, what));
  }
}

std::uint32_t clamp_length(std::size_t length) noexcept {
  return static_cast<std::uint32_t>(std::min<std::size_t>(length, 0x7FFFF000));  // the kernel's own limit of one call
}

}  // namespace

void perform_all(std::span<Call> calls) noexcept {
  if (calls.empty()) return;
  switch (way()) {
    case Way::kHere:
      for (Call& call : calls) call.result = perform_blocking(call.request);
      return;
    case Way::kOffload:
      run_blocking([&] {
        for (Call& call : calls) call.result = perform_blocking(call.request);
      });
      return;
    case Way::kRing: break;
  }
  std::array<BatchOp, 8> few;
  std::vector<BatchOp> many;
  if (calls.size() > few.size()) many.resize(calls.size());
  BatchOp* ops = many.empty() ? few.data() : many.data();
  Batch batch;
  batch.left = calls.size();
  Reactor& reactor = current_worker()->reactor();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    ops[i].complete = &BatchOp::finish;
    ops[i].batch = &batch;
    reactor.prepare(calls[i].request, &ops[i]);
  }
  batch.waiter.park("io");
  for (std::size_t i = 0; i < calls.size(); ++i) calls[i].result = ops[i].result;
}

std::int32_t perform(const UringRequest& request) noexcept {
  Call call{request, 0};
  perform_all({&call, 1});
  return call.result;
}

Result<std::int32_t> perform_until(const UringRequest& request, Deadline deadline) {
  switch (way()) {
    case Way::kHere: {
      const std::int32_t result = perform_blocking(request, deadline);
      if (result == -ETIME) return fail(Errc::kTimedOut);
      return result;
    }
    case Way::kOffload: return offload_until(request, deadline);
    case Way::kRing: break;
  }
  return ring_until(request, deadline);
}

Result<std::size_t> read(int fd, std::span<std::byte> into, std::uint64_t offset_bytes) {
  return sized(uring::read(fd, into.data(), clamp_length(into.size()), offset_bytes), "read");
}

Result<std::size_t> write(int fd, std::span<const std::byte> from, std::uint64_t offset_bytes) {
  return sized(uring::write(fd, from.data(), clamp_length(from.size()), offset_bytes), "write");
}

Result<std::size_t> readv(int fd, std::span<const iovec> into, std::uint64_t offset_bytes) {
  return sized(uring::readv(fd, into.data(), static_cast<std::uint32_t>(into.size()), offset_bytes), "readv");
}

Result<std::size_t> writev(int fd, std::span<const iovec> from, std::uint64_t offset_bytes) {
  return sized(uring::writev(fd, from.data(), static_cast<std::uint32_t>(from.size()), offset_bytes), "writev");
}

Status fsync(int fd) { return plain(uring::fsync(fd), "fsync"); }
Status fdatasync(int fd) { return plain(uring::fdatasync(fd), "fdatasync"); }

Status fallocate(int fd, int mode, std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  return plain(uring::fallocate(fd, mode, offset_bytes, length_bytes), "fallocate");
}

Result<std::size_t> read_some(int fd, std::span<std::byte> into, Deadline deadline) {
  return static_cast<std::size_t>(
      TRY(waited(uring::read(fd, into.data(), clamp_length(into.size()), uring::kCurrentPosition), deadline, "read")));
}

Result<std::size_t> write_some(int fd, std::span<const std::byte> from, Deadline deadline) {
  return static_cast<std::size_t>(TRY(
      waited(uring::write(fd, from.data(), clamp_length(from.size()), uring::kCurrentPosition), deadline, "write")));
}

Result<std::uint32_t> poll(int fd, std::uint32_t events, Deadline deadline) {
  return static_cast<std::uint32_t>(TRY(waited(uring::poll_add(fd, events), deadline, "poll")));
}

Status wait_readable(int fd, Deadline deadline) {
  TRY(poll(fd, POLLIN, deadline));
  return {};
}

}  // namespace weft::sched::io
