// embedder.cc - a program of somebody else's: knows nothing of Weft but <weft/sched.h>, and checks what it was promised.
//
// Built by tests/library/installed.sh with each compiler and in each way of linking. What optimizers may break is in it: state
// of a thread (thread_local, errno) and of exceptions, looked at before and after a fiber has gone to another thread.
// Prints "embedder: all holds" at the end; at the first thing that does not, what it was, and exits with 1.
#include <unistd.h>

#include <weft/sched.h>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#ifdef TRY
#error "a short name that nobody asked for"
#endif
#define TRY "ours"

namespace {

using namespace std::chrono_literals;
namespace sched = weft::sched;

#define CHECK(condition)                                                           \
  if (!(condition)) {                                                              \
    std::fprintf(stderr, "embedder: line %d: not so: %s\n", __LINE__, #condition); \
    std::_Exit(1);                                                                 \
  }

thread_local pid_t my_thread = 0;

// The rule for state of a thread: an accessor that the optimizer does not see into.
[[gnu::noinline]] pid_t& thread_state() {
  asm volatile("");
  return my_thread;
}
[[gnu::noinline]] int* errno_place() {
  asm volatile("");
  return &errno;
}

// Goes on when the fiber is on another thread than `from`: one that is bound to this worker holds it up, while one that is bound to
// another wakes us there. The bound is for a loaded machine.
bool migrate_from(pid_t from) {
  const auto deadline = sched::Deadline::after(60s);
  while (!deadline.passed()) {
    struct Flags {
      std::atomic<bool> held{false};
      std::atomic<bool> let_go{false};
    };
    const auto flags = std::make_shared<Flags>();
    sched::Semaphore woken(0);
    const unsigned here = sched::worker_index();
    sched::Fiber hog = sched::spawn_pinned(here, "hog", [flags] {
      flags->held = true;
      while (!flags->let_go) usleep(100);
    });
    sched::Fiber waker = sched::spawn_pinned((here + 1) % sched::worker_count(), "waker", [&] {
      while (!flags->held) usleep(100);
      woken.release();
    });
    const bool waited = woken.acquire().has_value();
    waker.join();
    const bool moved = gettid() != from;
    flags->let_go = true;
    hog.detach();  // whoever joins it is woken where it ends: back there
    if (waited && moved) return true;
  }
  return false;
}

void thread_state_is_read_anew() {
  for (int i = 0; i < 3; ++i) {
    const pid_t before = gettid();
    thread_state() = before;
    *errno_place() = 1000 + i;
    int* const place_before = errno_place();
    CHECK(migrate_from(before));
    const pid_t now = gettid();
    CHECK(now != before);
    CHECK(thread_state() != before);  // the other thread's own, whatever is in it
    thread_state() = now;
    CHECK(thread_state() == now);
    CHECK(errno_place() != place_before);
  }
  const sched::NoMigrate here;
  int* const place = errno_place();
  const pid_t thread = gettid();
  for (int i = 0; i < 10; ++i) {
    CHECK(sched::sleep_for(50us).has_value());
    CHECK(gettid() == thread && errno_place() == place);
  }
}

// Several hold an exception that they have caught, and change threads one after another before they throw it again.
void exceptions_travel() {
  sched::Semaphore turn(0);
  sched::Semaphore done(0);
  sched::TaskGroup group;
  for (int i = 0; i < 4; ++i)
    group.spawn("thrower", [&, i]() -> weft::Status {
      const std::string mine = "exception " + std::to_string(i);
      try {
        try {
          throw std::runtime_error(mine);
        } catch (const std::runtime_error&) {
          WEFT_TRY(turn.acquire());
          CHECK(migrate_from(gettid()));
          CHECK(std::uncaught_exceptions() == 0);
          throw;
        }
      } catch (const std::exception& caught) {
        CHECK(caught.what() == mine);
      }
      CHECK(std::current_exception() == nullptr);
      done.release();
      return {};
    });
  for (int i = 0; i < 4; ++i) {
    turn.release();
    CHECK(done.acquire().has_value());
  }
  CHECK(group.join().has_value());
}

struct TheirError {
  int number;
};

void runtimes_side_by_side() {
  auto first = sched::Runtime::create({.name = "first", .workers = 2}).value();
  auto second = sched::Runtime::create({.name = "second", .workers = 1}).value();
  CHECK(first.worker_count() == 2 && second.worker_count() == 1);
  sched::Channel<int> there(1);
  sched::Channel<int> back(1);
  sched::Fiber echo = second.spawn("echo", [&] {
    while (auto value = there.receive()) CHECK(back.send(*value + 1).has_value());
    back.close();
  });
  const int sum = first.block_on([&] {
    int total = 0;
    for (int i = 0; i < 100; ++i) {
      CHECK(there.send(i).has_value());
      total += back.receive().value();
    }
    return total;
  });
  CHECK(sum == 5050);
  there.close();
  echo.join();

  // A type of the program's own, through the library and back.
  int caught = 0;
  try {
    first.block_on([] { throw TheirError{42}; });
  } catch (const TheirError& error) {
    caught = error.number;
  }
  CHECK(caught == 42);

  // A plain thread and fibers on one lock.
  sched::Mutex lock;
  int counted = 0;
  std::thread plain([&] {
    for (int i = 0; i < 400; ++i) {
      const std::lock_guard guard(lock);
      ++counted;
    }
  });
  first.block_on([&] {
    auto half = sched::start("half", [&] {
      for (int i = 0; i < 200; ++i) {
        const std::unique_lock guard(lock);
        ++counted;
      }
      return 200;
    });
    for (int i = 0; i < 200; ++i) {
      const std::scoped_lock guard(lock);
      ++counted;
    }
    CHECK(half.join() == 200);
  });
  plain.join();
  CHECK(counted == 800);
}

void errors_are_values() {
  std::byte place[1];
  const auto nothing = sched::io::read_some(-1, place);
  CHECK(!nothing.has_value() && nothing.error().os_errno() == EBADF);
  const auto late = sched::sleep_for(1ms);
  CHECK(late.has_value());
  CHECK(std::string(TRY) == "ours");
}

void simulations_repeat() {
  std::string traces[2];
  for (std::string& trace : traces) {
    sched::Simulation simulation(7);
    CHECK(simulation
              .run([] {
                sched::TaskGroup group;
                for (int i = 0; i < 3; ++i)
                  group.spawn("sleeper", [i] { return sched::sleep_for(std::chrono::hours(i + 1)); });
                CHECK(group.join().has_value());
              })
              .has_value());
    trace = simulation.trace();
  }
  CHECK(!traces[0].empty() && traces[0] == traces[1]);
}

}  // namespace

int main() {
  {
    auto runtime = sched::Runtime::create({.workers = 2}).value();
    runtime.block_on(thread_state_is_read_anew);
    runtime.block_on(exceptions_travel);
    runtime.block_on(errors_are_values);
  }
  runtimes_side_by_side();
  simulations_repeat();
  std::puts("embedder: all holds");
}
