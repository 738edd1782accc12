// sched/simulation.h - the scheduler on one thread, in virtual time, in an order drawn from a seed.
//
//   sched::Simulation simulation(seed);
//   Status ended = simulation.run([&] { ... spawn, lock, sleep, send ... });
//
// The same API: within run() every sched call works as on a Runtime. Each call that may park, and each lock and notify, is a
// place where another ready fiber may be drawn to go first; sleeps and deadlines cost no time, the clock jumps when nobody is
// ready. The same seed and the same program give the same trace, byte for byte. So a race is searched for by trying seeds and
// then replayed by its seed. Blocking calls and file I/O are made where they stand; what would wait for a real pipe or socket
// fails with kUnsupported. Sockets and files can be simulated, too:
// simulated_network.h, simulated_files.h.
//
// Not modelled: two fibers at once within code that has no such place. Thread-safety: of one thread; several simulations may
// run on several threads. Tests: tests/sched/simulation_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernel/clock.h"
#include "kernel/result.h"

namespace weft::sched {

namespace io {
class FileSystem;
class Network;
}  // namespace io

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // Runs `main` on a fiber, and all that it spawns, to the end. Once. kBusy: the fibers that are left wait for each other;
  // the message lists them. They are then asked to stop; what even so waits is never freed.
  Status run(std::move_only_function<void()> main);

  // Before run(): what sockets are connected by. Without one they cannot be made (kUnsupported). It must outlive run().
  void use_network(io::Network& network) noexcept;
  // Likewise, what files are opened from. Without one they are the machine's own, each call made where it stands.
  void use_files(io::FileSystem& files) noexcept;
  // Virtual: monotonic() starts at zero, wall() at 2000-01-01.
  Clock& clock() noexcept;
  // One line for each switch: virtual time in nanoseconds, fiber id, fiber name. And one for each note: virtual time, "-", text.
  [[nodiscard]] const std::string& trace() const noexcept;
  // A line in the trace of the simulation that the caller is in; in none: no effect.
  static void note(std::string_view text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::sched
