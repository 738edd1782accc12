#include "sched/overflow.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>

#include "sched/runtime.h"
#include "sched/sanitizers.h"

// Each in a process of its own, which it ends.
namespace weft::sched {
namespace {

using testing::ExitedWithCode;
using testing::KilledBySignal;

[[gnu::noinline]] std::size_t go_deep(std::size_t levels) {
  volatile char some[512];
  some[levels % sizeof some] = 1;
  if (levels == 0) return some[0];
  return go_deep(levels - 1) + static_cast<std::size_t>(some[levels % sizeof some]);
}

void overflow_on_a_fiber(const Runtime::Options& options) {
  auto runtime = Runtime::create(options);
  if (!runtime) _exit(99);
  runtime->spawn("digger", [] { go_deep(1'000'000); }).join();
}

void say_and_end(int signal) {
  const char* text = signal == SIGSEGV ? "the program's handler\n" : "another signal\n";
  (void)!write(STDERR_FILENO, text, std::strlen(text));
  _exit(17);
}

class OverflowDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitizerHandlesFaults) GTEST_SKIP() << "the sanitizer reports faults";
    struct sigaction there{};
    sigaction(SIGSEGV, nullptr, &there);
    if (there.sa_handler != SIG_DFL) GTEST_SKIP() << "something has a handler for SIGSEGV already";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
};

TEST_F(OverflowDeathTest, NamesTheFiberAndItsStackAndThenDiesOfTheFault) {
  EXPECT_EXIT(overflow_on_a_fiber({.workers = 2}), KilledBySignal(SIGSEGV),
              "^weft: fiber \"digger\" overflowed its 128 KiB stack \\(address 0x[0-9a-f]+\\)\n"
              "  program\\+0x[0-9a-f]+\n  program\\+0x[0-9a-f]+\n");
}

TEST_F(OverflowDeathTest, OfASizeOfItsOwnAndWithSeveralRuntimes) {
  EXPECT_EXIT(
      {
        auto other = Runtime::create({.name = "other", .workers = 1});
        { auto third = Runtime::create({.name = "third", .workers = 1, .overflow_report = OverflowReport::kAlways}); }
        overflow_on_a_fiber({.workers = 1, .stack_bytes = 64 * 1024});
      },
      KilledBySignal(SIGSEGV), "^weft: fiber \"digger\" overflowed its 64 KiB stack");
}

TEST_F(OverflowDeathTest, AnotherFaultOnAFiberDiesAsItAlwaysDid) {
  EXPECT_EXIT(
      {
        auto runtime = Runtime::create({.workers = 1});
        runtime
            ->spawn("careless",
                    [] {
                      int* volatile nowhere = nullptr;
                      *static_cast<volatile int*>(nowhere) = 1;
                    })
            .join();
      },
      KilledBySignal(SIGSEGV), "^$");
}

TEST_F(OverflowDeathTest, ASignalThatIsSentIsNoFaultAndStillEndsTheProcess) {
  EXPECT_EXIT(
      {
        auto runtime = Runtime::create({.workers = 1});
        runtime->block_on([] { raise(SIGSEGV); });
      },
      KilledBySignal(SIGSEGV), "^$");
}

TEST_F(OverflowDeathTest, OnAPlainThreadItIsTheSystemsAffair) {
  EXPECT_EXIT(
      {
        auto runtime = Runtime::create({.workers = 1});
        std::thread([] { go_deep(1'000'000); }).join();
      },
      KilledBySignal(SIGSEGV), "^$");
}

TEST_F(OverflowDeathTest, SwitchedOffNothingIsSaid) {
  EXPECT_EXIT(overflow_on_a_fiber({.workers = 1, .overflow_report = OverflowReport::kOff}), KilledBySignal(SIGSEGV),
              "^$");
}

TEST_F(OverflowDeathTest, AProgramsOwnHandlerGetsItsOwnFaults) {
  EXPECT_EXIT(
      {
        signal(SIGSEGV, &say_and_end);
        auto runtime = Runtime::create({.workers = 1});
        runtime
            ->spawn("careless",
                    [] {
                      int* volatile nowhere = nullptr;
                      *static_cast<volatile int*>(nowhere) = 1;
                    })
            .join();
      },
      ExitedWithCode(17), "^the program's handler\n$");
}

TEST_F(OverflowDeathTest, WhereItIsWantedAlwaysTheProgramsHandlerComesAfterTheReport) {
  EXPECT_EXIT(
      {
        signal(SIGSEGV, &say_and_end);
        overflow_on_a_fiber({.workers = 1, .overflow_report = OverflowReport::kAlways});
      },
      ExitedWithCode(17), "^weft: fiber \"digger\" overflowed its 128 KiB stack(.|\n)*the program's handler\n$");
}

TEST_F(OverflowDeathTest, AHandlerOfAfterwardsReplacesOursAndStays) {
  EXPECT_EXIT(
      {
        {
          auto runtime = Runtime::create({.workers = 1});
          signal(SIGSEGV, &say_and_end);
        }
        struct sigaction there{};
        sigaction(SIGSEGV, nullptr, &there);
        _exit(there.sa_handler == &say_and_end ? 3 : 4);
      },
      ExitedWithCode(3), "^$");
}

TEST(Overflow, TheHandlerLivesAsLongAsTheRuntimes) {
  if (kSanitizerHandlesFaults) GTEST_SKIP() << "the sanitizer reports faults";
  struct sigaction before{}, during{}, after{};
  sigaction(SIGSEGV, nullptr, &before);
  {
    auto first = Runtime::create({.workers = 1});
    auto second = Runtime::create({.workers = 1});
    sigaction(SIGSEGV, nullptr, &during);
  }
  sigaction(SIGSEGV, nullptr, &after);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
  EXPECT_EQ(during.sa_handler == SIG_DFL, false);
}

}  // namespace
}  // namespace weft::sched
