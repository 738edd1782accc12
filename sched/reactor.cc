#include "sched/reactor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/check.h"

namespace weft::sched {
namespace {

constexpr std::uint64_t kWakeTag = 1;  // no IoOp lies at an odd address

}  // namespace

Result<std::unique_ptr<Reactor>> Reactor::create(bool want_ring, bool open_files_only) {
  std::unique_ptr<Reactor> reactor(new Reactor);
  reactor->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (reactor->wake_fd_ < 0) return fail(Error::from_errno(errno, "eventfd for a worker"));
  if (want_ring) {
    auto ring = Uring::create({.entries = 256, .open_descriptors_only = open_files_only});
    if (ring) {
      reactor->ring_ = std::move(*ring);
      reactor->arm_wakeup();
      reactor->submit();
    } else if (ring.error() != Errc::kUnsupported) {
      return fail(std::move(ring).error());
    }
  }
  return reactor;
}

Reactor::~Reactor() {
  ring_.reset();
  if (wake_fd_ >= 0) close(wake_fd_);
}

void Reactor::prepare(const UringRequest& request, IoOp* op) noexcept {
  UringRequest tagged = request;
  tagged.user_data = reinterpret_cast<std::uintptr_t>(op);
  // Full and the kernel takes none: it is waiting for us to reap.
  while (!ring_->prepare(tagged)) poll();
}

void Reactor::submit() noexcept {
  if (!ring_ || ring_->unsubmitted() == 0) return;
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
    auto* op = reinterpret_cast<IoOp*>(completion.user_data);
    if (op != nullptr) op->complete(*op, completion.result, completion.flags);
  });
  if (!woken) return;
  // Drained before it is armed again: a wake() after the read completes the new request.
  while (read(wake_fd_, &wake_count_, sizeof wake_count_) < 0 && errno == EINTR) {}
  while (!ring_->prepare(uring::poll_add(wake_fd_, POLLIN).tagged(kWakeTag))) {
    if (auto submitted = ring_->submit_and_wait(0); !submitted) break;
  }
}

void Reactor::poll() noexcept {
  if (!ring_) return;
  auto fetched = ring_->run_task_work();
  WEFT_CHECK(fetched || fetched.error() == Errc::kAgain || fetched.error() == Errc::kNoMemory);
  if (ring_->reapable() != 0) deliver();
}

void Reactor::wait(std::optional<std::chrono::nanoseconds> timeout) noexcept {
  if (ring_) {
    auto waited = ring_->submit_and_wait(1, timeout);
    WEFT_CHECK(waited || waited.error() == Errc::kAgain || waited.error() == Errc::kNoMemory);
    deliver();
    return;
  }
  pollfd waiting{wake_fd_, POLLIN, 0};
  timespec limit{};
  if (timeout) {
    const auto left = *timeout < std::chrono::nanoseconds::zero() ? std::chrono::nanoseconds::zero() : *timeout;
    limit.tv_sec = left.count() / 1'000'000'000;
    limit.tv_nsec = left.count() % 1'000'000'000;
  }
  if (ppoll(&waiting, 1, timeout ? &limit : nullptr, nullptr) > 0)
    while (read(wake_fd_, &wake_count_, sizeof wake_count_) < 0 && errno == EINTR) {}
}

void Reactor::wake() noexcept {
  const std::uint64_t one = 1;
  while (write(wake_fd_, &one, sizeof one) < 0 && errno == EINTR) {}
}

}  // namespace weft::sched
