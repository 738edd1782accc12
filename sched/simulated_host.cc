#include "sched/simulated_host.h"

#include <utility>

#include "kernel/check.h"
#include "sched/current.h"
#include "sched/fiber_local.h"
#include "sched/scheduler.h"
#include "sched/simulated_event.h"
#include "sched/simulated_files.h"
#include "sched/simulation.h"
#include "sched/spawn.h"

namespace weft::sched {

// That a fiber is on a host: copied to what it spawns, and gone with its end.
struct SimulatedHost::Resident {
  explicit Resident(const Place& at) noexcept : place(at) { ++place.host->living_; }
  Resident(const Resident& other) noexcept : Resident(other.place) {}
  Resident& operator=(const Resident&) = delete;
  ~Resident() {
    if (--place.host->living_ == 0) place.host->changed_->notify();
  }
  const Place place;
};

class SimulatedHost::Residence final : FiberLocalKey {
 public:
  constexpr Residence() noexcept = default;
  [[nodiscard]] const Resident* here() const noexcept { return static_cast<const Resident*>(find()); }
  [[nodiscard]] const Resident* of(FiberState& fiber) const noexcept {
    return static_cast<const Resident*>(find_in(fiber));
  }
  void become(std::unique_ptr<Resident> resident) {
    erase();
    put(resident.release(), kKind);
  }

 private:
  static constexpr FiberLocalKind kKind{
      [](void* value) noexcept { delete static_cast<Resident*>(value); },
      [](const void* value) -> void* { return new Resident(*static_cast<const Resident*>(value)); }};
};

constinit SimulatedHost::Residence SimulatedHost::residence;

Result<SimulatedHost::Place> SimulatedHost::Place::current() {
  const Resident* resident = residence.here();
  if (resident == nullptr)
    return fail(Errc::kUnsupported, "this fiber is on no simulated host: SimulatedHost::start() puts it on one");
  TRY(resident->place.enter());
  return resident->place;
}

Status SimulatedHost::Place::enter() const {
  while (lives() && host->paused_) host->changed_->wait_uncancelled("paused host");
  if (!lives()) return fail(Errc::kCancelled, "host " + host->name_ + " went down");
  return {};
}

SimulatedHost::SimulatedHost(SimulatedSurroundings& surroundings, unsigned index, std::string name,
                             const io::Address& address, std::uint64_t seed)
    : surroundings_(surroundings),
      index_(index),
      name_(std::move(name)),
      address_(address),
      files_(std::make_unique<SimulatedFiles>(SimulatedFiles::Options{.seed = seed, .name = name_})),
      changed_(std::make_unique<SimulatedEvent>()) {}

SimulatedHost::~SimulatedHost() = default;

SimulatedHost* SimulatedHost::current() noexcept {
  const Resident* resident = residence.here();
  return resident != nullptr ? resident->place.host : nullptr;
}

Status SimulatedHost::start(std::string_view name, Body program) {
  const Worker* worker = current_worker();
  WEFT_CHECK(worker != nullptr && worker->simulated());
  if (!up()) return fail(Errc::kClosed, "host " + name_ + " is down");
  auto resident = std::make_unique<Resident>(Place{this, life_});
  spawn(name, [resident = std::move(resident), program = std::move(program)]() mutable {
    const Place place = resident->place;
    residence.become(std::move(resident));
    if (place.lives()) program();
  }).detach();
  return {};
}

Status SimulatedHost::join(Deadline deadline) {
  WEFT_CHECK(current() != this);
  while (living_ != 0) TRY(changed_->wait("host", deadline));
  return {};
}

void SimulatedHost::kill(Crash crash) {
  simulation_point();
  const State state = crash == Crash::kPower ? State::kNoPower : State::kNoProcess;
  if (state_ >= state) return;
  Simulation::note("host " + name_ + (crash == Crash::kPower ? " loses its power" : " loses its process"));
  state_ = state;
  paused_ = false;
  ++life_;
  files_->crash(crash);
  surroundings_.went_down(*this);
  changed_->notify();
  current_worker()->scheduler().request_stop_of([this](FiberState& fiber) {
    const Resident* resident = residence.of(fiber);
    return resident != nullptr && resident->place.host == this;
  });
}

Status SimulatedHost::restart(Deadline deadline) {
  TRY(join(deadline));
  if (up()) return {};
  Simulation::note("host " + name_ + " is back");
  state_ = State::kUp;
  surroundings_.came_back(*this);
  return {};
}

void SimulatedHost::pause() {
  simulation_point();
  Simulation::note("host " + name_ + " stands still");
  paused_ = up();
}

void SimulatedHost::resume() {
  simulation_point();
  if (!std::exchange(paused_, false)) return;
  Simulation::note("host " + name_ + " goes on");
  changed_->notify();
}

}  // namespace weft::sched
