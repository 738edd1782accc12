// extremes.cc - one thing far larger than anybody has: a folder of ten million names, a file of a million extents, a path of ten
// thousand folders, a tree of a million files. Says how long each step took.
//
// Usage: extremes names DIR COUNT SEED     makes, lists while names come and go, looks up and removes samples
//        extremes extents FILE COUNT       every other block of it; read, sought, cut, punched
//        extremes deep DIR DEPTH           folders below each other, moved as a whole and in part
//        extremes tree DIR COUNT           files in folders of a thousand, made by two processes
//        extremes measure COMMAND...       runs it; its time and the most memory it had
// Exit: 0 well, 1 something is not as it must be; measure: the command's.
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::uint64_t kBlock = 4096;

[[noreturn]] void broken(const char* format, ...) {
  const int error = errno;
  va_list list;
  va_start(list, format);
  std::vfprintf(stderr, format, list);
  va_end(list);
  std::fprintf(stderr, " (errno: %s)\n", error == 0 ? "none" : std::strerror(error));
  std::exit(1);
}
#define MUST(condition, ...) ((condition) ? void() : broken(__VA_ARGS__))

struct Random {
  std::uint64_t state;
  std::uint64_t below(std::uint64_t bound) {
    state += 0x9e3779b97f4a7c15ULL;
    std::uint64_t x = state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return (x ^ (x >> 31)) % bound;
  }
};

// Says what took how long since the one before.
class Stopwatch {
 public:
  void say(const char* what, std::uint64_t count) {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    std::printf("  %-34s %10lu in %7.1f s (%.0f/s)\n", what, static_cast<unsigned long>(count), seconds,
                static_cast<double>(count) / seconds);
    std::fflush(stdout);
    start_ = std::chrono::steady_clock::now();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// ------------------------------------------------------------------------------------------------------- names

std::string name_of(std::uint64_t number) { return "entry-" + std::to_string(number); }
void make(const std::string& name) { MUST(mknod(name.c_str(), S_IFREG | 0644, 0) == 0, "mknod %s", name.c_str()); }

// Of each name how often a listing had it; kChanged: it came or went meanwhile.
constexpr std::uint8_t kChanged = 0x80;

void names(const std::string& directory, std::uint64_t count, std::uint64_t seed) {
  Random random{seed};
  Stopwatch watch;
  MUST(mkdir(directory.c_str(), 0755) == 0 && chdir(directory.c_str()) == 0, "%s", directory.c_str());
  for (std::uint64_t i = 0; i < count; ++i) make(name_of(i));
  watch.say("made", count);

  std::vector<std::uint8_t> seen(count);
  seen.reserve(count + count / 500);
  DIR* dir = opendir(".");
  MUST(dir != nullptr, "opendir");
  std::uint64_t listed = 0;
  std::vector<std::pair<long, std::string>> places;  // a cookie, and the name that stands there
  std::uint64_t removed = 0;
  errno = 0;
  for (;;) {
    const long place = telldir(dir);
    const dirent* entry = readdir(dir);
    if (entry == nullptr) break;
    if (entry->d_name[0] == '.') continue;
    const std::uint64_t number = std::strtoull(entry->d_name + std::strlen("entry-"), nullptr, 10);
    MUST(number < seen.size(), "lists %s, which was not made", entry->d_name);
    MUST((++seen[number] & ~kChanged) == 1, "lists %s twice", entry->d_name);
    ++listed;
    if (listed % (count / 100 + 1) == 7) places.emplace_back(place, entry->d_name);
    if (listed % 1000 != 0) continue;
    make(name_of(seen.size()));
    seen.push_back(kChanged);
    const std::uint64_t victim = random.below(count);
    if (seen[victim] & kChanged) continue;
    MUST(unlink(name_of(victim).c_str()) == 0, "unlink %s", name_of(victim).c_str());
    seen[victim] |= kChanged;
    ++removed;
    errno = 0;
  }
  MUST(errno == 0, "readdir");
  for (std::uint64_t i = 0; i < seen.size(); ++i)
    MUST(seen[i] == 1 || (seen[i] & kChanged) != 0, "%s was listed %d times", name_of(i).c_str(), seen[i]);
  watch.say("listed while some came and went", listed);
  for (const auto& [place, name] : places) {
    if (seen[std::strtoull(name.c_str() + std::strlen("entry-"), nullptr, 10)] & kChanged) continue;
    seekdir(dir, place);
    const dirent* entry = readdir(dir);
    MUST(entry != nullptr && name == entry->d_name, "at the cookie of %s stands %s", name.c_str(),
         entry == nullptr ? "nothing" : entry->d_name);
  }
  closedir(dir);
  watch.say("cookies gone back to", places.size());

  const std::uint64_t samples = count / 100 + 1;
  for (std::uint64_t i = 0; i < samples; ++i) {
    const std::uint64_t number = random.below(count);
    struct stat facts{};
    const bool is_there = lstat(name_of(number).c_str(), &facts) == 0;
    MUST(is_there == (seen[number] == 1), "%s is %s", name_of(number).c_str(), is_there ? "there" : "gone");
    MUST(lstat(("no" + name_of(number)).c_str(), &facts) != 0 && errno == ENOENT, "a name that was not made");
  }
  watch.say("looked up, and as many in vain", samples);
  std::uint64_t gone = 0;
  for (std::uint64_t i = 0; i < samples; ++i) {
    const std::uint64_t number = random.below(count);
    if (seen[number] != 1) continue;
    MUST(unlink(name_of(number).c_str()) == 0, "unlink %s", name_of(number).c_str());
    seen[number] = kChanged;
    ++gone;
  }
  watch.say("removed", gone);
}

// ----------------------------------------------------------------------------------------------------- extents

void fill(std::vector<char>& block, std::uint64_t number) {
  for (std::size_t at = 0; at < kBlock; at += sizeof number) std::memcpy(block.data() + at, &number, sizeof number);
}

// Blocks 0, 2, 4 ... are data, those between holes; `gone` and above are neither.
void check_block(int fd, std::uint64_t number, bool is_data, std::vector<char>& buffer, std::vector<char>& expected) {
  MUST(pread(fd, buffer.data(), kBlock, static_cast<off_t>(number * kBlock)) == kBlock, "read block %lu",
       static_cast<unsigned long>(number));
  fill(expected, is_data ? number : 0);
  errno = 0;
  MUST(buffer == expected, "block %lu is not what was written", static_cast<unsigned long>(number));
}

// What is allocated of an open file shows within a second or two, since pages are written back behind its back.
void check_allocated(int fd, std::uint64_t blocks) {
  struct stat facts{};
  for (int tries = 0; tries < 50; ++tries) {
    MUST(fstat(fd, &facts) == 0, "fstat");
    if (facts.st_blocks == static_cast<blkcnt_t>(blocks * kBlock / 512)) return;
    usleep(100'000);
  }
  errno = 0;
  broken("%ld sectors instead of those of %lu blocks", static_cast<long>(facts.st_blocks),
         static_cast<unsigned long>(blocks));
}

void extents(const std::string& path, std::uint64_t count) {
  Random random{count};
  Stopwatch watch;
  std::vector<char> block(kBlock), expected(kBlock);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0644);
  MUST(fd >= 0, "%s", path.c_str());
  const std::uint64_t blocks = 2 * count;
  for (std::uint64_t number = 0; number < blocks; number += 2) {
    fill(block, number);
    MUST(pwrite(fd, block.data(), kBlock, static_cast<off_t>(number * kBlock)) == kBlock, "write");
  }
  MUST(fsync(fd) == 0, "fsync");
  watch.say("written and synced", count);
  check_allocated(fd, count);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  for (std::uint64_t number = 0; number < blocks - 1; ++number)
    check_block(fd, number, number % 2 == 0, block, expected);
  watch.say("blocks and holes read", blocks);
  const std::uint64_t samples = count / 100 + 1;
  for (std::uint64_t i = 0; i < samples; ++i) {
    const std::uint64_t number = random.below(count - 1) * 2;
    const auto at = static_cast<off_t>(number * kBlock);
    MUST(lseek(fd, at, SEEK_HOLE) == at + static_cast<off_t>(kBlock), "SEEK_HOLE at %ld", static_cast<long>(at));
    MUST(lseek(fd, at + 5000, SEEK_DATA) == at + static_cast<off_t>(2 * kBlock), "SEEK_DATA at %ld",
         static_cast<long>(at));
  }
  watch.say("holes and data sought", 2 * samples);
  // The last quarter goes by a truncate, the second by a punch.
  const std::uint64_t quarter = blocks / 4 / 2 * 2;
  MUST(ftruncate(fd, static_cast<off_t>(3 * quarter * kBlock)) == 0, "ftruncate");
  watch.say("extents truncated", (blocks - 3 * quarter) / 2);
  MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(quarter * kBlock),
                 static_cast<off_t>(quarter * kBlock)) == 0,
       "punch");
  watch.say("extents punched", quarter / 2);
  for (std::uint64_t i = 0; i < samples; ++i) {
    const std::uint64_t number = random.below(3 * quarter);
    check_block(fd, number, number % 2 == 0 && (number < quarter || number >= 2 * quarter), block, expected);
  }
  check_allocated(fd, quarter);
  close(fd);
}

// -------------------------------------------------------------------------------------------------------- deep

// Goes down `depth` folders from `directory`; the last one, open.
int down(const std::string& directory, std::uint64_t depth) {
  int at = open(directory.c_str(), O_RDONLY | O_DIRECTORY);
  MUST(at >= 0, "open %s", directory.c_str());
  for (std::uint64_t i = 0; i < depth; ++i) {
    const int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
    MUST(next >= 0, "at depth %lu", static_cast<unsigned long>(i));
    close(at);
    at = next;
  }
  return at;
}

void deep(const std::string& directory, std::uint64_t depth) {
  Stopwatch watch;
  const std::string top = directory + "/top", other = directory + "/other";
  MUST(mkdir(directory.c_str(), 0755) == 0 && mkdir(top.c_str(), 0755) == 0 && mkdir(other.c_str(), 0755) == 0, "%s",
       directory.c_str());
  int at = open(top.c_str(), O_RDONLY | O_DIRECTORY);
  for (std::uint64_t i = 0; i < depth; ++i) {
    MUST(mkdirat(at, "d", 0755) == 0, "mkdir at depth %lu", static_cast<unsigned long>(i));
    const int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
    MUST(next >= 0, "open at depth %lu", static_cast<unsigned long>(i));
    close(at);
    at = next;
  }
  MUST(mknodat(at, "bottom", S_IFREG | 0644, 0) == 0, "a file at the bottom");
  watch.say("folders made below each other", depth);
  // All of it moves, though nothing of it may come to lie below itself, however far.
  errno = 0;
  MUST(renameat(AT_FDCWD, top.c_str(), at, "loop") != 0 && errno == EINVAL, "moved below itself");
  MUST(rename(top.c_str(), (other + "/top").c_str()) == 0, "rename of the top");
  watch.say("tried to move below itself; moved", 2);
  // Its lower half, to and fro: each time the way up is looked at.
  constexpr std::uint64_t kMoves = 100;
  const int middle = down(other + "/top", depth / 2);
  const int out = open(other.c_str(), O_RDONLY | O_DIRECTORY);
  for (std::uint64_t i = 0; i < kMoves; ++i) {
    MUST(renameat(middle, "d", out, "half") == 0, "rename out of the middle");
    MUST(renameat(out, "half", middle, "d") == 0, "rename into the middle");
  }
  watch.say("moved in the middle", 2 * kMoves);
  struct stat one{}, two{};
  const int bottom = down(other + "/top", depth);
  MUST(fstat(at, &one) == 0 && fstat(bottom, &two) == 0 && one.st_ino == two.st_ino, "another bottom");
  MUST(faccessat(bottom, "bottom", F_OK, 0) == 0, "its file");
  watch.say("gone down", depth);
  for (const int fd : {at, middle, out, bottom}) close(fd);
}

// -------------------------------------------------------------------------------------------------------- tree

void tree(const std::string& directory, std::uint64_t count) {
  constexpr std::uint64_t kInFolder = 1000, kProcesses = 2;
  Stopwatch watch;
  MUST(mkdir(directory.c_str(), 0755) == 0 && chdir(directory.c_str()) == 0, "%s", directory.c_str());
  for (std::uint64_t process = 0; process < kProcesses; ++process) {
    if (fork() != 0) continue;
    for (std::uint64_t i = process * kInFolder; i < count; i += kProcesses * kInFolder) {
      const std::string folder = std::to_string(i / kInFolder);
      MUST(mkdir(folder.c_str(), 0755) == 0, "mkdir %s", folder.c_str());
      for (std::uint64_t file = 0; file < kInFolder && i + file < count; ++file) make(folder + "/" + name_of(file));
    }
    std::exit(0);
  }
  for (std::uint64_t process = 0; process < kProcesses; ++process) {
    int status = 0;
    MUST(wait(&status) > 0 && status == 0, "a process that made files");
  }
  watch.say("files made", count);
}

int measure(char** command) {
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) {
    execvp(command[0], command);
    std::perror(command[0]);
    std::_Exit(127);
  }
  int status = 0;
  rusage usage{};
  MUST(wait4(child, &status, 0, &usage) == child, "wait4");
  std::printf("  %s took %.1f s and %.1f MiB at most\n", command[0],
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
              static_cast<double>(usage.ru_maxrss) / 1024);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main(int count, char** words) {
  const std::string what = count > 1 ? words[1] : "";
  if (what == "measure" && count > 2) return measure(words + 2);
  const std::uint64_t number = count > 3 ? std::strtoull(words[3], nullptr, 10) : 0;
  if (what == "names" && count == 5) {
    names(words[2], number, std::strtoull(words[4], nullptr, 10));
  } else if (what == "extents" && count == 4) {
    extents(words[2], number);
  } else if (what == "deep" && count == 4) {
    deep(words[2], number);
  } else if (what == "tree" && count == 4) {
    tree(words[2], number);
  } else {
    std::fprintf(stderr,
                 "usage: extremes names DIR COUNT SEED | extents FILE COUNT | deep DIR DEPTH | tree DIR COUNT | "
                 "measure COMMAND...\n");
    return 2;
  }
  return 0;
}
