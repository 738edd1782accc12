// tests/mem/own_process.h - tests whose body needs a process of its own, with a heap that begins in it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace weft::mem::test {

// This test program anew, by exec: tests whose names match, also those disabled by name. `prepare` runs in the child before. Its exit
// status, or 1000 and more after a signal.
template <typename Prepare>
int status_of_body(const std::string& filter, const Prepare& prepare) {
  const std::string option = "--gtest_filter=" + filter;
  const pid_t child = fork();
  if (child == 0) {
    if (!prepare()) _exit(126);
    execl("/proc/self/exe", "mem", option.c_str(), "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
inline int status_of_body(const std::string& filter) {
  return status_of_body(filter, [] { return true; });
}

}  // namespace weft::mem::test
