#include "sched/epoll_set.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>

#include "sched/reactor.h"

namespace weft::sched {
namespace {

constexpr std::uint32_t kAlwaysReported = EPOLLERR | EPOLLHUP;
// What poll(2) knows too; the rest, such as EPOLLEXCLUSIVE, steers epoll itself.
constexpr std::uint32_t kPollEvents = 0xFFFF;

}  // namespace

Result<EpollSet> EpollSet::create(int wake_fd) {
  EpollSet made{io::Descriptor(epoll_create1(EPOLL_CLOEXEC))};
  if (!made.set_) return fail(Error::from_errno(errno, "epoll for a worker"));
  made.wake_fd_ = wake_fd;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_fd;
  if (epoll_ctl(made.set_.get(), EPOLL_CTL_ADD, wake_fd, &event) != 0)
    return fail(Error::from_errno(errno, "epoll for a worker"));
  return made;
}

int EpollSet::renew(int fd, const std::vector<Wait>& waits, bool is_there) noexcept {
  if (waits.empty()) {
    epoll_ctl(set_.get(), EPOLL_CTL_DEL, fd, nullptr);  // fails if the file was closed, and is then out as well
    return 0;
  }
  epoll_event event{};
  event.events = EPOLLONESHOT;
  event.data.fd = fd;
  for (const Wait& wait : waits) event.events |= wait.events;
  if (epoll_ctl(set_.get(), is_there ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  // The number has become another file's, or is still known through a duplicate.
  if (errno == ENOENT && epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  if (errno == EEXIST && epoll_ctl(set_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  return -errno;
}

void EpollSet::prepare(int fd, std::uint32_t events, IoOp& op) noexcept {
  std::vector<Wait>& waits = waits_[fd];
  waits.push_back({events & kPollEvents, &op});
  const int registered = renew(fd, waits, waits.size() > 1);
  if (registered == 0) return;
  waits.pop_back();
  if (waits.empty()) waits_.erase(fd);
  op.complete(op, registered, 0);
}

bool EpollSet::cancel(const IoOp& op) noexcept {
  for (auto at = waits_.begin(); at != waits_.end(); ++at) {
    auto& [fd, waits] = *at;
    const auto found = std::find_if(waits.begin(), waits.end(), [&](const Wait& wait) { return wait.op == &op; });
    if (found == waits.end()) continue;
    IoOp* target = found->op;
    waits.erase(found);
    renew(fd, waits, true);
    if (waits.empty()) waits_.erase(at);
    target->complete(*target, -ECANCELED, 0);
    return true;
  }
  return false;
}

void EpollSet::deliver(int fd, std::uint32_t events) noexcept {
  const auto at = waits_.find(fd);
  if (at == waits_.end()) return;
  std::vector<Wait> ended;
  std::vector<Wait>& waits = at->second;
  const auto ends = [&](const Wait& wait) { return (events & (wait.events | kAlwaysReported)) != 0; };
  std::copy_if(waits.begin(), waits.end(), std::back_inserter(ended), ends);
  std::erase_if(waits, ends);
  renew(fd, waits, true);
  if (waits.empty()) waits_.erase(at);
  for (const Wait& wait : ended)
    wait.op->complete(*wait.op, static_cast<std::int32_t>(events & (wait.events | kAlwaysReported)), 0);
}

bool EpollSet::wait(std::optional<std::chrono::nanoseconds> timeout) noexcept {
  // epoll_wait() counts in milliseconds on old kernels, ppoll() in nanoseconds on all.
  if (timeout && *timeout > std::chrono::nanoseconds::zero()) {
    pollfd whole{set_.get(), POLLIN, 0};
    const timespec limit{timeout->count() / 1'000'000'000, timeout->count() % 1'000'000'000};
    if (ppoll(&whole, 1, &limit, nullptr) <= 0) return false;
  }
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(set_.get(), events.data(), static_cast<int>(events.size()), timeout ? 0 : -1);
  bool woken = false;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    if (event.data.fd == wake_fd_) {
      woken = true;
    } else {
      deliver(event.data.fd, event.events);
    }
  }
  return woken;
}

}  // namespace weft::sched
