#include "sched/inspect.h"

#include <algorithm>

namespace weft::sched {

bool RuntimeReport::looks_deadlocked() const noexcept {
  if (fibers.empty()) return false;
  return std::all_of(fibers.begin(), fibers.end(), [](const FiberReport& fiber) {
    return fiber.state == "parked" && fiber.wait_reason != "sleep" && fiber.wait_reason != "io" &&
           fiber.wait_reason != "poll" && fiber.wait_reason != "offload";
  });
}

std::string to_text(const RuntimeReport& report) {
  std::string text = "runtime \"" + report.name + "\": " + std::to_string(report.fibers.size()) + " fibers, " +
                     std::to_string(report.workers.size()) + " workers, " + std::to_string(report.stacks) + " stacks\n";
  for (std::size_t i = 0; i < report.workers.size(); ++i) {
    const WorkerCounters& worker = report.workers[i];
    text += "  worker " + std::to_string(i) + (worker.asleep ? " asleep" : " awake") + ": " +
            std::to_string(worker.switches) + " switches, " + std::to_string(worker.parks) + " parks, " +
            std::to_string(worker.spawned) + " spawned, " + std::to_string(worker.steals) + " steals, " +
            std::to_string(worker.sleeps) + " sleeps, " + std::to_string(worker.wakes_sent) + " wakes sent\n";
  }
  for (const FiberReport& fiber : report.fibers) {
    text += "  fiber " + std::to_string(fiber.id) + " \"" + fiber.name + "\" " + fiber.state;
    if (!fiber.wait_reason.empty()) text += " (" + fiber.wait_reason + ")";
    if (fiber.pinned_to >= 0) text += " pinned to worker " + std::to_string(fiber.pinned_to);
    text += '\n';
  }
  if (report.looks_deadlocked()) text += "  all fibers wait for each other\n";
  return text;
}

}  // namespace weft::sched
