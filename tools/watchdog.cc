#include "tools/watchdog.h"

#include <utility>

namespace weft::tools {

Watchdog::Watchdog(std::chrono::milliseconds limit, const std::atomic<std::uint64_t>& beats, std::function<void()> bark)
    : limit_(limit), beats_(beats), bark_(std::move(bark)) {
  if (limit_.count() != 0) thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard guard(lock_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::watch() {
  Pulse pulse(limit_, std::chrono::steady_clock::now());
  std::unique_lock guard(lock_);
  while (!stopped_.wait_for(guard, limit_ / 8, [this] { return stop_; })) {
    if (pulse.alive(beats_.load(std::memory_order_relaxed), std::chrono::steady_clock::now())) continue;
    guard.unlock();
    bark_();
    return;
  }
}

}  // namespace weft::tools
