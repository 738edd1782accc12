#include "tools/heart.h"

#include <utility>

namespace weft::tools {

Heart::Heart(std::atomic<std::uint64_t>& beats, std::chrono::milliseconds limit, std::function<void()> give_up)
    : give_up_(std::move(give_up)) {
  if (limit.count() == 0) return;
  fiber_ = sched::spawn("heart", [this, &beats, period = limit / fs::fuse::RequestAges::kShortest] {
    do {
      beats.fetch_add(1, std::memory_order_relaxed);
      for (const auto& watched : ages_) {
        fs::fuse::RequestAges* ages = watched.load();
        if (ages != nullptr && ages->next_period() != 0) give_up_();
      }
    } while (sched::sleep_for(period));
  });
}

Heart::~Heart() {
  if (!fiber_.joinable()) return;
  fiber_.request_stop();
  fiber_.join();
}

}  // namespace weft::tools
