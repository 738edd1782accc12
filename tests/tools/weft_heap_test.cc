// `weft heap` at a program into which the heap was preloaded, and at everything that is not one.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/weft_commands.h"

namespace weft::tools {
namespace {

std::filesystem::path build_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

struct Outcome {
  int status = -1;
  std::string said;
};

Outcome weft_heap(const std::string& arguments) {
  std::FILE* pipe = popen(((build_folder() / "bin/weft").string() + " heap " + arguments + " 2>&1").c_str(), "r");
  Outcome end;
  std::array<char, 4096> part;
  while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe)) end.said.append(part.data(), count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) end.status = WEXITSTATUS(status);
  return end;
}

class WeftHeap : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto library = build_folder() / "lib/libweft-mem.so";
    if (!std::filesystem::exists(library)) GTEST_SKIP() << "libweft-mem.so is not built beside this";
    folder_ = std::filesystem::temp_directory_path() / ("weft-heap-test." + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    std::filesystem::remove_all(folder_);
  }
  // cat(1), which waits for what never comes, with this in its environment.
  void start(const std::string& options) {
    ASSERT_EQ(pipe(gate_), 0);
    const std::string variable = "WEFT_HEAP=" + options;
    const std::string preload = "LD_PRELOAD=" + (build_folder() / "lib/libweft-mem.so").string();
    child_ = fork();
    if (child_ == 0) {
      dup2(gate_[0], 0);
      close(gate_[1]);
      execl("/usr/bin/env", "env", variable.c_str(), preload.c_str(), "/bin/cat", nullptr);
      _exit(127);
    }
    close(gate_[0]);
  }
  void wait_for(const std::filesystem::path& path) {
    for (int i = 0; i < 4000 && !std::filesystem::exists(path); ++i) usleep(5000);
    ASSERT_TRUE(std::filesystem::exists(path));
  }
  std::string child() const { return std::to_string(child_); }

  std::filesystem::path folder_;
  pid_t child_ = 0;
  int gate_[2] = {-1, -1};
};

TEST_F(WeftHeap, ShowsANumberedProcessAsTextJsonAndForPrometheus) {
  start("sample=1,stats=" + (folder_ / "s.%p").string());
  const std::string socket = (folder_ / ("s." + child())).string();
  wait_for(socket);
  const Outcome text = weft_heap(child());
  EXPECT_EQ(text.status, 0) << text.said;
  EXPECT_TRUE(text.said.starts_with("used_bytes")) << text.said;
  const Outcome json = weft_heap("--json " + child());
  EXPECT_EQ(json.status, 0) << json.said;
  EXPECT_GT(nlohmann::json::parse(json.said)["live_bytes"].get<std::size_t>(), 0U);
  EXPECT_NE(weft_heap("--prometheus " + socket).said.find("# TYPE weft_heap_used_bytes gauge\n"), std::string::npos);
  EXPECT_NE(weft_heap("--who " + socket).said.find("process " + child() + " holds about"), std::string::npos);
  const Outcome purged = weft_heap("--purge --json " + child());
  EXPECT_EQ(purged.status, 0) << purged.said;
  EXPECT_TRUE(nlohmann::json::parse(purged.said)["purged_bytes"].is_number());
  EXPECT_NE(weft_heap("--purge " + child()).said.find(" given back\n"), std::string::npos);
  const std::string profile = (folder_ / "profile").string();
  EXPECT_EQ(weft_heap("--profile " + profile + " " + child()).status, 0);
  std::string first;
  std::getline(std::ifstream(profile) >> std::ws, first);
  EXPECT_TRUE(first.starts_with("heap profile: ")) << first;
  // cat ends, and takes its socket with it.
  close(gate_[1]);
  waitpid(child_, nullptr, 0);
  child_ = 0;
  EXPECT_FALSE(std::filesystem::exists(socket));
  const Outcome gone = weft_heap(socket);
  EXPECT_EQ(gone.status, 1);
  EXPECT_NE(gone.said.find("there is no such socket; has the process ended?"), std::string::npos) << gone.said;
}

TEST_F(WeftHeap, AProcessThatDoesNotSampleHasNoProfile) {
  start("stats=" + (folder_ / "s").string());
  wait_for(folder_ / "s");
  const Outcome end = weft_heap("--profile - " + (folder_ / "s").string());
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.said.find("the process does not sample"), std::string::npos) << end.said;
}

TEST(WeftHeapNames, OfCppFunctionsAreReadable) {
  EXPECT_EQ(demangled("held\n    0x12 _ZN1a4workEi+0x1f (/lib/a+0x4)\n    0x13 main+0x2 (/a)\n"),
            "held\n    0x12 a::work(int)+0x1f (/lib/a+0x4)\n    0x13 main+0x2 (/a)\n");
  EXPECT_EQ(demangled("    0x12 _Z_no+0x1 (/b)"), "    0x12 _Z_no+0x1 (/b)");
  EXPECT_EQ(demangled(" _Z3runv"), " run()");
  EXPECT_EQ(demangled(""), "");
}

TEST_F(WeftHeap, SaysWhoIsNotThere) {
  const Outcome none = weft_heap("999999999");
  EXPECT_EQ(none.status, 1);
  EXPECT_NE(none.said.find("there is no process 999999999"), std::string::npos) << none.said;
  const Outcome plain = weft_heap(std::to_string(getpid()));
  EXPECT_EQ(plain.status, 1);
  EXPECT_NE(plain.said.find("was not started with stats=SOCKET in WEFT_HEAP"), std::string::npos) << plain.said;
  std::ofstream(folder_ / "file") << "no socket";
  const Outcome file = weft_heap((folder_ / "file").string());
  EXPECT_EQ(file.status, 1);
  EXPECT_NE(file.said.find("nobody answers"), std::string::npos) << file.said;
}

// A socket at that path at which nobody answers yet.
int listen_at(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(listen(made, 1), 0);
  return made;
}

TEST_F(WeftHeap, DoesNotWaitForeverForAProcessThatIsStopped) {
  const std::string path = (folder_ / "stopped").string();
  const int stopped = listen_at(path);
  const auto answer = ask_heap(path, "text", std::chrono::seconds(1));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code(), Errc::kTimedOut);
  EXPECT_NE(answer.error().message().find("no answer within 1 s: the process is stopped, or its heap hangs"),
            std::string::npos);
  close(stopped);
}

TEST_F(WeftHeap, SaysThatAnotherProgramAnswers) {
  const std::string path = (folder_ / "other").string();
  const int other = listen_at(path);
  child_ = fork();
  if (child_ == 0) {
    const int connection = accept(other, nullptr, nullptr);
    char line[16];
    const ssize_t count = read(connection, line, sizeof line);
    _exit(write(connection, "SSH-2.0\r\n", 9) == 9 && count > 0 ? 0 : 1);
  }
  close(other);
  const Outcome end = weft_heap(path);
  EXPECT_EQ(end.status, 1);
  EXPECT_NE(end.said.find("is not a heap of Weft's"), std::string::npos) << end.said;
}

TEST_F(WeftHeap, WrongUsageIsTwo) {
  EXPECT_EQ(weft_heap("").status, 2);
  EXPECT_EQ(weft_heap("--purge --profile x 1").status, 2);
  EXPECT_EQ(weft_heap("--help").status, 0);
  EXPECT_NE(weft_heap("--help").said.find("--purge"), std::string::npos);
}

}  // namespace
}  // namespace weft::tools
