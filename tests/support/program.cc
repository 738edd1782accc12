#include "tests/support/program.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "kernel/check.h"

namespace weft::test {

ProgramEnd run_program(const std::string& name, const std::string& arguments, const std::string& folder) {
  const auto built = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
  const std::string command =
      "cd " + folder + " && " + (built / "bin" / name).string() + " </dev/null 2>&1 " + arguments;
  FILE* const pipe = ::popen(command.c_str(), "r");
  WEFT_CHECK(pipe != nullptr);
  ProgramEnd end;
  std::array<char, 4096> part;
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe)) end.said.append(part.data(), count);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) end.status = WEXITSTATUS(status);
  return end;
}

}  // namespace weft::test
