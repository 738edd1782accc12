#include "tests/support/child.h"

#include <sys/wait.h>
#include <unistd.h>

#include "kernel/check.h"

namespace weft::test {

ChildEnd in_child(FunctionRef<std::string()> body) noexcept {
  int ends[2];
  WEFT_CHECK(::pipe(ends) == 0);
  const pid_t child = ::fork();
  WEFT_CHECK(child >= 0);
  if (child == 0) {
    ::alarm(60);
    const std::string said = body();
    static_cast<void>(::write(ends[1], said.data(), said.size()) < 0);
    ::_exit(0);
  }
  ::close(ends[1]);
  ChildEnd end;
  char part[512];
  for (ssize_t count = 0; (count = ::read(ends[0], part, sizeof part)) > 0;)
    end.said.append(part, static_cast<std::size_t>(count));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  return end;
}

}  // namespace weft::test
