#include "fs/data_in_flight.h"

#include <mutex>

namespace weft::fs {

DataInFlight::Write::Write(DataInFlight& all) : all_(all) {
  const std::lock_guard guard(all.lock_);
  at_ = all.under_way_.insert(all.under_way_.end(), all.next_++);
  all.count_.fetch_add(1, std::memory_order_relaxed);
}

DataInFlight::Write::~Write() {
  const std::lock_guard guard(all_.lock_);
  const bool oldest = at_ == all_.under_way_.begin();
  all_.under_way_.erase(at_);
  all_.count_.fetch_sub(1, std::memory_order_relaxed);
  if (oldest && all_.waiting_ != 0) all_.ended_.notify_all();
}

DataInFlight::Moment DataInFlight::now() {
  const std::lock_guard guard(lock_);
  return next_;
}

void DataInFlight::wait_for(Moment moment) {
  std::unique_lock guard(lock_);
  ++waiting_;
  ended_.wait(guard, [&] { return under_way_.empty() || under_way_.front() >= moment; });
  --waiting_;
}

}  // namespace weft::fs
