#include "sched/io.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <vector>

#include "sched/budget.h"
#include "sched/current.h"
#include "sched/file_system.h"
#include "sched/offload.h"
#include "sched/scheduler.h"
#include "sched/spawn.h"
#include "sched/waiter.h"
#include "sched/worker.h"

namespace weft::sched::io {
namespace {

// kSimulated: no thread may block for the sake of one fiber, and virtual time does not pass outside.
enum class Way { kRing, kEpoll, kThread, kSimulated };

Way way() noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current() == nullptr) return Way::kThread;
  if (worker->simulated()) return Way::kSimulated;
  return worker->reactor().has_ring() ? Way::kRing : Way::kEpoll;
}

// What a request ends with that nobody has cancelled: it is one that blocks, and the kernel could start no thread to carry it
// out, be it for a limit on processes or because signals kept coming in. Nothing of it has been done.
constexpr std::int32_t kGivenUp = -ECANCELED;

// Requests that end together.
struct Batch {
  Reactor& reactor;
  std::size_t left = 0;  // of the thread that owns the ring
  Waiter waiter{};
};

struct BatchOp : IoOp {
  Batch* batch = nullptr;
  std::int32_t result = 0;

  static void finish(IoOp& op, std::int32_t result, std::uint32_t) noexcept {
    auto& self = static_cast<BatchOp&>(op);
    self.result = result;
    Batch& batch = *self.batch;
    batch.reactor.device_request_ends();
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

// Not one by one, as each submission is a system call; nor all that the ready fibers ask for together, as the device, which has
// finished what woke them, would stand idle meanwhile: at 16 in flight that takes a quarter of the reads a second. So half
// as many as the device has already, two at least. (Two each time had a mounted file system write a third less at 32 in flight, where the
// processor is what is short and the device is busy anyway; as many as it has, file reads at 64 lost a tenth.)
bool should_submit(const Reactor& reactor) noexcept {
  constexpr std::uint32_t kLeastTogether = 2;
  const std::uint32_t waiting = reactor.unsubmitted();
  return waiting >= kLeastTogether && 3 * std::uint64_t{waiting} >= reactor.in_flight();
}

void perform_by_ring(std::span<Call> calls) noexcept {
  std::array<BatchOp, 8> few;
  std::vector<BatchOp> many;
  if (calls.size() > few.size()) many.resize(calls.size());
  BatchOp* ops = many.empty() ? few.data() : many.data();
  Reactor& reactor = current_worker()->reactor();
  Batch batch{reactor, calls.size()};
  reactor.device_requests_begin(calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    ops[i].complete = &BatchOp::finish;
    ops[i].batch = &batch;
    reactor.prepare(calls[i].request, &ops[i]);
  }
  if (should_submit(reactor)) reactor.submit();
  batch.waiter.park("io", Deadline::never(), false, ops);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    calls[i].result = ops[i].result;
    if (calls[i].result == kGivenUp) run_blocking([&] { calls[i].result = perform_blocking(calls[i].request); });
  }
}

// By the worker's ring, or for a poll its epoll.
Result<std::int32_t> request_until(const UringRequest& request, Deadline deadline) {
  AbandonableOp op;
  op.complete = &AbandonableOp::finish;
  Worker* home = current_worker();
  Waiter waiter;
  op.waiter = &waiter;
  home->reactor().prepare(request, &op);
  const Outcome outcome = waiter.park("io", deadline, true, &op);
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
  cancel.waiter.park("io", Deadline::never(), false, &cancel);
  last.park("io", Deadline::never(), false, &op);
  // What came through before the cancel must not get lost.
  if (op.result >= 0) return op.result;
  return fail(outcome == Outcome::kCancelled ? Errc::kCancelled : Errc::kTimedOut);
}

// The events there are, or -errno; -EPERM from an epoll that takes the descriptor for always ready.
Result<std::int32_t> ready_until(int fd, std::uint32_t events, Deadline deadline) {
  switch (way()) {
    case Way::kRing:
    case Way::kEpoll: return request_until(uring::poll_add(fd, events), deadline);
    case Way::kThread: {
      const std::int32_t ready = perform_blocking(uring::poll_add(fd, events), deadline);
      if (ready == -ETIME) return fail(Errc::kTimedOut);
      return ready;
    }
    case Way::kSimulated: break;
  }
  const std::int32_t ready = perform_now(uring::poll_add(fd, events));
  if (ready == -EAGAIN)
    return fail(Errc::kUnsupported, "a Simulation cannot wait for a descriptor of the world outside");
  return ready;
}

bool never_waits(int fd) noexcept { return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; }

// A transfer for which a descriptor is ready and which may all the same wait, if somebody else is quicker.
std::int32_t perform_ready(UringRequest request) noexcept {
  if (way() != Way::kEpoll || never_waits(request.fd)) return perform_blocking(request);
  // That much a pipe takes when it is ready for any.
  if (request.opcode == UringOp::kWrite) request.length = std::min<std::uint32_t>(request.length, PIPE_BUF);
  return blocking([&] { return perform_blocking(request); });
}

// Where no ring takes the request: tries, and waits for readiness in between.
Result<std::int32_t> try_until(const UringRequest& request, Deadline deadline) {
  if (request.opcode == UringOp::kPollAdd) {
    const std::int32_t ready = TRY(ready_until(request.fd, request.op_flags, deadline));
    return ready == -EPERM ? static_cast<std::int32_t>(request.op_flags & (POLLIN | POLLOUT)) : ready;
  }
  for (;;) {
    std::int32_t result = perform_now(request);
    if (result != -EAGAIN && result != -EOPNOTSUPP) return result;
    const std::int32_t ready = TRY(ready_until(request.fd, events_of(request), deadline));
    if (ready < 0 && ready != -EPERM) return ready;
    if (ready >= 0 && result == -EAGAIN) continue;
    result = perform_ready(request);
    if (result != -EAGAIN) return result;
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

std::uint32_t clamp_length(std::size_t length) noexcept {
  return static_cast<std::uint32_t>(std::min<std::size_t>(length, 0x7FFFF000));  // the kernel's own limit of one call
}

}  // namespace

void perform_all(std::span<Call> calls) noexcept {
  if (calls.empty()) return;
  switch (way()) {
    case Way::kSimulated:
      // All of them together: that is for the file system to see.
      if (FileSystem* files = file_system_for(calls.front().request)) {
        files->perform(calls);
        return;
      }
      [[fallthrough]];
    case Way::kThread:
      for (Call& call : calls) call.result = perform_blocking(call.request);
      return;
    case Way::kEpoll:
      run_blocking([&] {
        for (Call& call : calls) call.result = perform_blocking(call.request);
      });
      return;
    case Way::kRing: break;
  }
  IoLimit& limit = current_worker()->scheduler().file_limit();
  if (limit.most() == 0) return perform_by_ring(calls);
  while (!calls.empty()) {
    const std::size_t count = std::min<std::size_t>(calls.size(), limit.most());
    limit.enter(static_cast<std::uint32_t>(count));
    perform_by_ring(calls.first(count));
    limit.leave(static_cast<std::uint32_t>(count));
    calls = calls.subspan(count);
  }
}

FileSystem* file_system_for(const UringRequest& request) noexcept {
  if (way() != Way::kSimulated) return nullptr;
  return request.fd == AT_FDCWD || request.fd >= FileSystem::kFirstFd ? current_worker()->scheduler().options().files
                                                                      : nullptr;
}

std::int32_t perform(const UringRequest& request) noexcept {
  Call call{request, 0};
  perform_all({&call, 1});
  return call.result;
}

bool ring_takes(UringOp op) noexcept { return way() == Way::kRing && current_worker()->reactor().takes(op); }

Result<std::int32_t> perform_until(const UringRequest& request, Deadline deadline) {
  if (stop_requested()) return fail(Errc::kCancelled);
  const Way how = way();
  if (how == Way::kThread && deadline.is_never()) {
    const std::int32_t result = perform_blocking(request);
    if (result != -EAGAIN) return result;
  } else if (ring_takes(request.opcode)) {
    std::int32_t result = TRY(request_until(request, deadline));
    // O_NONBLOCK: the ring does not wait.
    while (result == -EAGAIN) {
      const std::int32_t ready = TRY(ready_until(request.fd, events_of(request), deadline));
      if (ready < 0) return ready;
      result = TRY(request_until(request, deadline));
    }
    if (result != kGivenUp) return result;
  }
  return try_until(request, deadline);
}

Status cancellation_point() {
  if (stop_requested()) return fail(Errc::kCancelled);
  spend_budget();
  return {};
}

Result<std::int32_t> perform_now_or_until(const UringRequest& request, Deadline deadline) {
  TRY(cancellation_point());
  const std::int32_t result = perform_now(request);
  if (result == -EAGAIN || result == -EOPNOTSUPP) return perform_until(request, deadline);
  return result;
}

Result<std::int32_t> call_until(const UringRequest& request, Deadline deadline, const char* what, First first) {
  for (;;) {
    const std::int32_t result =
        TRY(first == First::kSystemCall ? perform_now_or_until(request, deadline) : perform_until(request, deadline));
    if (result >= 0) return result;
    if (result != -EINTR) return fail(Error::from_errno(-result, what));
  }
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
  return static_cast<std::size_t>(TRY(
      call_until(uring::read(fd, into.data(), clamp_length(into.size()), uring::kCurrentPosition), deadline, "read")));
}

Result<std::size_t> write_some(int fd, std::span<const std::byte> from, Deadline deadline) {
  return static_cast<std::size_t>(TRY(call_until(
      uring::write(fd, from.data(), clamp_length(from.size()), uring::kCurrentPosition), deadline, "write")));
}

Result<std::uint32_t> poll(int fd, std::uint32_t events, Deadline deadline) {
  return static_cast<std::uint32_t>(TRY(call_until(uring::poll_add(fd, events), deadline, "poll")));
}

Status wait_readable(int fd, Deadline deadline) {
  TRY(poll(fd, POLLIN, deadline));
  return {};
}

}  // namespace weft::sched::io
