// posix_names.cc - names and folders on a mounted file system: create, link, rename, remove, list, find again by handle.
#include "posix_check.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <algorithm>
#include <map>
#include <set>

using namespace posix_check;

namespace {
int rename2(const char* from, const char* to, unsigned flags) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags); }

std::vector<std::string> list(const char* dir) {
  std::vector<std::string> names;
  DIR* stream = opendir(dir);
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream)) names.emplace_back(entry->d_name);
  closedir(stream);
  return names;
}
std::string number_name(int i) { return "entry-" + std::to_string(i); }

// The file handle of a path, and a way to open it.
struct Handle {
  alignas(file_handle) char bytes[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  int mount_id = 0;
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes); }
  bool take(const char* path) {
    get()->handle_bytes = MAX_HANDLE_SZ;
    return name_to_handle_at(AT_FDCWD, path, get(), &mount_id, 0) == 0;
  }
};
}  // namespace

CASE(mkdir_rmdir, "a folder is made, counted by its parent, and removed") {
  const auto before = stat_of(".").st_nlink;
  REQUIRE(mkdir("d", 0750) == 0);
  const auto info = stat_of("d");
  EXPECT(S_ISDIR(info.st_mode));
  EXPECT_EQUAL(info.st_mode & 07777U, 0750U);
  EXPECT_EQUAL(info.st_nlink, 2U);
  EXPECT_EQUAL(stat_of(".").st_nlink, before + 1);
  EXPECT_ERRNO(mkdir("d", 0755), EEXIST);
  EXPECT_ERRNO(unlink("d"), EISDIR);
  EXPECT(rmdir("d") == 0);
  EXPECT_EQUAL(stat_of(".").st_nlink, before);
  EXPECT_ERRNO(rmdir("d"), ENOENT);
}
CASE(wrong_types, "calls for the wrong type of file are refused with the right error") {
  REQUIRE(write_file("f", "x") && mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0);
  EXPECT_ERRNO(rmdir("d"), ENOTEMPTY);
  EXPECT_ERRNO(rmdir("f"), ENOTDIR);
  EXPECT_ERRNO(mkdir("f/x", 0755), ENOTDIR);
  EXPECT_ERRNO(open("f/x", O_RDONLY), ENOTDIR);
  EXPECT_ERRNO(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
  EXPECT_ERRNO(open("d", O_WRONLY), EISDIR);
  EXPECT_ERRNO(open("missing", O_RDONLY), ENOENT);
  EXPECT_ERRNO(open("missing/x", O_RDWR | O_CREAT, 0644), ENOENT);
  EXPECT_ERRNO(rmdir("d/."), EINVAL);
}
CASE(open_flags, "O_EXCL, O_NOFOLLOW, O_TRUNC and O_PATH do what they say") {
  REQUIRE(write_file("f", "hello") && symlink("f", "s") == 0 && symlink("nowhere", "dangling") == 0);
  EXPECT_ERRNO(open("f", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
  EXPECT_ERRNO(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
  EXPECT_ERRNO(open("s", O_RDONLY | O_NOFOLLOW), ELOOP);
  const Fd through("dangling", O_RDWR | O_CREAT);
  EXPECT(through >= 0 && exists("nowhere"));
  const Fd cut("f", O_WRONLY | O_TRUNC);
  EXPECT_EQUAL(stat_of("f").st_size, 0);
  const Fd path("f", O_PATH);
  char byte = 0;
  EXPECT_ERRNO(read(path, &byte, 1), EBADF);
  const Fd write_only("f", O_WRONLY);
  EXPECT_ERRNO(read(write_only, &byte, 1), EBADF);
}
CASE(create_mode, "a new file has the mode asked for, less the umask") {
  umask(027);
  const Fd fd("f", O_RDWR | O_CREAT, 0666);
  REQUIRE(fd >= 0);
  EXPECT_EQUAL(stat_of("f").st_mode & 07777U, 0640U);
  const Fd unreadable("g", O_RDWR | O_CREAT, 0000);
  EXPECT(unreadable >= 0);
  EXPECT(write(unreadable, "x", 1) == 1);
}
CASE(fifo, "a fifo carries bytes between processes") {
  REQUIRE(mkfifo("p", 0644) == 0);
  EXPECT(S_ISFIFO(stat_of("p").st_mode));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const Fd fd("p", O_WRONLY);
    _exit(write(fd, "through", 7) == 7 ? 0 : 1);
  }
  char text[8] = {};
  const Fd fd("p", O_RDONLY);
  EXPECT(read(fd, text, sizeof text) == 7 && std::string(text) == "through");
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
}
CASE(devices, "device nodes keep type and number, and open") {
  need_root();
  REQUIRE(mknod("null", S_IFCHR | 0666, makedev(1, 3)) == 0);
  EXPECT(mknod("disk", S_IFBLK | 0600, makedev(259, 70000)) == 0);
  EXPECT(mknod("plain", S_IFREG | 0600, 0) == 0);
  EXPECT(S_ISCHR(stat_of("null").st_mode) && stat_of("null").st_rdev == makedev(1, 3));
  EXPECT(S_ISBLK(stat_of("disk").st_mode) && stat_of("disk").st_rdev == makedev(259, 70000));
  EXPECT(S_ISREG(stat_of("plain").st_mode));
  const Fd fd("null", O_RDWR);
  EXPECT(fd >= 0 && write(fd, "x", 1) == 1);
}
CASE(sockets, "a socket is bound to a name and answers") {
  const Fd server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "sock");
  REQUIRE(bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(server, 1) == 0);
  EXPECT(S_ISSOCK(stat_of("sock").st_mode));
  const Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  EXPECT_ERRNO(open("sock", O_RDONLY), ENXIO);
}
CASE(symlinks, "symlinks of any length up to 4095 bytes read back") {
  for (const std::size_t length : {1U, 59U, 60U, 61U, 255U, 1000U, 4095U}) {
    const std::string name = "s" + std::to_string(length), target(length, 't');
    REQUIRE(symlink(target.c_str(), name.c_str()) == 0);
    char back[5000];
    const ssize_t got = readlink(name.c_str(), back, sizeof back);
    EXPECT(got == static_cast<ssize_t>(length) && std::string(back, length) == target);
    EXPECT_EQUAL(stat_of(name).st_size, static_cast<off_t>(length));
    EXPECT(S_ISLNK(stat_of(name).st_mode));
  }
  EXPECT_ERRNO(symlink(std::string(4096, 't').c_str(), "long"), ENAMETOOLONG);
  EXPECT_ERRNO(symlink("", "empty"), ENOENT);
  EXPECT_ERRNO(symlink("x", "s1"), EEXIST);
  REQUIRE(symlink("loop-b", "loop-a") == 0 && symlink("loop-a", "loop-b") == 0);
  EXPECT_ERRNO(open("loop-a", O_RDONLY), ELOOP);
}
CASE(links, "hard links share the file, and its count follows") {
  REQUIRE(write_file("a", "one") && mkdir("d", 0755) == 0);
  EXPECT(link("a", "d/b") == 0);
  EXPECT_EQUAL(stat_of("a").st_nlink, 2U);
  EXPECT_EQUAL(stat_of("a").st_ino, stat_of("d/b").st_ino);
  EXPECT(write_file("d/b", "two") && read_file("a") == "two");
  EXPECT_ERRNO(link("a", "d/b"), EEXIST);
  EXPECT_ERRNO(link("d", "e"), EPERM);
  EXPECT_ERRNO(link("missing", "e"), ENOENT);
  EXPECT(unlink("a") == 0);
  EXPECT_EQUAL(stat_of("d/b").st_nlink, 1U);
  REQUIRE(symlink("nowhere", "s") == 0);
  EXPECT(link("s", "s2") == 0 && S_ISLNK(stat_of("s2").st_mode));
}
CASE(link_limit, "many links to one file: counted, and EMLINK at the limit") {
  REQUIRE(write_file("f", "x") && mkdir("links", 0755) == 0);
  const unsigned tried = g_quick ? 3000 : 66000;
  unsigned made = 1;
  for (; made < tried; ++made)
    if (link("f", ("links/" + std::to_string(made)).c_str()) != 0) break;
  if (made < tried) EXPECT_EQUAL(errno, EMLINK);
  EXPECT(made >= std::min(tried, 32000U));
  EXPECT_EQUAL(stat_of("f").st_nlink, made);
  EXPECT(unlink("links/1") == 0);
  EXPECT_EQUAL(stat_of("f").st_nlink, made - 1);
}
CASE(unlinked_open, "a file without a name lives as long as it is open") {
  const Fd fd("f", O_RDWR | O_CREAT);
  REQUIRE(fd >= 0 && write(fd, "before", 6) == 6 && unlink("f") == 0);
  EXPECT(!exists("f"));
  struct stat info{};
  EXPECT(fstat(fd, &info) == 0 && info.st_nlink == 0 && info.st_size == 6);
  EXPECT(pwrite(fd, "after", 5, 6) == 5);
  char text[12] = {};
  EXPECT(pread(fd, text, 11, 0) == 11 && std::string(text) == "beforeafter");
  EXPECT(ftruncate(fd, 3) == 0 && fchmod(fd, 0600) == 0 && fsync(fd) == 0);
  EXPECT(write_file("f", "another"));
  EXPECT(pread(fd, text, 11, 0) == 3);
}
CASE(rename_basics, "rename replaces what it may, and nothing else") {
  REQUIRE(write_file("a", "a") && write_file("b", "b") && mkdir("d", 0755) == 0 && mkdir("e", 0755) == 0);
  REQUIRE(write_file("e/inside", "x"));
  const auto inode = stat_of("a").st_ino;
  EXPECT(rename("a", "b") == 0 && !exists("a") && read_file("b") == "a" && stat_of("b").st_ino == inode);
  EXPECT_ERRNO(rename("b", "d"), EISDIR);
  EXPECT_ERRNO(rename("d", "b"), ENOTDIR);
  EXPECT(rename("d", "e") == -1 && (errno == ENOTEMPTY || errno == EEXIST));
  EXPECT_ERRNO(rename("e", "e/sub"), EINVAL);
  EXPECT_ERRNO(rename("missing", "x"), ENOENT);
  EXPECT(rename("e", "d") == 0 && exists("d/inside") && !exists("e"));
  EXPECT(rename("b", "b") == 0 && exists("b"));
  REQUIRE(link("b", "b2") == 0);
  EXPECT(rename("b", "b2") == 0 && exists("b") && exists("b2"));
}
CASE(rename_folder, "a folder moved elsewhere takes its parent's count and its .. with it") {
  REQUIRE(mkdir("from", 0755) == 0 && mkdir("to", 0755) == 0 && mkdir("from/d", 0755) == 0 &&
          write_file("to/mark", "x"));
  REQUIRE(rename("from/d", "to/d") == 0);
  EXPECT_EQUAL(stat_of("from").st_nlink, 2U);
  EXPECT_EQUAL(stat_of("to").st_nlink, 3U);
  EXPECT_EQUAL(stat_of("to/d/..").st_ino, stat_of("to").st_ino);
  EXPECT(exists("to/d/../mark"));
  REQUIRE(mkdir("from/empty", 0755) == 0);
  EXPECT(rename("from/empty", "to/d") == 0);
  EXPECT_EQUAL(stat_of("to").st_nlink, 3U);
  EXPECT_EQUAL(stat_of("from").st_nlink, 2U);
}
CASE(rename_open, "an open file keeps its content when another is renamed over its name") {
  REQUIRE(write_file("a", "new") && write_file("b", "old"));
  const Fd fd("b", O_RDONLY);
  EXPECT(rename("a", "b") == 0);
  char text[4] = {};
  EXPECT(read(fd, text, 3) == 3 && std::string(text) == "old");
  struct stat info{};
  EXPECT(fstat(fd, &info) == 0 && info.st_nlink == 0);
}
CASE(rename_noreplace, "RENAME_NOREPLACE never replaces") {
  REQUIRE(write_file("a", "a") && write_file("b", "b"));
  EXPECT_ERRNO(rename2("a", "b", RENAME_NOREPLACE), EEXIST);
  EXPECT(read_file("a") == "a" && read_file("b") == "b");
  EXPECT(rename2("a", "c", RENAME_NOREPLACE) == 0 && !exists("a") && read_file("c") == "a");
}
CASE(rename_exchange, "RENAME_EXCHANGE swaps names of any two types, across folders") {
  REQUIRE(mkdir("x", 0755) == 0 && mkdir("y", 0755) == 0 && mkdir("x/d", 0755) == 0 && write_file("y/f", "f"));
  REQUIRE(write_file("x/d/inside", "i"));
  const auto folder = stat_of("x/d").st_ino, file = stat_of("y/f").st_ino;
  REQUIRE(rename2("x/d", "y/f", RENAME_EXCHANGE) == 0);
  EXPECT_EQUAL(stat_of("x/d").st_ino, file);
  EXPECT_EQUAL(stat_of("y/f").st_ino, folder);
  EXPECT_EQUAL(stat_of("y/f/..").st_ino, stat_of("y").st_ino);
  EXPECT_EQUAL(stat_of("x").st_nlink, 2U);
  EXPECT_EQUAL(stat_of("y").st_nlink, 3U);
  EXPECT(read_file("y/f/inside") == "i" && read_file("x/d") == "f");
  EXPECT_ERRNO(rename2("x/d", "y/missing", RENAME_EXCHANGE), ENOENT);
  EXPECT_ERRNO(rename2("x/d", "y/f", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
}
CASE(rename_whiteout, "RENAME_WHITEOUT leaves a whiteout behind") {
  need_root();
  REQUIRE(write_file("a", "a"));
  REQUIRE(rename2("a", "b", RENAME_WHITEOUT) == 0);
  EXPECT(read_file("b") == "a");
  EXPECT(S_ISCHR(stat_of("a").st_mode) && stat_of("a").st_rdev == 0);
  // Over another file, from one folder to another, of a folder; and never together with an exchange.
  REQUIRE(mkdir("x", 0755) == 0 && write_file("x/old", "old") && mkdir("folder", 0755) == 0 &&
          write_file("folder/inside", "i"));
  EXPECT(rename2("b", "x/old", RENAME_WHITEOUT) == 0 && read_file("x/old") == "a");
  EXPECT(S_ISCHR(stat_of("b").st_mode) && stat_of("b").st_rdev == 0);
  EXPECT(rename2("folder", "x/folder", RENAME_WHITEOUT | RENAME_NOREPLACE) == 0 && exists("x/folder/inside"));
  EXPECT(S_ISCHR(stat_of("folder").st_mode));
  EXPECT_EQUAL(stat_of("x").st_nlink, 3U);
  EXPECT_ERRNO(rename2("x/old", "x/folder", RENAME_WHITEOUT | RENAME_NOREPLACE), EEXIST);
  EXPECT_ERRNO(rename2("x/old", "x/folder", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
  EXPECT_ERRNO(rename2("x/old", "y", 1U << 7), EINVAL);
  EXPECT(read_file("x/old") == "a" && exists("x/folder/inside"));
}
CASE(tmpfile_link, "O_TMPFILE makes a file without a name, which linkat gives one") {
  const Fd fd(".", O_TMPFILE | O_RDWR, 0640);
  REQUIRE(fd >= 0);
  struct stat info{};
  EXPECT(fstat(fd, &info) == 0 && info.st_nlink == 0 && (info.st_mode & 07777U) == 0640);
  EXPECT(write(fd, "nameless", 8) == 8);
  EXPECT(list(".").size() == 2);
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  EXPECT(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0);
  EXPECT(read_file("named") == "nameless" && stat_of("named").st_nlink == 1);
  // Another name of it is made from the descriptor; none once the last is gone.
  if (geteuid() == 0) EXPECT(linkat(fd, "", AT_FDCWD, "second", AT_EMPTY_PATH) == 0);
  EXPECT_ERRNO(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW), EEXIST);
  const Fd never(".", O_TMPFILE | O_EXCL | O_RDWR, 0600);
  const std::string hidden = "/proc/self/fd/" + std::to_string(never);
  EXPECT_ERRNO(linkat(AT_FDCWD, hidden.c_str(), AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
}
CASE(name_length, "a name has 1 to 255 bytes of any value but / and NUL") {
  const std::string longest(255, 'n'), beyond(256, 'n');
  EXPECT(write_file(longest, "x") && read_file(longest) == "x");
  EXPECT(mkdir(std::string(255, 'd').c_str(), 0755) == 0);
  EXPECT_ERRNO(open(beyond.c_str(), O_RDWR | O_CREAT, 0644), ENAMETOOLONG);
  EXPECT_ERRNO(mkdir(beyond.c_str(), 0755), ENAMETOOLONG);
  EXPECT_ERRNO(rename(longest.c_str(), beyond.c_str()), ENAMETOOLONG);
  EXPECT_ERRNO(open(beyond.c_str(), O_RDONLY), ENAMETOOLONG);
  REQUIRE(mkdir("bytes", 0755) == 0);
  int made = 0;
  for (int c = 1; c < 256; ++c) {
    if (c == '/' || c == '.') continue;
    made += write_file(std::string("bytes/") + static_cast<char>(c), "x") ? 1 : 0;
  }
  EXPECT_EQUAL(made, 253);
  EXPECT_EQUAL(list("bytes").size(), 255U);
  EXPECT(write_file("Case", "1") && write_file("case", "2") && read_file("Case") == "1");
}
CASE(deep_folders, "folders nest deeper than a path can say") {
  const Fd top(".", O_RDONLY | O_DIRECTORY);
  const std::string name(100, 'd');
  constexpr int kDepth = 100;
  for (int i = 0; i < kDepth; ++i) REQUIRE(mkdir(name.c_str(), 0755) == 0 && chdir(name.c_str()) == 0);
  EXPECT(write_file("bottom", "x") && read_file("bottom") == "x");
  std::string path;
  for (int i = 0; i < kDepth; ++i) path += name + "/";
  EXPECT(fchdir(top) == 0);
  EXPECT_ERRNO(open((path + "bottom").c_str(), O_RDONLY), ENAMETOOLONG);
}
CASE(list_whole, "readdir gives every entry once, with its type and inode number") {
  REQUIRE(mkdir("d", 0755) == 0);
  constexpr int kEntries = 5000;
  for (int i = 0; i < kEntries; ++i) {
    const std::string path = "d/" + number_name(i);
    if (i % 3 == 0) REQUIRE(mkdir(path.c_str(), 0755) == 0);
    if (i % 3 == 1) REQUIRE(write_file(path, ""));
    if (i % 3 == 2) REQUIRE(symlink("t", path.c_str()) == 0);
  }
  std::map<std::string, std::pair<unsigned char, ino_t>> seen;
  DIR* stream = opendir("d");
  REQUIRE(stream != nullptr);
  while (const dirent* entry = readdir(stream))
    EXPECT(seen.emplace(entry->d_name, std::pair{entry->d_type, entry->d_ino}).second);
  closedir(stream);
  EXPECT_EQUAL(seen.size(), kEntries + 2U);
  EXPECT(seen.count(".") == 1 && seen.count("..") == 1);
  for (int i = 0; i < kEntries; i += 97) {
    const auto& [type, inode] = seen[number_name(i)];
    EXPECT_EQUAL(inode, stat_of("d/" + number_name(i)).st_ino);
    EXPECT(type == DT_UNKNOWN || type == (i % 3 == 0 ? DT_DIR : i % 3 == 1 ? DT_REG : DT_LNK));
  }
}
CASE(list_changing, "readdir gives what stays exactly once, while other entries come and go") {
  REQUIRE(mkdir("d", 0755) == 0);
  constexpr int kEntries = 3000;
  for (int i = 0; i < kEntries; ++i) REQUIRE(write_file("d/" + number_name(i), ""));
  std::map<std::string, int> seen;
  std::set<std::string> removed;
  DIR* stream = opendir("d");
  REQUIRE(stream != nullptr);
  Random random;
  int fresh = kEntries;
  while (const dirent* entry = readdir(stream)) {
    ++seen[entry->d_name];
    // One that was just given, one picked blindly, and one new: on either side of where we are.
    if (random.below(4) == 0 && entry->d_name[0] == 'e') {
      if (unlink(("d/" + std::string(entry->d_name)).c_str()) == 0) removed.insert(entry->d_name);
    }
    const std::string other = number_name(static_cast<int>(random.below(kEntries)));
    if (random.below(4) == 0 && unlink(("d/" + other).c_str()) == 0) removed.insert(other);
    if (random.below(2) == 0 && fresh < 2 * kEntries) EXPECT(write_file("d/" + number_name(fresh++), ""));
  }
  closedir(stream);
  int missing = 0, twice = 0;
  for (int i = 0; i < kEntries; ++i)
    if (removed.count(number_name(i)) == 0 && seen[number_name(i)] == 0) ++missing;
  for (const auto& [name, times] : seen)
    if (times > 1) ++twice;
  EXPECT_EQUAL(missing, 0);
  EXPECT_EQUAL(twice, 0);
}
namespace {
// What stays in d is listed exactly once by each of `listings`, while `processes` make, rename and remove other names.
void list_among_others(int entries, int processes, int listings) {
  std::fflush(stdout);
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    Random random{g_seed * 1000 + static_cast<unsigned>(p) + 1};
    const std::string mine = "d/passing-" + std::to_string(p) + "-";
    for (;;) {
      const std::string name = mine + std::to_string(random.below(500));
      switch (random.below(4)) {
        case 0: unlink(name.c_str()); break;
        case 1: rename(name.c_str(), (mine + std::to_string(random.below(500))).c_str()); break;
        default: write_file(name, "");
      }
    }
  }
  std::vector<int> seen(static_cast<std::size_t>(entries));
  for (int round = 0; round < listings; ++round) {
    std::fill(seen.begin(), seen.end(), 0);
    DIR* stream = opendir("d");
    REQUIRE(stream != nullptr);
    int others_twice = 0;
    std::map<std::string, int> others;
    while (const dirent* entry = readdir(stream)) {
      const std::string name = entry->d_name;
      if (name.rfind("entry-", 0) == 0)
        ++seen[static_cast<std::size_t>(std::atoi(name.c_str() + 6))];
      else if (name[0] == '.' && ++others[name] > 1)
        ++others_twice;
    }
    closedir(stream);
    EXPECT_EQUAL(std::count(seen.begin(), seen.end(), 1), entries);
    EXPECT_EQUAL(others_twice, 0);
    EXPECT_EQUAL(others.size(), 2U);
  }
  for (const pid_t child : children) {
    int status = 0;
    EXPECT(waitpid(child, &status, WNOHANG) == 0);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
}
}  // namespace
CASE(list_among, "readdir gives what stays exactly once, while other processes make, rename and remove") {
  REQUIRE(mkdir("d", 0755) == 0);
  constexpr int kEntries = 4000;
  for (int i = 0; i < kEntries; ++i) REQUIRE(write_file("d/" + number_name(i), ""));
  list_among_others(kEntries, 3, 20);
}
CASE(seekdir_, "telldir and seekdir find their place again, also after removals") {
  REQUIRE(mkdir("d", 0755) == 0);
  constexpr int kEntries = 2000;
  for (int i = 0; i < kEntries; ++i) REQUIRE(write_file("d/" + number_name(i), ""));
  DIR* stream = opendir("d");
  REQUIRE(stream != nullptr);
  std::vector<long> places;
  std::vector<std::string> names;
  for (;;) {
    const long place = telldir(stream);
    const dirent* entry = readdir(stream);
    if (entry == nullptr) break;
    places.push_back(place);
    names.emplace_back(entry->d_name);
  }
  EXPECT_EQUAL(names.size(), kEntries + 2U);
  Random random;
  for (int i = 0; i < 200; ++i) {
    const std::size_t at = random.below(names.size());
    seekdir(stream, places[at]);
    const dirent* entry = readdir(stream);
    EXPECT(entry != nullptr && names[at] == entry->d_name);
  }
  // With every other entry gone, what follows a place is the next survivor of the same order.
  for (std::size_t i = 0; i < names.size(); i += 2)
    if (names[i][0] != '.') EXPECT(unlink(("d/" + names[i]).c_str()) == 0);
  for (std::size_t i = 1; i + 2 < names.size(); i += 50) {
    if (names[i][0] == '.') continue;
    seekdir(stream, places[i]);
    const dirent* entry = readdir(stream);
    EXPECT(entry != nullptr && names[i] == entry->d_name);
  }
  rewinddir(stream);
  EXPECT(write_file("d/fresh", ""));
  bool found = false;
  while (const dirent* entry = readdir(stream)) found = found || std::string(entry->d_name) == "fresh";
  rewinddir(stream);
  while (const dirent* entry = readdir(stream)) found = found || std::string(entry->d_name) == "fresh";
  EXPECT(found);
  closedir(stream);
}

namespace {
void big_folder(int entries) {
  REQUIRE(mkdir("d", 0755) == 0);
  const Fd dir("d", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < entries; ++i) {
    const Fd fd(openat(dir, number_name(i).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    REQUIRE(fd >= 0);
  }
  struct stat info{};
  Random random;
  for (int i = 0; i < 2000; ++i) {
    EXPECT(fstatat(dir, number_name(static_cast<int>(random.below(static_cast<unsigned>(entries)))).c_str(), &info,
                   0) == 0);
    EXPECT(fstatat(dir, ("missing" + std::to_string(i)).c_str(), &info, 0) == -1);
  }
  const auto names = list("d");
  EXPECT_EQUAL(names.size(), static_cast<std::size_t>(entries) + 2);
  EXPECT_EQUAL(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  list_among_others(entries, 2, 2);
  for (const auto& name : list("d"))
    if (name.rfind("passing", 0) == 0) REQUIRE(unlinkat(dir, name.c_str(), 0) == 0);
  EXPECT_ERRNO(rmdir("d"), ENOTEMPTY);
  for (const auto& name : names)
    if (name[0] != '.') REQUIRE(unlinkat(dir, name.c_str(), 0) == 0);
  EXPECT_EQUAL(list("d").size(), 2U);
  EXPECT(rmdir("d") == 0);
}
}  // namespace
CASE(big_folder_, "a folder of many thousand entries is made, searched, listed and emptied") {
  big_folder(g_quick ? 5000 : 50000);
}
LONG_CASE(million_folder, "a folder of a million entries is made, searched, listed and emptied") {
  big_folder(1000000);
}

CASE(inode_numbers, "inode numbers differ, and stay") {
  std::map<ino_t, std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(write_file(number_name(i), ""));
    EXPECT(seen.emplace(stat_of(number_name(i)).st_ino, number_name(i)).second);
  }
  for (const auto& [inode, name] : seen) EXPECT_EQUAL(stat_of(name).st_ino, inode);
}
CASE(handles, "a file is found again by its handle, and not after it is gone") {
  need_root();
  REQUIRE(write_file("f", "by handle") && mkdir("d", 0755) == 0);
  Handle handle;
  if (!handle.take("f") && errno == EOPNOTSUPP) skip("no file handles here");
  const Fd mount(".", O_RDONLY | O_DIRECTORY);
  REQUIRE(rename("f", "d/g") == 0);
  {
    const Fd fd(open_by_handle_at(mount, handle.get(), O_RDONLY));
    char text[10] = {};
    EXPECT(fd >= 0 && read(fd, text, 9) == 9 && std::string(text) == "by handle");
  }
  Handle folder;
  REQUIRE(folder.take("d"));
  {
    const Fd fd(open_by_handle_at(mount, folder.get(), O_RDONLY | O_DIRECTORY));
    EXPECT(fd >= 0 && faccessat(fd, "g", R_OK, 0) == 0);
  }
  REQUIRE(unlink("d/g") == 0);
  EXPECT_ERRNO(open_by_handle_at(mount, handle.get(), O_RDONLY), ESTALE);
  // Not even when its inode number is in use again.
  for (int i = 0; i < 50; ++i) EXPECT(write_file(number_name(i), "new"));
  EXPECT_ERRNO(open_by_handle_at(mount, handle.get(), O_RDONLY), ESTALE);
}
CASE(removed_folder, "nothing can be made in a folder that is gone") {
  REQUIRE(mkdir("d", 0755) == 0);
  const Fd dir("d", O_RDONLY | O_DIRECTORY);
  REQUIRE(rmdir("d") == 0);
  EXPECT_ERRNO(openat(dir, "f", O_RDWR | O_CREAT, 0644), ENOENT);
  EXPECT_ERRNO(mkdirat(dir, "e", 0755), ENOENT);
  struct stat info{};
  EXPECT(fstat(dir, &info) == 0 && info.st_nlink == 0);
}
CASE(race_create, "of many processes that create one name exclusively, one wins") {
  std::fflush(stdout);
  for (int i = 0; i < 20; ++i) {
    std::vector<pid_t> children;
    for (int c = 0; c < 4; ++c) {
      children.push_back(fork());
      if (children.back() == 0)
        _exit(open(number_name(i).c_str(), O_RDWR | O_CREAT | O_EXCL, 0644) >= 0 ? 1 : errno == EEXIST ? 0 : 9);
    }
    int winners = 0;
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      winners += WEXITSTATUS(status);
    }
    EXPECT_EQUAL(winners, 1);
  }
}
CASE(race_rename, "a name that is replaced by rename is never missing") {
  REQUIRE(write_file("target", "0"));
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 500; ++i)
      if (!write_file("new", std::to_string(i)) || rename("new", "target") != 0) _exit(1);
    _exit(0);
  }
  int missing = 0, empty = 0, status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    const Fd fd("target", O_RDONLY);
    char byte = 0;
    if (fd < 0)
      ++missing;
    else if (read(fd, &byte, 1) != 1)
      ++empty;
  }
  EXPECT_EQUAL(status, 0);
  EXPECT_EQUAL(missing, 0);
  EXPECT_EQUAL(empty, 0);
}

int main(int argc, char** argv) { return run_all(argc, argv); }
