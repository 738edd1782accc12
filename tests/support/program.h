// tests/support/program.h - a command of ours, run as a user would run it.
#pragma once

#include <string>

namespace weft::test {

struct ProgramEnd {
  int status = -1;   // exit status; -1: a signal ended it
  std::string said;  // standard output and error
};

// The one that was built with this test: build/FLAVOUR/unit/AREA and build/FLAVOUR/bin/NAME. `arguments` as a shell takes them; in `folder`,
// without input.
ProgramEnd run_program(const std::string& name, const std::string& arguments, const std::string& folder = ".");

}  // namespace weft::test
