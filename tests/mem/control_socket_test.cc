#include "mem/control_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "mem/allocate.h"
#include "tests/mem/own_process.h"
#include "tests/support/sanitizer.h"

namespace weft::mem {
namespace {

int connect_to(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return made;
  close(made);
  return -1;
}

std::string ask(const std::string& path, const std::string& question) {
  const int to = connect_to(path);
  if (to < 0) return "nobody";
  EXPECT_EQ(send(to, question.data(), question.size(), MSG_NOSIGNAL), static_cast<ssize_t>(question.size()));
  std::string answer;
  std::array<char, 4096> part;
  for (ssize_t count = 0; (count = recv(to, part.data(), part.size(), 0)) > 0;)
    answer.append(part.data(), static_cast<std::size_t>(count));
  close(to);
  return answer;
}

class Folder {
 public:
  Folder() { std::filesystem::create_directories(path_); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_ = std::filesystem::temp_directory_path() / ("weft-control." + std::to_string(getpid()));
};

// Disabled by name only: the thread that serves stays until the end of its process, so these are bodies that the test at the end
// runs in a process of their own each.

TEST(HeapControl, DISABLED_AnswersEachQuestion) {
  const Folder folder;
  static const std::string path = folder / "heap";
  ASSERT_EQ(serve_numbers(path.c_str()), nullptr);
  struct stat facts{};
  ASSERT_EQ(stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
  void* large = allocate(7 << 20);
  const std::string json = ask(path, "json\n");
  ASSERT_TRUE(json.starts_with("ok\n"));
  EXPECT_GE(nlohmann::json::parse(json.substr(3))["large_bytes"].get<std::size_t>(), 7U << 20);
  EXPECT_NE(ask(path, "text\n").find("used_bytes"), std::string::npos);
  EXPECT_NE(ask(path, "prometheus\n").find("# TYPE weft_heap_used_bytes gauge"), std::string::npos);
  static_cast<char*>(large)[0] = 1;
  release(large);
  EXPECT_TRUE(ask(path, "purge\n").starts_with("ok\n"));
  EXPECT_EQ(nlohmann::json::parse(ask(path, "json\n").substr(3))["dirty_bytes"].get<std::size_t>(), 0U);
  EXPECT_TRUE(ask(path, "profile\n").starts_with("error: the process does not sample"));
  EXPECT_TRUE(ask(path, "nonsense\n").starts_with("error: no such question"));
  EXPECT_EQ(ask(path, std::string(100, 'a')), "");
  stop_serving();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(HeapControl, DISABLED_WhoHangsUpDoesNotEndIt) {
  const Folder folder;
  static const std::string path = folder / "heap";
  ASSERT_EQ(serve_numbers(path.c_str()), nullptr);
  for (int i = 0; i < 50; ++i) {
    const int to = connect_to(path);
    ASSERT_GE(to, 0);
    if (i % 2 == 0) send(to, "text\n", 5, MSG_NOSIGNAL);
    close(to);
  }
  EXPECT_TRUE(ask(path, "text\n").starts_with("ok\n"));
  stop_serving();
}

TEST(HeapControl, DISABLED_APathThatIsTakenIsLeftAlone) {
  const Folder folder;
  static const std::string file = folder / "file";
  std::ofstream(file) << "dear";
  EXPECT_STREQ(serve_numbers(file.c_str()), "there is a file that is no socket");
  EXPECT_EQ(std::filesystem::file_size(file), 4U);
  static const std::string long_path = folder / std::string(200, 'a');
  EXPECT_STREQ(serve_numbers(long_path.c_str()), "a socket's path has at most 107 bytes");
  EXPECT_STREQ(serve_numbers("/nowhere/heap"), "No such file or directory");
  // Of a process that has ended: taken over.
  static const std::string stale = folder / "stale";
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  stale.copy(address.sun_path, sizeof address.sun_path - 1);
  const int gone = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(gone, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  close(gone);
  EXPECT_EQ(serve_numbers(stale.c_str()), nullptr);
  EXPECT_TRUE(ask(stale, "text\n").starts_with("ok\n"));
  stop_serving();
}

TEST(HeapControl, DISABLED_AForkedChildHasItsOwnOrNone) {
  if (weft::test::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer ends a forked child that starts a thread";
  const Folder folder;
  static const std::string pattern = folder / "heap.%p";
  ASSERT_EQ(serve_numbers(pattern.c_str()), nullptr);
  const std::string mine = folder / ("heap." + std::to_string(getpid()));
  ASSERT_TRUE(ask(mine, "text\n").starts_with("ok\n"));
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  const pid_t child = fork();
  if (child == 0) {
    char c = 0;
    close(gate[1]);
    _exit(static_cast<int>(read(gate[0], &c, 1)));
  }
  close(gate[0]);
  const std::string childs = folder / ("heap." + std::to_string(child));
  std::string answer;
  for (int i = 0; i < 2000 && (answer = ask(childs, "text\n")) == "nobody"; ++i) usleep(5000);
  EXPECT_TRUE(answer.starts_with("ok\n")) << answer;
  close(gate[1]);
  EXPECT_TRUE(ask(mine, "text\n").starts_with("ok\n"));
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  stop_serving();
}

TEST(HeapControlSocket, AnswersAndStaysWhateverItsClientsDo) {
  for (const char* body : {"AnswersEachQuestion", "WhoHangsUpDoesNotEndIt", "APathThatIsTakenIsLeftAlone",
                           "AForkedChildHasItsOwnOrNone"}) {
    EXPECT_EQ(test::status_of_body(std::string("HeapControl.DISABLED_") + body), 0) << body;
  }
}

}  // namespace
}  // namespace weft::mem
