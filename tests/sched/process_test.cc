#include "sched/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "sched/io.h"
#include "sched/simulation.h"
#include "sched/spawn.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

using Processes = InEachMode;
INSTANTIATE_TEST_SUITE_P(Io, Processes,
                         testing::Values(IoMode::kRing, IoMode::kRestrictedRing, IoMode::kEpoll, IoMode::kThread),
                         name_of);

std::vector<std::string> shell(const std::string& script) { return {"sh", "-c", script}; }

// No child is left, running or dead.
bool no_children() { return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

TEST_P(Processes, TheExitCodeOrSignalIsTold) {
  run([&] {
    auto exited = run_process({.arguments = shell("exit 7")});
    ASSERT_TRUE(exited.has_value()) << exited.error().message();
    EXPECT_EQ(exited->status.exit_code, 7);
    EXPECT_EQ(exited->status.to_text(), "exit code 7");
    auto killed = run_process({.arguments = shell("kill -TERM $$")});
    ASSERT_TRUE(killed.has_value());
    EXPECT_EQ(killed->status.signal, SIGTERM);
    EXPECT_EQ(killed->status.exit_code, -1);
    EXPECT_EQ(killed->status.to_text(), "signal 15 (Terminated)");
    auto process = Process::start({.arguments = {"true"}});
    ASSERT_TRUE(process.has_value());
    EXPECT_TRUE(process->wait(Deadline::after(20s))->success());
    EXPECT_TRUE(process->wait()->success());
    EXPECT_EQ(process->kill(SIGTERM).error(), Errc::kNotFound);
  });
  EXPECT_TRUE(no_children());
}

TEST_P(Processes, WhatCannotBeRunIsNamed) {
  const std::size_t before = open_descriptors();
  run([&] {
    auto missing =
        Process::start({.arguments = {"/nonesuch/program"}, .input = Stdio::pipe(), .output = Stdio::pipe()});
    ASSERT_FALSE(missing.has_value());
    EXPECT_EQ(missing.error(), Errc::kNotFound);
    EXPECT_NE(missing.error().message().find("/nonesuch/program"), std::string::npos);
    EXPECT_EQ(Process::start({.arguments = {"/etc/passwd"}}).error(), Errc::kAccessDenied);
    EXPECT_EQ(Process::start({.arguments = {"true"}, .working_directory = "/nonesuch"}).error(), Errc::kNotFound);
    EXPECT_EQ(Process::start({}).error(), Errc::kInvalid);
    EXPECT_EQ(Process().wait().error(), Errc::kNotFound);
  });
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(no_children());
}

TEST_P(Processes, BigOutputOnBothPipesAndBigInputDoNotBlockEachOther) {
  const std::size_t before = open_descriptors();
  std::string input(700'000, 'i');
  run([&] {
    auto finished = run_process(
        {.arguments = shell("head -c 1000000 /dev/zero | tr '\\0' e >&2; head -c 1000000 /dev/zero | tr '\\0' o; cat")},
        bytes_of(input), Deadline::after(60s));
    ASSERT_TRUE(finished.has_value()) << finished.error().message();
    EXPECT_TRUE(finished->status.success());
    EXPECT_EQ(finished->error_output, std::string(1'000'000, 'e'));
    EXPECT_EQ(finished->output, std::string(1'000'000, 'o') + input);
    // Neither is it an error not to read one's input, nor does it raise SIGPIPE here.
    auto deaf = run_process({.arguments = shell("exec 0<&-; echo done")}, bytes_of(input), Deadline::after(60s));
    ASSERT_TRUE(deaf.has_value()) << deaf.error().message();
    EXPECT_EQ(deaf->output, "done\n");
  });
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(no_children());
}

TEST_P(Processes, EnvironmentDirectoryAndDescriptorsAreAsWished) {
  run([&] {
    auto finished = run_process({.arguments = shell("pwd; echo $WEFT_A; echo $HOME-"),
                                 .environment = std::vector<std::string>{"WEFT_A=b c", "PATH=/bin:/usr/bin"},
                                 .working_directory = "/proc"});
    ASSERT_TRUE(finished.has_value());
    EXPECT_EQ(finished->output, "/proc\nb c\n-\n");
    // Three of ours go crosswise, the errors where the output goes.
    auto pipe = std::move(*io::make_pipe());
    auto process = Process::start({.arguments = shell("echo out; echo err >&2; ls /proc/self/fd"),
                                   .output = Stdio::descriptor(pipe.write.get()),
                                   .error_output = Stdio::as_output()});
    ASSERT_TRUE(process.has_value());
    EXPECT_TRUE(process->wait()->success());
    EXPECT_FALSE(process->output().is_open());
    pipe.write.reset();
    // 3 is the directory that ls reads.
    EXPECT_EQ(PipeStream(std::move(pipe.read)).read_to_end(1000).value(), "out\nerr\n0\n1\n2\n3\n");
  });
  EXPECT_TRUE(no_children());
}

TEST_P(Processes, SignalsAreDefaultAndUnblocked) {
  run([&] {
    struct sigaction ignore{};
    struct sigaction before{};
    ignore.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &ignore, &before);
    auto finished = run_process({.arguments = shell("kill -PIPE $$; echo survived")});
    sigaction(SIGPIPE, &before, nullptr);
    ASSERT_TRUE(finished.has_value());
    EXPECT_EQ(finished->status.signal, SIGPIPE);
    EXPECT_EQ(finished->output, "");
    // Those of glibc's own, above 31, it leaves as they are.
    auto mask = run_process({.arguments = shell("grep SigBlk /proc/self/status")});
    ASSERT_TRUE(mask.has_value());
    EXPECT_EQ(mask->output, "SigBlk:\t0000000000000000\n");
  });
}

TEST_P(Processes, AConversationGoesThroughThePipes) {
  run([&] {
    auto process = Process::start({.arguments = {"cat"}, .input = Stdio::pipe(), .output = Stdio::pipe()});
    ASSERT_TRUE(process.has_value());
    for (const char* text : {"one", "two"}) {
      EXPECT_TRUE(process->input().write_all(bytes_of(text)).has_value());
      std::array<std::byte, 10> into{};
      EXPECT_EQ(process->output().read_some(into, Deadline::after(20s)).value(), 3U);
      EXPECT_EQ(text_of(std::span(into).first(3)), text);
    }
    EXPECT_EQ(process->wait(Deadline::after(5ms)).error(), Errc::kTimedOut);
    process->input().close();
    EXPECT_EQ(process->input().write_all(bytes_of("x")).error(), Errc::kClosed);
    EXPECT_EQ(process->output().read_to_end(10, Deadline::after(20s)).value(), "");
    EXPECT_TRUE(process->wait(Deadline::after(20s))->success());
  });
  EXPECT_TRUE(no_children());
}

TEST_P(Processes, ADeadlineKillsAndNothingIsLeft) {
  const std::size_t before = open_descriptors();
  run([&] {
    EXPECT_EQ(run_process({.arguments = {"sleep", "1000"}}, {}, Deadline::after(20ms)).error(), Errc::kTimedOut);
    EXPECT_EQ(run_process({.arguments = shell("exec >&-; exec sleep 1000")}, {}, Deadline::after(20ms)).error(),
              Errc::kTimedOut);
    EXPECT_EQ(run_process({.arguments = {"yes"}}, {}, Deadline::after(60s), 100'000).error(), Errc::kFileTooBig);
    EXPECT_EQ(run_process({.arguments = shell("yes >&2")}, {}, Deadline::after(60s), 100'000).error(),
              Errc::kFileTooBig);
    { auto forgotten = Process::start({.arguments = {"sleep", "1000"}}); }
    auto stubborn = Process::start({.arguments = shell("trap '' TERM; echo; while :; do sleep 1000; done"),
                                    .output = Stdio::pipe(),
                                    .own_group = true});
    std::byte newline{};
    EXPECT_EQ(stubborn->output().read_some({&newline, 1}).value(), 1U);
    EXPECT_TRUE(stubborn->kill(SIGTERM).has_value());
    EXPECT_EQ(stubborn->wait(Deadline::after(20ms)).error(), Errc::kTimedOut);
    EXPECT_TRUE(stubborn->kill(SIGKILL).has_value());
    EXPECT_EQ(stubborn->wait(Deadline::after(20s))->signal, SIGKILL);
    // Its sleep was of the group and is gone with it: nobody holds the pipe.
    EXPECT_EQ(stubborn->output().read_to_end(10, Deadline::after(20s)).value(), "");
  });
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(no_children());
}

TEST_P(Processes, AStopRequestEndsTheWaitAndTheProcess) {
  if (!on_fibers()) GTEST_SKIP() << "a plain thread cannot be asked";
  run([&] {
    Errc code{};
    Fiber caller = spawn("caller", [&] {
      auto ended = run_process({.arguments = {"sleep", "1000"}});
      if (!ended) code = ended.error().code();
    });
    (void)sleep_for(5ms);
    caller.request_stop();
    caller.join();
    EXPECT_EQ(code, Errc::kCancelled);
  });
  EXPECT_TRUE(no_children());
}

TEST_P(Processes, OtherWaitersAndManyAtOnceDoNotDisturbEachOther) {
  run([&] {
    const pid_t other = fork();
    if (other == 0) _exit(42);
    std::vector<Fiber> fibers;
    std::array<int, 20> codes{};
    for (int i = 0; i < 20; ++i)
      fibers.push_back(spawn("runner", [&codes, i] {
        auto finished = run_process({.arguments = shell("exit " + std::to_string(i))});
        codes[static_cast<std::size_t>(i)] = finished ? finished->status.exit_code : -2;
      }));
    for (Fiber& fiber : fibers) fiber.join();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(codes[static_cast<std::size_t>(i)], i);
    int status = 0;
    EXPECT_EQ(waitpid(other, &status, 0), other);
    EXPECT_EQ(WEXITSTATUS(status), 42);
    // Somebody who reaps everybody's children is told apart from an exit.
    auto taken = Process::start({.arguments = {"true"}});
    EXPECT_EQ(waitpid(taken->id(), nullptr, 0), taken->id());
    EXPECT_EQ(taken->wait(Deadline::after(20s)).error(), Errc::kNotFound);
  });
  EXPECT_TRUE(no_children());
}

TEST(ProcessInASimulation, IsRefused) {
  Simulation simulation(1);
  EXPECT_TRUE(
      simulation.run([] { EXPECT_EQ(run_process({.arguments = {"true"}}).error(), Errc::kUnsupported); }).has_value());
}

}  // namespace
}  // namespace weft::sched
