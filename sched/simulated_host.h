// sched/simulated_host.h - a machine of a Simulation: its fibers, files and address, and how it goes down and comes back.
//
//   SimulatedHost& host = network.add_host("a");
//   host.start("node", [&] { serve(); });              // this fiber, and all that it spawns, run on the host
//   host.kill(Crash::kPower);  ...  TRY(host.restart());  host.start("node", ...);
//
// A fiber of a host makes its sockets there and opens its files there. A crash takes effect at once: nothing that a fiber
// of that time does is seen by anybody from then on, each of its calls on sockets and files fails with kCancelled. The fibers
// themselves are asked to stop, as always, and restart() waits until the last has ended; so each loop of a host's fibers must be one
// that a stop ends.
//
// A paused host stands still as a process under SIGSTOP: its calls on sockets and files return after resume() only, while others
// find its machine alive. What a fiber does without such a call goes on, as if the pause had begun later.
//
// Of one Simulation's thread. kill() and pause() by any fiber, one of the host included. Parks: restart(), join(). Each event is a line
// in the trace. Tests: tests/sched/simulated_host_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernel/result.h"
#include "sched/address.h"
#include "sched/body.h"
#include "sched/deadline.h"

namespace weft::sched {

class SimulatedFiles;
class SimulatedEvent;
class SimulatedHost;

// kProcess: the system lives on: it resets the connections, refuses new ones, and has all that was written. kPower: the host
// falls silent and forgets what was not synced.
enum class Crash : std::uint8_t { kProcess, kPower };

// Internal: what a host hangs on, which hears of it.
class SimulatedSurroundings {
 public:
  virtual void went_down(SimulatedHost& host) = 0;
  virtual void came_back(SimulatedHost& host) = 0;

 protected:
  ~SimulatedSurroundings() = default;
};

class SimulatedHost {
 public:
  ~SimulatedHost();
  SimulatedHost(const SimulatedHost&) = delete;
  SimulatedHost& operator=(const SimulatedHost&) = delete;

  // The calling fiber's; null: it is on none, such as the one that runs the test.
  static SimulatedHost* current() noexcept;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] io::Address address(std::uint16_t port = 0) const noexcept { return address_.with_port(port); }
  [[nodiscard]] SimulatedFiles& files() noexcept { return *files_; }

  // A program on the host. kClosed: it is down.
  Status start(std::string_view name, Body program);
  // Until no fiber of the host lives. kTimedOut, kCancelled. Not by one of them.
  Status join(Deadline deadline = Deadline::never());

  void kill(Crash crash);
  // As join(), and then programs may be started again.
  Status restart(Deadline deadline = Deadline::never());
  [[nodiscard]] bool up() const noexcept { return state_ == State::kUp; }

  void pause();
  void resume();

 private:
  struct Resident;
  class Residence;
  enum class State : std::uint8_t { kUp, kNoProcess, kNoPower };

  static Residence residence;

  SimulatedSurroundings& surroundings_;
  const unsigned index_;
  const std::string name_;
  const io::Address address_;
  std::unique_ptr<SimulatedFiles> files_;
  std::unique_ptr<SimulatedEvent> changed_;  // paused_, living_, life_
  State state_ = State::kUp;
  bool paused_ = false;
  std::uint64_t life_ = 0;    // how often it went down: what was made in an earlier life is of no use
  std::uint64_t living_ = 0;  // fibers, of any life

 public:
  // --- Internal: for who makes hosts, and for what is made on one ---

  // `index`: among those of its surroundings, which outlive it.
  SimulatedHost(SimulatedSurroundings& surroundings, unsigned index, std::string name, const io::Address& address,
                std::uint64_t seed);

  struct Place {
    SimulatedHost* host = nullptr;
    std::uint64_t life = 0;

    // Where the calling fiber is. kUnsupported: on no host. Parks while the host is paused; kCancelled: it went down.
    static Result<Place> current();
    // The same of what was made there before.
    [[nodiscard]] Status enter() const;
    [[nodiscard]] bool lives() const noexcept { return host->life_ == life; }
    bool operator==(const Place&) const noexcept = default;
  };
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  // Somebody is there to refuse what comes.
  [[nodiscard]] bool answers() const noexcept { return state_ != State::kNoPower; }
};

}  // namespace weft::sched
