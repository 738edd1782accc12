// sched/spawn.h - starts a fiber from any fiber, joins it. (Stand-in on threads until the scheduler lands.)
#pragma once
#include <chrono>
#include <functional>
#include <string_view>
#include <thread>
namespace weft::sched {
class Fiber {  // handle; join() before destruction, or detach()
 public:
  Fiber() = default;
  explicit Fiber(std::thread t) : t_(std::move(t)) {}
  void join() { t_.join(); }
  void detach() { t_.detach(); }
  [[nodiscard]] bool joinable() const { return t_.joinable(); }
 private:
  std::thread t_;
};
inline Fiber spawn(std::string_view /*name*/, std::move_only_function<void()> body) { return Fiber(std::thread(std::move(body))); }
inline void sleep_for(std::chrono::nanoseconds d) { std::this_thread::sleep_for(d); }
inline void yield() { std::this_thread::yield(); }
}  // namespace weft::sched
