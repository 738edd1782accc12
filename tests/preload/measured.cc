// tests/preload/measured.cc - runs a program with a library preloaded, and notes what it took.
//
//   measured USAGE LIBRARY COMMAND...     appends "SECONDS KIB" to the file USAGE, and ends as the command does
//
// SECONDS is user + system time of the command and all it waited for, KIB the most that one of them had resident. (The shell's own
// `time` tells no memory, and this way LD_PRELOAD is the command's alone.)
// Stand-alone: built against nothing of Weft.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace {
double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}
}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: measured USAGE LIBRARY COMMAND...\n");
    return 2;
  }
  const pid_t child = fork();
  if (child == 0) {
    setenv("LD_PRELOAD", arguments[2], 1);
    execvp(arguments[3], arguments + 3);
    std::perror(arguments[3]);
    _exit(127);
  }
  // What the terminal or timeout(1) sends to the group is the command's affair; it is waited for.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {}
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  std::FILE* usage = std::fopen(arguments[1], "a");
  if (usage == nullptr) {
    std::perror(arguments[1]);
    return 2;
  }
  std::fprintf(usage, "%.3f %ld\n", seconds(used.ru_utime) + seconds(used.ru_stime), used.ru_maxrss);
  std::fclose(usage);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
