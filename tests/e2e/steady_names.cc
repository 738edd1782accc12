// steady_names.cc - changes names without pause and takes no error for an answer, while the server dies again and again.
//
//   e2e script -> [steady_names] -> the mount under test, whose supervisor starts a server for each that is killed
//
// Each thread has a folder of its own and knows what must be in it, so every call has one right outcome: creations of a
// name that is free, removals of one that is there, exchanges that swap two inodes exactly once, attributes that are new or gone.
// A request executed twice, or not at all, shows as an error or as another inode than expected.
//
// Usage: steady_names DIR SECONDS [THREADS]
// Exit: 0 all calls did what they should; 1 one did not, which is said; 2 usage.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> failed{false};
std::atomic<std::uint64_t> calls{0};

class Walker {
 public:
  Walker(std::string folder, int number) : folder_(std::move(folder)), number_(number) {}
  bool begin() { return must("mkdir", ::mkdir(folder_.c_str(), 0755)); }
  bool round() {
    const std::string a = at("a"), b = at("b"), c = at("c"), sub = at("sub"), inner = at("sub/inner");
    return create(a) && create(b) && exchange(a, b) && move(a, c) && must("link", ::link(c.c_str(), a.c_str())) &&
           same(a, c) && attribute(a) && excluded(a) && must("mkdir", ::mkdir(sub.c_str(), 0700)) &&
           must("symlink", ::symlink("../c", inner.c_str())) && exchange(inner, b) &&
           must("rename over a name", ::rename(c.c_str(), b.c_str())) &&
           must("unlink inner", ::unlink(inner.c_str())) && must("rmdir", ::rmdir(sub.c_str())) &&
           must("unlink a", ::unlink(a.c_str())) && must("unlink b", ::unlink(b.c_str())) && empty();
  }

 private:
  std::string at(const char* name) const { return folder_ + "/" + name; }
  bool must(const char* what, int result) {
    calls.fetch_add(1, std::memory_order_relaxed);
    if (result >= 0) return true;
    std::fprintf(stderr, "thread %d: %s: %s\n", number_, what, std::strerror(errno));
    return false;
  }
  bool that(const char* what, bool holds) {
    if (!holds) std::fprintf(stderr, "thread %d: %s\n", number_, what);
    return holds;
  }
  static std::uint64_t inode(const std::string& path) {
    struct stat facts{};
    return ::lstat(path.c_str(), &facts) == 0 ? facts.st_ino : 0;
  }
  bool create(const std::string& path) {
    const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (!must("create", fd)) return false;
    const bool written = must("write", static_cast<int>(::write(fd, path.data(), path.size())));
    return must("close", ::close(fd)) && written;
  }
  bool exchange(const std::string& a, const std::string& b) {
    const std::uint64_t first = inode(a), second = inode(b);
    return must("exchange", ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE)) &&
           that("an exchange did not happen exactly once", inode(a) == second && inode(b) == first && first != 0);
  }
  bool move(const std::string& from, const std::string& to) {
    const std::uint64_t moved = inode(from);
    return must("rename", ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE)) &&
           that("a rename did not move its file", inode(to) == moved && inode(from) == 0);
  }
  bool same(const std::string& a, const std::string& b) {
    struct stat facts{};
    return must("stat", ::stat(a.c_str(), &facts)) && that("a link is not of its file", facts.st_ino == inode(b)) &&
           that("a link was counted more than once", facts.st_nlink == 2);
  }
  bool attribute(const std::string& path) {
    return must("setxattr", ::setxattr(path.c_str(), "user.steady", "1", 1, XATTR_CREATE)) &&
           must("setxattr", ::setxattr(path.c_str(), "user.steady", "2", 1, XATTR_REPLACE)) &&
           must("removexattr", ::removexattr(path.c_str(), "user.steady"));
  }
  // What fails on a live mount fails here as well.
  bool excluded(const std::string& path) {
    const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    const bool refused = fd < 0 && errno == EEXIST;
    return that("an exclusive open of what is there", refused) &&
           that("removal of an attribute that is not there",
                ::removexattr(path.c_str(), "user.none") != 0 && errno == ENODATA) &&
           that("rmdir of a file", ::rmdir(path.c_str()) != 0 && errno == ENOTDIR);
  }
  bool empty() {
    DIR* folder = ::opendir(folder_.c_str());
    if (!must("opendir", folder != nullptr ? 0 : -1)) return false;
    int names = 0;
    while (::readdir(folder) != nullptr) ++names;
    ::closedir(folder);
    return that("a folder is not empty after all was removed", names == 2);
  }

  const std::string folder_;
  const int number_;
};

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::fprintf(stderr, "Usage: steady_names DIR SECONDS [THREADS]\n");
    return 2;
  }
  const std::string folder = words[1];
  const int threads = count > 3 ? std::atoi(words[3]) : 4;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(words[2]));
  std::vector<std::thread> all;
  std::atomic<std::uint64_t> rounds{0};
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      Walker walker(folder + "/names." + std::to_string(i), i);
      if (!walker.begin()) failed = true;
      while (!failed && std::chrono::steady_clock::now() < end) {
        if (!walker.round()) failed = true;
        ++rounds;
      }
    });
  }
  for (std::thread& each : all) each.join();
  std::printf("steady_names: %llu rounds, %llu calls%s\n", static_cast<unsigned long long>(rounds.load()),
              static_cast<unsigned long long>(calls.load()), failed ? ", FAILED" : "");
  return failed ? 1 : 0;
}
