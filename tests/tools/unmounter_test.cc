#include "tools/unmounter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>

#include "fs/fuse/mount.h"
#include "tests/support/child.h"
#include "tools/capabilities.h"

namespace weft::tools {
namespace {

bool is_mounted(const std::string& directory) {
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);)
    if (line.find(" " + directory + " ") != std::string::npos) return true;
  return false;
}

// A mount in a name space of the child's own, a process that unmounts it, and no privileges left.
template <typename Body>
test::ChildEnd without_privileges(Body body) {
  char folder[] = "/tmp/weft-unmounter-XXXXXX";
  if (::mkdtemp(folder) == nullptr) return {.said = "mkdtemp"};
  const auto end = test::in_child([&]() -> std::string {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", folder, "tmpfs", 0, nullptr) != 0)
      return "skip";
    auto unmounter = Unmounter::start(folder);
    if (!unmounter) return unmounter.error().message();
    if (set_capabilities({}) != 0) return "capset";
    if (fs::fuse::unmount(folder, false)) return "without privileges, and yet it can unmount";
    if (!is_mounted(folder)) return "not mounted";
    return body(*unmounter, std::string(folder));
  });
  ::rmdir(folder);
  return end;
}

std::string child_of_this_process() {
  std::string pid;
  std::ifstream("/proc/thread-self/children") >> pid;
  return pid;
}

TEST(Unmounter, UnmountsForAServerThatMayNot) {
  const auto end = without_privileges([](Unmounter& unmounter, const std::string& folder) -> std::string {
    if (const Status done = unmounter.unmount(false); !done) return done.error().message();
    return is_mounted(folder) ? "still mounted" : "";
  });
  if (end.said == "skip") GTEST_SKIP() << "may not mount here";
  EXPECT_EQ(end.said, "");
}

TEST(Unmounter, SaysBusyAndThenUnmountsLazily) {
  const auto end = without_privileges([](Unmounter& unmounter, const std::string& folder) -> std::string {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
    const Status busy = unmounter.unmount(false);
    if (busy || !(busy.error() == Errc::kBusy)) return "not busy";
    if (busy.error().message().find(folder) == std::string::npos) return busy.error().message();
    if (const Status done = unmounter.unmount(true); !done) return done.error().message();
    ::close(fd);
    return is_mounted(folder) ? "still mounted" : "";
  });
  if (end.said == "skip") GTEST_SKIP() << "may not mount here";
  EXPECT_EQ(end.said, "");
}

TEST(Unmounter, OutlivesTheSignalsThatStopAServer) {
  const auto end = without_privileges([](Unmounter& unmounter, const std::string&) -> std::string {
    const std::string pid = child_of_this_process();
    if (pid.empty()) return "skip";
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::kill(std::stoi(pid), number);
    const Status done = unmounter.unmount(false);
    return done ? "" : done.error().message();
  });
  if (end.said == "skip") GTEST_SKIP() << "may not mount here, or /proc does not list children";
  EXPECT_EQ(end.said, "");
}

TEST(Unmounter, SaysSoWhenItIsGone) {
  const auto end = without_privileges([](Unmounter& unmounter, const std::string&) -> std::string {
    const std::string pid = child_of_this_process();
    if (pid.empty()) return "skip";
    ::kill(std::stoi(pid), SIGKILL);
    const Status done = unmounter.unmount(false);
    if (done) return "unmounted by nobody";
    return done.error() == Errc::kClosed ? "" : done.error().message();
  });
  if (end.said == "skip") GTEST_SKIP() << "may not mount here, or /proc does not list children";
  EXPECT_EQ(end.said, "");
}

}  // namespace
}  // namespace weft::tools
