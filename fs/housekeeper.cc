#include "fs/housekeeper.h"

#include <utility>

namespace weft::fs {

void Housekeeper::start() {
  fiber_ = sched::spawn("fs.housekeeper", [this] { loop(); });
}

void Housekeeper::stop() {
  {
    const std::lock_guard lock(lock_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (fiber_.joinable()) fiber_.join();
}

void Housekeeper::request_checkpoint() {
  {
    const std::lock_guard lock(lock_);
    if (checkpoint_wanted_) return;
    checkpoint_wanted_ = true;
  }
  wake_.notify_all();
}

// Errors need no handling here: whatever failed has turned the volume read-only and says so to everybody.
void Housekeeper::loop() {
  std::unique_lock lock(lock_);
  while (!stopping_) {
    wake_.wait_for(lock, interval_, [this] { return stopping_ || checkpoint_wanted_; });
    if (stopping_) return;
    const bool checkpoint = std::exchange(checkpoint_wanted_, false);
    lock.unlock();
    if (checkpoint) {
      (void)checkpointer_.run();
    } else {
      (void)journal_.make_durable(journal_.committed());
    }
    lock.lock();
    // Who asked while it was on has mostly got what it wanted; another at once only if the log has filled up again meanwhile.
    if (checkpoint && !journal_.wants_checkpoint()) checkpoint_wanted_ = false;
    if (journal_.failed()) wake_.wait(lock, [this] { return stopping_; });
  }
}

}  // namespace weft::fs
