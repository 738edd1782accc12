#include "sched/reactor.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/check.h"

namespace weft::sched {
namespace {

constexpr std::uint64_t kWakeTag = 1;  // no IoOp lies at an odd address

void block_sigpipe() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

Result<std::unique_ptr<Reactor>> Reactor::create(bool want_ring, bool open_files_only) {
  std::unique_ptr<Reactor> reactor(new Reactor);
  reactor->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (reactor->wake_fd_ < 0) return fail(Error::from_errno(errno, "eventfd for a worker"));
  block_sigpipe();
  if (want_ring) {
    auto ring = Uring::create({.entries = 256, .open_descriptors_only = open_files_only});
    if (ring) {
      reactor->ring_ = std::move(*ring);
      reactor->open_files_only_ = open_files_only;
      reactor->arm_wakeup();
      reactor->submit();
    } else if (ring.error() != Errc::kUnsupported) {
      return fail(std::move(ring).error());
    }
  }
  if (!reactor->ring_) reactor->epoll_ = TRY(EpollSet::create(reactor->wake_fd_));
  return reactor;
}

Reactor::~Reactor() {
  ring_.reset();
  if (wake_fd_ >= 0) close(wake_fd_);
}

bool Reactor::takes(UringOp op) const noexcept {
  if (!ring_ || !ring_->supports(op)) return false;
  if (!open_files_only_) return true;
  switch (op) {
    case UringOp::kRead:
    case UringOp::kWrite:
    case UringOp::kReadv:
    case UringOp::kWritev:
    case UringOp::kFsync:
    case UringOp::kFallocate:
    case UringOp::kPollAdd: return true;
    default: return false;
  }
}

void Reactor::prepare(const UringRequest& request, IoOp* op) noexcept {
  if (!ring_) {
    if (request.opcode == UringOp::kPollAdd) {
      epoll_->prepare(request.fd, request.op_flags, *op);
    } else {
      WEFT_CHECK(request.opcode == UringOp::kAsyncCancel);
      const bool found = epoll_->cancel(*reinterpret_cast<const IoOp*>(request.address));
      op->complete(*op, found ? 0 : -ENOENT, 0);
    }
    return;
  }
  UringRequest tagged = request;
  tagged.user_data = reinterpret_cast<std::uintptr_t>(op);
  bump(submitted_);
  // Full and the kernel takes none: it is waiting for us to reap.
  while (!ring_->prepare(tagged)) poll();
}

void Reactor::submit() noexcept {
  if (!ring_ || ring_->unsubmitted() == 0) return;
  bump(enters_);
  auto submitted = ring_->submit();
  WEFT_CHECK(submitted || submitted.error() == Errc::kAgain || submitted.error() == Errc::kNoMemory);
}

void Reactor::arm_wakeup() noexcept {
  auto queued = ring_->prepare(uring::poll_add(wake_fd_, POLLIN).tagged(kWakeTag));
  WEFT_CHECK(queued.has_value());
}

void Reactor::deliver() noexcept {
  bool woken = false;
  ring_->reap([&](const UringCompletion& completion) {
    if (completion.user_data == kWakeTag) {
      woken = true;
      return;
    }
    bump(completed_);
    auto* op = reinterpret_cast<IoOp*>(completion.user_data);
    if (op != nullptr) op->complete(*op, completion.result, completion.flags);
  });
  if (!woken) return;
  drain_wakeup();
  while (!ring_->prepare(uring::poll_add(wake_fd_, POLLIN).tagged(kWakeTag))) (void)ring_->submit_and_wait(0);
}

// Before it is armed again: a wake() after the read completes the new request.
void Reactor::drain_wakeup() noexcept {
  while (read(wake_fd_, &wake_count_, sizeof wake_count_) < 0 && errno == EINTR) {}
}

void Reactor::poll() noexcept {
  if (!ring_) {
    if (epoll_->wait(std::chrono::nanoseconds::zero())) drain_wakeup();
    return;
  }
  bump(enters_);
  auto fetched = ring_->run_task_work();
  WEFT_CHECK(fetched || fetched.error() == Errc::kAgain || fetched.error() == Errc::kNoMemory);
  if (ring_->reapable() != 0) deliver();
}

void Reactor::wait(std::optional<std::chrono::nanoseconds> timeout) noexcept {
  bump(enters_);
  if (ring_) {
    auto waited = ring_->submit_and_wait(1, timeout);
    WEFT_CHECK(waited || waited.error() == Errc::kAgain || waited.error() == Errc::kNoMemory);
    deliver();
    return;
  }
  if (epoll_->wait(timeout)) drain_wakeup();
}

void Reactor::wake() noexcept {
  const std::uint64_t one = 1;
  while (write(wake_fd_, &one, sizeof one) < 0 && errno == EINTR) {}
}

}  // namespace weft::sched
