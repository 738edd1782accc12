// embed.cc - a program that has threads already, and takes fibers in.
//
//   embed
//
// Its threads are as they were: they call, wait and lock. What is new lives beside them: a runtime whose fibers keep many slow
// conversations going, and a second one, of one worker, for what should not be disturbed. Threads and fibers share a mutex and a
// channel; a thread asks the fibers for something and waits for it, or leaves it to them and goes on.
#include <weft/sched.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sched = weft::sched;
using namespace std::chrono_literals;

namespace {

// Stands for a server far away.
int ask_far_away(int question) {
  (void)sched::sleep_for(5ms);
  if (question < 0) throw std::invalid_argument("there is no such question");
  return question * question;
}

// A hundred conversations take as long as one.
int ask_all(int first, int count) {
  std::vector<sched::Task<int>> asked;
  for (int i = 0; i < count; ++i) asked.push_back(sched::start("ask", [=] { return ask_far_away(first + i); }));
  int sum = 0;
  for (auto& answer : asked) sum += answer.join();
  return sum;
}

// What the program had before: used by its threads, now by fibers, too. Only the type of its lock has changed.
class Ledger {
 public:
  void enter(const std::string& who, int amount) {
    const std::lock_guard guard(lock_);
    entries_[who] += amount;
  }
  int of(const std::string& who) {
    const std::lock_guard guard(lock_);
    return entries_[who];
  }

 private:
  sched::Mutex lock_;
  std::map<std::string, int> entries_;
};

}  // namespace

int main() {
  auto fibers = sched::Runtime::create({.name = "fibers"});
  auto quiet = sched::Runtime::create({.name = "quiet", .workers = 1});
  if (!fibers || !quiet) return 1;
  Ledger ledger;

  // On the second runtime somebody writes down what comes through a channel, whoever sends it.
  sched::Channel<std::pair<std::string, int>> entries(16);
  sched::Fiber writer = quiet->spawn("writer", [&] {
    while (auto entry = entries.receive()) ledger.enter(entry->first, entry->second);
  });

  sched::WaitGroup left(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      // Waits as for any call.
      const int sum = fibers->block_on([t] { return ask_all(t * 100, 100); });
      if (!entries.send({"sum", sum})) return;
      // Does not wait.
      fibers
          ->spawn("later",
                  [&] {
                    (void)entries.send({"later", ask_far_away(3)});
                    left.done();
                  })
          .detach();
      ledger.enter("thread", 1);
    });
  for (std::thread& thread : threads) thread.join();

  // What a fiber throws comes out where it is waited for.
  try {
    fibers->block_on([] { return ask_far_away(-1); });
  } catch (const std::invalid_argument& refused) {
    std::printf("refused: %s\n", refused.what());
  }

  left.wait();
  entries.close();
  writer.join();
  std::printf("sum %d, later %d, threads %d\n", ledger.of("sum"), ledger.of("later"), ledger.of("thread"));
}
