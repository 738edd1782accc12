// tests/mem/commands.h - what tests of the preloaded heap share: other programs, with it and without.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

namespace weft::mem::test {

// Of the library and the helpers, beside which this program lies.
inline std::filesystem::path build_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}
inline std::string preload_library() { return (build_folder() / "lib/libweft-mem.so").string(); }

struct Outcome {
  int status = -1;   // 1000 + the signal that ended it
  std::string said;  // on both outputs
  bool operator==(const Outcome&) const = default;
};

inline Outcome shell(const std::string& command) {
  std::FILE* pipe = popen(("{ " + command + "; } 2>&1 </dev/null").c_str(), "r");
  Outcome end;
  std::array<char, 4096> part;
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe)) end.said.append(part.data(), count);
  const int status = pclose(pipe);
  end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  return end;
}
inline Outcome preloaded(const std::string& command) {
  return shell("LD_PRELOAD=" + preload_library() + " timeout 120 " + command);
}

// Whether the program is there; without it a test is skipped.
inline bool have(const std::string& program) { return shell("command -v " + program).status == 0; }

}  // namespace weft::mem::test
