// steady_files.cc - holds on to files as programs do, while the server dies again and again, and looks whether it still has them.
//
//   e2e script -> [steady_files] -> the mount under test, whose supervisor starts a server for each that is killed
//
//   - a file without a name, whose content is written anew and read back, past the page cache, too
//   - flock(2) and fcntl(2) locks, which another process must not get
//   - a file that only grows, by O_APPEND, whose every record must be there once and in order
//   - a mapping that is changed and synced
//
// Usage: steady_files DIR SECONDS
// Exit: 0 well; 1 something was lost, or a call failed, which is said; 2 usage.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kBlocks = 64;

[[noreturn]] void lost(const char* what) {
  std::fprintf(stderr, "steady_files: %s (%s)\n", what, std::strerror(errno));
  std::exit(1);
}
void must(bool holds, const char* what) {
  if (!holds) lost(what);
}

std::vector<std::uint64_t> content(std::uint64_t version, std::size_t block) {
  std::vector<std::uint64_t> words(kBlock / sizeof(std::uint64_t));
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = version << 32 ^ block << 16 ^ i;
  return words;
}

int open_file(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CREAT | O_CLOEXEC, 0644);
  must(fd >= 0, path.c_str());
  return fd;
}

class Nameless {
 public:
  explicit Nameless(const std::string& path)
      : fd_(open_file(path, O_RDWR)), direct_(open_file(path, O_RDWR | O_DIRECT)) {
    must(::unlink(path.c_str()) == 0, "unlink");
    buffer_ = static_cast<std::uint64_t*>(std::aligned_alloc(kBlock, kBlock));
  }
  void round(std::uint64_t version) {
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const auto words = content(version, i);
      must(::pwrite(fd_, words.data(), kBlock, static_cast<off_t>(i * kBlock)) == static_cast<ssize_t>(kBlock),
           "write");
    }
    if (version % 4 == 0) must(::fdatasync(fd_) == 0, "fdatasync of a file without a name");
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const int fd = i % 2 == 0 ? fd_ : direct_;
      must(::pread(fd, buffer_, kBlock, static_cast<off_t>(i * kBlock)) == static_cast<ssize_t>(kBlock), "read");
      const auto words = content(version, i);
      must(std::memcmp(buffer_, words.data(), kBlock) == 0, "a file without a name holds something else");
    }
    struct stat facts{};
    must(::fstat(fd_, &facts) == 0 && facts.st_nlink == 0, "fstat of a file without a name");
  }

 private:
  int fd_;
  int direct_;
  std::uint64_t* buffer_;
};

class Locked {
 public:
  explicit Locked(const std::string& path)
      : path_(path), fd_(open_file(path, O_RDWR)), other_(open_file(path + ".2", O_RDWR)) {
    must(::flock(fd_, LOCK_EX | LOCK_NB) == 0, "flock");
    struct flock lock{.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10, .l_pid = 0};
    must(::fcntl(other_, F_SETLK, &lock) == 0, "fcntl lock");
  }
  void round() {
    const pid_t child = ::fork();
    must(child >= 0, "fork");
    if (child == 0) {
      const int fd = open_file(path_, O_RDWR);
      if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::_exit(1);
      const int other = open_file(path_ + ".2", O_RDWR);
      struct flock lock{.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 1, .l_pid = 0};
      if (::fcntl(other, F_SETLK, &lock) == 0) ::_exit(2);
      ::_exit(0);
    }
    int status = 0;
    must(::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a lock is lost");
  }

 private:
  std::string path_;
  int fd_;
  int other_;
};

class Growing {
 public:
  explicit Growing(const std::string& path) : fd_(open_file(path, O_RDWR | O_APPEND)) {}
  void round() {
    for (int i = 0; i < 20; ++i) {
      const auto words = content(7, count_);
      must(::write(fd_, words.data(), kRecord) == static_cast<ssize_t>(kRecord), "append");
      ++count_;
    }
    if (count_ % 100 == 0) must(::fsync(fd_) == 0, "fsync");
  }
  void verify() const {
    struct stat facts{};
    must(::fstat(fd_, &facts) == 0, "fstat");
    must(static_cast<std::uint64_t>(facts.st_size) == count_ * kRecord,
         "a file that grows has another size than it should");
    std::vector<char> record(kRecord);
    for (std::uint64_t i = 0; i < count_; ++i) {
      must(::pread(fd_, record.data(), kRecord, static_cast<off_t>(i * kRecord)) == static_cast<ssize_t>(kRecord),
           "read");
      must(std::memcmp(record.data(), content(7, i).data(), kRecord) == 0, "a record is not where it was appended");
    }
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  static constexpr std::size_t kRecord = 1000;
  int fd_;
  std::uint64_t count_ = 0;
};

class Mapped {
 public:
  explicit Mapped(const std::string& path) {
    const int fd = open_file(path, O_RDWR);
    must(::ftruncate(fd, kBlock * kBlocks) == 0, "ftruncate");
    void* memory = ::mmap(nullptr, kBlock * kBlocks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(memory != MAP_FAILED, "mmap");
    words_ = static_cast<std::uint64_t*>(memory);
  }
  void round(std::uint64_t version) {
    for (std::size_t i = 0; i < kBlocks; ++i) {
      must(words_[i * kBlock / 8] == last_, "a mapping holds something else");
      words_[i * kBlock / 8] = version;
    }
    last_ = version;
    must(::msync(words_, kBlock * kBlocks, MS_SYNC) == 0, "msync");
  }

 private:
  std::uint64_t* words_;
  std::uint64_t last_ = 0;
};

}  // namespace

int main(int count, char** words) {
  if (count != 3) {
    std::fprintf(stderr, "Usage: steady_files DIR SECONDS\n");
    return 2;
  }
  const std::string folder = words[1];
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(words[2]));
  Nameless nameless(folder + "/nameless");
  Locked locked(folder + "/locked");
  Growing growing(folder + "/growing");
  Mapped mapped(folder + "/mapped");
  std::uint64_t version = 0;
  while (std::chrono::steady_clock::now() < end) {
    ++version;
    nameless.round(version);
    locked.round();
    growing.round();
    mapped.round(version);
  }
  growing.verify();
  std::printf("steady_files: %llu rounds, %llu records\n", static_cast<unsigned long long>(version),
              static_cast<unsigned long long>(growing.count()));
  return 0;
}
