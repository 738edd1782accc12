#include "tests/sched/explorer.h"

#include <algorithm>
#include <cstdio>
#include <unordered_set>

#include "kernel/check.h"

namespace weft::sched::model {
namespace {

constexpr unsigned kPerThread = 32;  // choices

// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
std::uint64_t mix(std::uint64_t hash, std::uint64_t more) noexcept {
  hash = (hash ^ more) + 0x9E3779B97F4A7C15U;
  hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9U;
  hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBU;
  return hash ^ (hash >> 31);
}

std::uint64_t mix_int(std::uint64_t hash, int more) noexcept { return mix(hash, static_cast<std::uint64_t>(more)); }

bool releases(std::memory_order order) noexcept { return order == kRelease || order == kAcqRel || order == kSeqCst; }

}  // namespace

// --- One thread -----------------------------------------------------------------------------------------------------

// A store that goes into the buffer is seen by nobody else, so others can do nothing that comes between.
bool Thread::Taken::await_ready() noexcept {
  Machine& machine = thread.machine_;
  if (!machine.buffered(step) || machine.stores_are_steps_) return false;
  machine.write(thread, step);
  return true;
}

void Thread::Taken::await_suspend(std::coroutine_handle<> where) noexcept {
  thread.at_ = where;
  thread.next_ = step;
  thread.machine_.began_waiting(thread);
}

int Thread::sees(Cell cell) const noexcept {
  const auto newest = std::find_if(buffer_.rbegin(), buffer_.rend(),
                                   [&](const Stored& stored) { return stored.cell.index == cell.index; });
  return newest != buffer_.rend() ? newest->value : machine_.values_[cell.index];
}

int Thread::mine(Cell cell) const noexcept { return sees(cell); }

bool Thread::holds_back(Cell cell) const noexcept {
  return std::any_of(buffer_.begin(), buffer_.end(),
                     [&](const Stored& stored) { return stored.cell.index == cell.index; });
}

void Thread::settle(int locals) noexcept { history_ = mix_int(~std::uint64_t{index_}, locals); }

// --- The machine ----------------------------------------------------------------------------------------------------

Cell Machine::cell(const char* name, int value) {
  values_.push_back(value);
  names_.push_back(name);
  return {static_cast<std::uint8_t>(values_.size() - 1)};
}

void Machine::start() {
  for (const auto& thread : threads_) thread->root_.handle().resume();
}

bool Machine::buffered(const Step& step) const noexcept {
  return step.access == Access::kStore && memory_ != Memory::kSequential && step.order != kSeqCst;
}

void Machine::write(Thread& thread, const Step& step) {
  if (buffered(step)) {
    thread.buffer_.push_back({step.cell, step.value, releases(step.order)});
    WEFT_CHECK(thread.buffer_.size() < kPerThread);
    record(thread, step);
  } else {
    values_[step.cell.index] = step.value;
  }
}

void Machine::began_waiting(Thread& thread) noexcept {
  if (thread.next_.access != Access::kBarrier) return;
  WEFT_CHECK(stores_are_steps_ && thread.buffer_.empty());
  thread.barrier_waits_for_ = 0;
  for (const auto& other : threads_)
    if (!other->buffer_.empty()) thread.barrier_waits_for_ |= 1U << other->index_;
}

bool Machine::can_go(const Thread& thread) const noexcept {
  const Step& step = thread.next_;
  const bool empty = thread.buffer_.empty();
  switch (step.access) {
    case Access::kLoad: return true;
    case Access::kStore: return buffered(step) || empty;
    case Access::kCompareExchange:
      // One that fails is but a load where it is not one locked instruction.
      if (memory_ == Memory::kReorderedStores && thread.sees(step.cell) != step.expected) return true;
      [[fallthrough]];
    case Access::kExchange:
    case Access::kAdd:
    case Access::kLock:
      if (step.access == Access::kLock && thread.sees(step.cell) != 0) return false;
      if (memory_ == Memory::kReorderedStores && !releases(step.order)) return !thread.holds_back(step.cell);
      return empty;
    case Access::kFence:
    case Access::kFutex: return empty;
    case Access::kBarrier: return thread.barrier_waits_for_ == 0;
    case Access::kWaitUntil: return empty && values_[step.cell.index] == step.value;
    case Access::kWaitWhile: return empty && values_[step.cell.index] != step.value;
  }
  return false;
}

std::vector<Machine::Choice> Machine::choices() const {
  std::vector<Choice> all;
  for (const auto& thread : threads_) {
    if (!thread->ended() && can_go(*thread)) all.push_back(static_cast<Choice>(thread->index_ * kPerThread));
    const auto& buffer = thread->buffer_;
    for (std::size_t i = 0; i < buffer.size(); ++i) {
      bool may = i == 0;
      if (!may && memory_ == Memory::kReorderedStores && !buffer[i].release)
        may = std::none_of(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(i),
                           [&](const Thread::Stored& before) { return before.cell.index == buffer[i].cell.index; });
      if (may) all.push_back(static_cast<Choice>(thread->index_ * kPerThread + 1 + i));
    }
  }
  return all;
}

void Machine::choose(Choice choice) {
  Thread& thread = *threads_[choice / kPerThread];
  if (choice % kPerThread == 0) {
    go(thread);
  } else {
    reach_memory(thread, choice % kPerThread - 1);
  }
}

void Machine::reach_memory(Thread& thread, std::size_t position) {
  const Thread::Stored stored = thread.buffer_[position];
  thread.buffer_.erase(thread.buffer_.begin() + static_cast<std::ptrdiff_t>(position));
  values_[stored.cell.index] = stored.value;
  if (traced_)
    trace_.push_back(std::string(thread.name_) + ":   its " + names_[stored.cell.index] + " = " +
                     std::to_string(stored.value) + " reaches memory");
  if (!thread.buffer_.empty()) return;
  for (const auto& other : threads_) other->barrier_waits_for_ &= ~(1U << thread.index_);
}

void Machine::go(Thread& thread) {
  const Step step = thread.next_;
  int& cell = values_[step.cell.index];
  thread.result_ = thread.sees(step.cell);
  switch (step.access) {
    case Access::kStore: write(thread, step); break;
    case Access::kExchange:
    case Access::kLock: cell = step.value; break;
    case Access::kAdd: cell += step.value; break;
    case Access::kCompareExchange:
      if (thread.result_ == step.expected) cell = step.value;
      thread.result_ = thread.result_ == step.expected ? 1 : 0;
      break;
    case Access::kFutex:
      thread.result_ = cell == step.expected ? 1 : 0;
      if (thread.result_ == 1) values_[step.other.index] = step.value;
      break;
    case Access::kLoad:
    case Access::kFence:
    case Access::kBarrier:
    case Access::kWaitUntil:
    case Access::kWaitWhile: break;
  }
  // What a store finds is not read by the thread.
  const bool reads = step.access != Access::kStore && step.access != Access::kFence && step.access != Access::kBarrier;
  thread.history_ = mix_int(thread.history_, reads ? thread.result_ : 0);
  if (!buffered(step)) record(thread, step);
  thread.at_.resume();
}

void Machine::record(const Thread& thread, const Step& step) {
  if (!traced_) return;
  const auto text = [](int value) { return std::to_string(value); };
  const std::string name = names_[step.cell.index];
  std::string line = std::string(thread.name_) + ": ";
  switch (step.access) {
    case Access::kLoad: line += "loads " + name + ": " + text(thread.result_); break;
    case Access::kStore:
      line += "stores " + name + " = " + text(step.value) + (buffered(step) ? ", in its buffer" : "");
      break;
    case Access::kExchange:
      line += "exchanges " + name + ": " + text(thread.result_) + " -> " + text(step.value);
      break;
    case Access::kAdd:
      line += "adds " + text(step.value) + " to " + name + ", " + text(thread.result_) + " before";
      break;
    case Access::kCompareExchange:
      line += "compares " + name + " with " + text(step.expected) + " for " + text(step.value) +
              (thread.result_ == 1 ? ": exchanged" : ": it is another");
      break;
    case Access::kFence: line += "fence"; break;
    case Access::kBarrier: line += "barrier on all threads"; break;
    case Access::kLock: line += "locks " + name; break;
    case Access::kWaitUntil:
    case Access::kWaitWhile: line += "has waited for " + name + ": " + text(thread.result_); break;
    case Access::kFutex:
      line +=
          "futex on " + name + " == " + text(step.expected) + (thread.result_ == 1 ? ": sleeps" : ": it is another");
      break;
  }
  trace_.push_back(std::move(line));
}

void Machine::note(const Thread& thread, const char* what, int value) {
  if (traced_) trace_.push_back(std::string(thread.name_) + ":   " + what + " " + std::to_string(value));
}

void Machine::end() {
  std::string waiting;
  for (const auto& thread : threads_)
    if (!thread->ended() && !thread->may_wait_)
      waiting +=
          std::string(waiting.empty() ? "" : ", ") + thread->name_ + " waits for " + names_[thread->next_.cell.index];
  if (!waiting.empty()) expect(false, ("nothing can happen any more: " + waiting).c_str());
  if (at_end_) at_end_();
}

std::uint64_t Machine::hash() const noexcept {
  std::uint64_t hash = 0;
  for (const int value : values_) hash = mix_int(hash, value);
  for (const auto& thread : threads_) {
    hash = mix(hash, thread->history_);
    hash = mix(hash, thread->barrier_waits_for_);
    for (const Thread::Stored& stored : thread->buffer_)
      hash = mix_int(hash, stored.value * 512 + stored.cell.index * 2 + (stored.release ? 1 : 0));
    hash = mix(hash, thread->buffer_.size());
  }
  return hash;
}

// --- All of them ----------------------------------------------------------------------------------------------------

namespace {

struct Node {
  std::uint32_t before;
  Machine::Choice choice;
};

std::unique_ptr<Machine> run(Memory memory, const std::function<void(Machine&)>& build,
                             const std::vector<Machine::Choice>& path, bool traced) {
  auto machine = std::make_unique<Machine>(memory);
  if (traced) machine->keep_trace();
  build(*machine);
  machine->start();
  for (const Machine::Choice choice : path) machine->choose(choice);
  return machine;
}

}  // namespace

Exploration explore(Memory memory, const std::function<void(Machine&)>& build, std::size_t most_states) {
  Exploration result;
  std::vector<Node> nodes{{0, 0}};
  std::unordered_set<std::uint64_t> seen;
  std::vector<Machine::Choice> path;
  const auto give_up = [&] {
    const auto failed = run(memory, build, path, true);
    if (failed->choices().empty()) failed->end();
    result.failure = failed->failure();
    result.trace = failed->trace();
  };
  seen.insert(run(memory, build, path, false)->hash());
  for (std::size_t at = 0; at < nodes.size(); ++at) {
    path.clear();
    for (std::size_t node = at; node != 0; node = nodes[node].before) path.push_back(nodes[node].choice);
    std::reverse(path.begin(), path.end());
    auto machine = run(memory, build, path, false);
    const std::vector<Machine::Choice> choices = machine->choices();
    if (choices.empty()) machine->end();
    if (!machine->failure().empty()) {
      give_up();
      break;
    }
    for (const Machine::Choice choice : choices) {
      if (machine == nullptr) machine = run(memory, build, path, false);
      machine->choose(choice);
      ++result.steps;
      // A failure counts as a state of its own, since what failed may be no part of the memory.
      if (seen.insert(mix(machine->hash(), machine->failure().empty() ? 0 : 1)).second)
        nodes.push_back({static_cast<std::uint32_t>(at), choice});
      machine.reset();
    }
    if (nodes.size() > most_states) {
      result.failure = "more states than this may have: make the model smaller";
      break;
    }
  }
  result.states = nodes.size();
  return result;
}

void print(const char* name, const Exploration& exploration) {
  std::printf("[   MODEL  ] %s: %zu states, %zu steps%s%s\n", name, exploration.states, exploration.steps,
              exploration.failure.empty() ? "" : "; found: ", exploration.failure.c_str());
  for (std::size_t i = 0; i < exploration.trace.size(); ++i)
    std::printf("[   MODEL  ] %4zu  %s\n", i + 1, exploration.trace[i].c_str());
  std::fflush(stdout);
}

}  // namespace weft::sched::model
