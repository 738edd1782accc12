#include "sched/io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "sched/signal.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() { EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0); }
  ~Pipe() {
    close(ends[0]);
    close(ends[1]);
  }
};

// Each test runs with io_uring and without.
class Io : public testing::TestWithParam<bool> {
 protected:
  Runtime runtime_ = std::move(*Runtime::create({.workers = 2, .use_io_uring = GetParam()}));
};
INSTANTIATE_TEST_SUITE_P(WithAndWithoutIoUring, Io, testing::Bool());

// The device begins with what the first fibers ask for while the others still run.
TEST(IoByRing, TheKernelHearsOfReadsBeforeAllThatAreReadyHaveAskedForTheirs) {
  constexpr int kReaders = 6;
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime);
  runtime->block_on([&] {
    const auto counters = [&] { return runtime->report().workers.front(); };
    std::vector<Fiber> readers;
    readers.reserve(kReaders);
    for (int i = 0; i < kReaders; ++i) {
      readers.push_back(spawn("reads", [] {
        std::byte place{};
        EXPECT_EQ(io::read(-1, {&place, 1}, 0).error().os_errno(), EBADF);
      }));
    }
    const WorkerCounters before = counters();
    for (int i = 0; i < kReaders; ++i) yield();  // one of them begins at each
    const WorkerCounters after = counters();
    for (Fiber& reader : readers) reader.join();
    if (counters().submitted == 0) GTEST_SKIP() << "no io_uring here";
    ASSERT_EQ(after.submitted - before.submitted, static_cast<unsigned>(kReaders));
    // Else it is two at most, as a worker submits at each eighth pick in any case.
    EXPECT_GE(after.enters - before.enters, static_cast<unsigned>(kReaders) / 2);
  });
}

// A pipe in the place of a device, as it answers when the test says so. A worker that looks about does so until long after the test.
TEST(IoByRing, AWorkerThatWaitsForNothingButFilesSleepsAtOnceAndAnyOtherLooksAbout) {
  constexpr int kReads = 3;
  auto runtime = Runtime::create({.workers = 1, .idle_spin = 1h});
  ASSERT_TRUE(runtime);
  if (!runtime->block_on([] { return io::ring_takes(UringOp::kRead); })) GTEST_SKIP() << "no io_uring here";
  Pipe pipe;
  const auto answer = [&] {
    const std::byte one{1};
    EXPECT_EQ(write(pipe.ends[1], &one, 1), 1);
  };
  const auto counters = [&] { return runtime->report().workers.front(); };

  std::atomic<int> reads{0};
  std::uint64_t sleeps = 0;
  Semaphore go(0);
  Fiber reader = runtime->spawn("reads", [&] {
    while (reads < kReads) {
      std::byte into{};
      EXPECT_EQ(io::read(pipe.ends[0], {&into, 1}, 0).value(), 1U);
      ++reads;
    }
    sleeps = counters().sleeps;
    EXPECT_TRUE(go.acquire());
  });
  answer();  // before one has come back, a worker may as well wait for something else
  for (int done = 1; done < kReads; ++done) {
    const auto limit = std::chrono::steady_clock::now() + 20s;
    while ((reads != done || !counters().asleep) && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    EXPECT_TRUE(counters().asleep) << done << " of " << kReads << " have come back";
    answer();
  }
  while (reads != kReads) std::this_thread::yield();
  go.release();
  reader.join();
  EXPECT_EQ(counters().sleeps, sleeps) << "no request was in flight";
}

TEST_P(Io, WhatIsWrittenIsRead) {
  char path[] = "/tmp/weft-io-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  unlink(path);
  runtime_.block_on([&] {
    std::vector<std::byte> out(20000);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i * 7);
    EXPECT_EQ(io::write(fd, out, 100).value(), out.size());
    EXPECT_TRUE(io::fsync(fd).has_value());
    EXPECT_TRUE(io::fdatasync(fd).has_value());
    std::vector<std::byte> in(out.size());
    EXPECT_EQ(io::read(fd, in, 100).value(), in.size());
    EXPECT_EQ(in, out);
    EXPECT_TRUE(io::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192).has_value());
    EXPECT_EQ(io::read(fd, std::span(in).first(1), 200).value(), 1U);
    EXPECT_EQ(in[0], std::byte{0});
    EXPECT_EQ(io::read(-1, in, 0).error().os_errno(), EBADF);
  });
  close(fd);
}

TEST_P(Io, AReadWaitsForTheOtherEndWithoutBlockingTheWorker) {
  Pipe pipe;
  runtime_.block_on([&] {
    Fiber reader = spawn("reader", [&] {
      std::array<std::byte, 8> into{};
      for (int i = 0; i < 50; ++i) EXPECT_EQ(io::read_some(pipe.ends[0], std::span(into).first(1)).value(), 1U);
    });
    for (int i = 0; i < 50; ++i) {
      yield();
      const std::byte one{1};
      EXPECT_EQ(io::write_some(pipe.ends[1], {&one, 1}).value(), 1U);
    }
    reader.join();
  });
}

TEST_P(Io, APollTimesOutAndTheDescriptorStaysUsable) {
  Pipe pipe;
  runtime_.block_on([&] {
    auto waited = io::wait_readable(pipe.ends[0], Deadline::after(2ms));
    ASSERT_FALSE(waited);
    EXPECT_EQ(waited.error(), Errc::kTimedOut);
    const std::byte one{1};
    EXPECT_TRUE(io::write_some(pipe.ends[1], {&one, 1}).has_value());
    EXPECT_TRUE(io::wait_readable(pipe.ends[0]).has_value());
    EXPECT_EQ(io::poll(pipe.ends[0], POLLIN).value() & POLLIN, unsigned{POLLIN});
  });
}

TEST_P(Io, AStopRequestEndsAReadThatWaits) {
  Pipe pipe;
  runtime_.block_on([&] {
    for (int round = 0; round < 3; ++round) {
      Errc code{};
      Fiber reader = spawn("reader", [&] {
        std::byte into{};
        auto read = io::read_some(pipe.ends[0], {&into, 1});
        if (!read) code = read.error().code();
      });
      (void)sleep_for(std::chrono::microseconds(300 * round));
      reader.request_stop();
      reader.join();
      EXPECT_EQ(code, Errc::kCancelled);
    }
  });
}

TEST_P(Io, TimeoutsRaceWithCompletionsAndLoseNothing) {
  Pipe pipe;
  constexpr int kBytes = 150;
  runtime_.block_on([&] {
    int got = 0;
    Fiber reader = spawn("reader", [&] {
      std::byte into{};
      while (got < kBytes) {
        auto read = io::read_some(pipe.ends[0], {&into, 1}, Deadline::after(30us));
        if (read)
          got += static_cast<int>(*read);
        else
          ASSERT_EQ(read.error(), Errc::kTimedOut);
      }
    });
    for (int i = 0; i < kBytes; ++i) {
      (void)sleep_for(std::chrono::microseconds(i % 60));
      const std::byte one{1};
      ASSERT_TRUE(io::write_some(pipe.ends[1], {&one, 1}).has_value());
    }
    reader.join();
    EXPECT_EQ(got, kBytes);
  });
}

TEST(IoOnAPlainThread, MakesTheSystemCalls) {
  Pipe pipe;
  const std::byte one{1};
  EXPECT_EQ(io::wait_readable(pipe.ends[0], Deadline::after(1ms)).error(), Errc::kTimedOut);
  EXPECT_EQ(io::write_some(pipe.ends[1], {&one, 1}).value(), 1U);
  std::byte into{};
  EXPECT_EQ(io::read_some(pipe.ends[0], {&into, 1}).value(), 1U);
  EXPECT_EQ(into, one);
}

TEST(SignalSet, AFiberWaitsForASignal) {
  SignalSet signals({SIGUSR2});
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([&] {
    EXPECT_EQ(signals.wait(Deadline::after(1ms)).error(), Errc::kTimedOut);
    Fiber waiting = spawn("signals", [&] { EXPECT_EQ(signals.wait().value(), SIGUSR2); });
    (void)sleep_for(1ms);
    kill(getpid(), SIGUSR2);
    waiting.join();
  });
}

TEST(SignalSet, FibersOfSeveralRuntimesShareOneAndEachSignalIsTakenOnce) {
  SignalSet signals({SIGUSR1, SIGUSR2});
  auto one = Runtime::create({.workers = 1});
  auto other = Runtime::create({.workers = 1, .use_io_uring = false});
  ASSERT_TRUE(one.has_value() && other.has_value());
  std::atomic<int> first{0};
  std::atomic<int> second{0};
  const auto wait = [&] {
    auto signal = signals.wait(Deadline::after(30s));
    if (signal) ++(*signal == SIGUSR1 ? first : second);
  };
  Fiber here = one->spawn("waits", wait);
  Fiber there = other->spawn("waits", wait);
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGUSR2);
  here.join();
  there.join();
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
  EXPECT_EQ(signals.wait(Deadline::after(1ms)).error(), Errc::kTimedOut);
}

}  // namespace
}  // namespace weft::sched
