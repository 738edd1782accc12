// lease.cc - a lease that is not enough, found out by simulation: the same program, a network drawn from a seed, and try again.
//
//   lease [--fixed] [--seeds N]      the first of N seeds (1000) by which an update is lost
//   lease [--fixed] --seed S         that one again: the messages and what came of them
//
// Two clients raise a number in a store by reading it and writing it back, each only while it holds a lease. But a message may be
// late, and the lease over when it arrives. --fixed: each lease has a number, and the store refuses what comes under an older
// one (Kleppmann, "How to do distributed locking", 2016).
#include <weft/sched.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;
namespace sched = weft::sched;
namespace io = weft::sched::io;

enum class Kind : std::uint64_t { kAcquire, kRelease, kRead, kWrite, kYes, kNo };
struct Message {
  Kind kind;
  std::uint64_t lease;
  std::uint64_t value;
};
constexpr std::uint16_t kPort = 7;
constexpr auto kLeaseTime = 20ms;

// Answers each message that comes, until its host goes down.
template <typename Answer>
weft::Status serve(Answer answer) {
  io::Datagrams socket = WEFT_TRY(io::Datagrams::bind(io::Address::ipv4_any(kPort)));
  for (;;) {
    Message message{};
    const auto from = WEFT_TRY(socket.receive_from(std::as_writable_bytes(std::span(&message, 1)))).from;
    const Message reply = answer(message);
    WEFT_TRY(socket.send_to(std::as_bytes(std::span(&reply, 1)), from));
  }
}

weft::Status lease_service() {
  std::uint64_t lease = 0;
  sched::Deadline ends(0ns);
  return serve([&](const Message& asked) -> Message {
    if (asked.kind == Kind::kRelease && asked.lease == lease) ends = sched::Deadline(0ns);
    if (asked.kind != Kind::kAcquire || !ends.passed()) return {Kind::kNo, 0, 0};
    ends = sched::Deadline::after(kLeaseTime);
    return {Kind::kYes, ++lease, 0};
  });
}

weft::Status store(bool fixed) {
  std::uint64_t value = 0;
  std::uint64_t newest = 0;
  return serve([=](const Message& asked) mutable -> Message {
    if (fixed && asked.lease < newest) return {Kind::kNo, 0, 0};
    newest = asked.lease;
    if (asked.kind == Kind::kWrite) value = asked.value;
    return {Kind::kYes, asked.lease, value};
  });
}

// Each question from a socket of its own, so that an old answer finds nobody.
weft::Result<Message> ask(const sched::SimulatedHost& whom, const Message& question) {
  io::Datagrams socket = WEFT_TRY(io::Datagrams::bind(io::Address::ipv4_any(0)));
  WEFT_TRY(socket.send_to(std::as_bytes(std::span(&question, 1)), whom.address(kPort)));
  Message answer{};
  WEFT_TRY(socket.receive_from(std::as_writable_bytes(std::span(&answer, 1)), sched::Deadline::after(200ms)));
  if (answer.kind == Kind::kNo) return weft::fail(weft::Errc::kAgain);
  return answer;
}

struct Outcome {
  std::set<std::uint64_t> written;  // what the store has acknowledged
  std::uint64_t lost = 0;           // the value that it acknowledged to both
};

weft::Status raise_once(const sched::SimulatedHost& leases, const sched::SimulatedHost& numbers, Outcome& outcome) {
  const std::uint64_t lease = WEFT_TRY(ask(leases, {Kind::kAcquire, 0, 0})).lease;
  const std::uint64_t value = WEFT_TRY(ask(numbers, {Kind::kRead, lease, 0})).value + 1;
  WEFT_TRY(ask(numbers, {Kind::kWrite, lease, value}));
  if (!outcome.written.insert(value).second) outcome.lost = value;
  (void)ask(leases, {Kind::kRelease, lease, 0});
  return {};
}

Outcome simulate(std::uint64_t seed, bool fixed, std::string& trace) {
  sched::SimulatedNetwork network({.seed = seed, .link = {.slow_permille = 50, .slow_max = 50ms, .lost_permille = 20}});
  sched::SimulatedHost& leases = network.add_host("leases");
  sched::SimulatedHost& numbers = network.add_host("numbers");
  sched::SimulatedHost* const clients[] = {&network.add_host("one"), &network.add_host("two")};
  sched::Simulation simulation(seed);
  simulation.use_network(network);
  Outcome outcome;
  const weft::Status ended = simulation.run([&] {
    (void)leases.start("leases", [] { (void)lease_service(); });
    (void)numbers.start("numbers", [=] { (void)store(fixed); });
    for (sched::SimulatedHost* client : clients)
      (void)client->start("client", [&] {
        for (int i = 0; i < 10; ++i) (void)raise_once(leases, numbers, outcome);
      });
    for (sched::SimulatedHost* client : clients) (void)client->join();
    leases.kill(sched::Crash::kProcess);
    numbers.kill(sched::Crash::kProcess);
  });
  if (!ended) std::fprintf(stderr, "%s\n", ended.error().message().c_str());
  trace = simulation.trace();
  return outcome;
}

int search(std::uint64_t seeds, bool fixed) {
  std::string trace;
  std::uint64_t updates = 0;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const Outcome outcome = simulate(seed, fixed, trace);
    updates += outcome.written.size();
    if (outcome.lost == 0) continue;
    std::printf("seed %llu loses an update: lease --seed %llu\n", static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(seed));
    return 1;
  }
  std::printf("%llu seeds, %llu updates, none lost\n", static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(updates));
  return 0;
}

int replay(std::uint64_t seed, bool fixed) {
  std::string trace;
  std::string again;
  const Outcome outcome = simulate(seed, fixed, trace);
  (void)simulate(seed, fixed, again);
  std::fputs(trace.c_str(), stdout);
  if (outcome.lost != 0)
    std::printf("%llu was written twice\n", static_cast<unsigned long long>(outcome.lost));
  else
    std::puts("no update is lost");
  std::puts(trace == again ? "and again the same trace" : "and again another trace");
  return outcome.lost != 0 ? 1 : 0;
}

}  // namespace

int main(int count, char** words) {
  bool fixed = false;
  std::uint64_t seeds = 1000;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--fixed") {
      fixed = true;
    } else if (word == "--seeds" && i + 1 < count) {
      seeds = std::strtoull(words[++i], nullptr, 10);
    } else if (word == "--seed" && i + 1 < count) {
      return replay(std::strtoull(words[i + 1], nullptr, 10), fixed);
    } else {
      std::puts("usage: lease [--fixed] [--seeds N]\n       lease [--fixed] --seed S");
      return word == "--help" ? 0 : 2;
    }
  }
  return search(seeds, fixed);
}
