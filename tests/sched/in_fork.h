// tests/sched/in_fork.h - what must not happen to the test's own process is done in a child of it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "kernel/function_ref.h"

namespace weft::sched {

struct End {
  std::string said;
  int status = 0;
  [[nodiscard]] int signal() const noexcept { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }
  [[nodiscard]] int code() const noexcept { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
};

// What a child of this process ends with and says on standard error; `body` gives its exit code. A child that hangs is ended.
inline End in_fork(FunctionRef<int()> body) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    dup2(ends[1], STDERR_FILENO);
    _exit(body());
  }
  close(ends[1]);
  End end;
  char part[512];
  for (ssize_t count = 0; (count = read(ends[0], part, sizeof part)) > 0;)
    end.said.append(part, static_cast<std::size_t>(count));
  close(ends[0]);
  EXPECT_EQ(waitpid(child, &end.status, 0), child);
  return end;
}

}  // namespace weft::sched
