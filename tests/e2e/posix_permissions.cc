// posix_permissions.cc - who may do what on a mounted file system, and what becomes of setuid and setgid bits.
#include "posix_check.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

using namespace posix_check;

namespace {
constexpr gid_t kGroup = 65530, kOtherGroup = 65531;
mode_t mode_of(const char* path) { return stat_of(path).st_mode & 07777U; }
bool give(const char* path, uid_t uid, gid_t gid, mode_t mode) {
  return chown(path, uid, gid) == 0 && chmod(path, mode) == 0;
}
}  // namespace

CASE(read_write, "owner, group and others each have their own bits, and only those") {
  need_root();
  REQUIRE(write_file("f", "x") && give("f", kUser, kGroup, 0604));
  as_user(kUser, {}, [] { EXPECT(Fd("f", O_RDWR) >= 0); });
  as_user(kOtherUser, {}, [] {
    EXPECT(Fd("f", O_RDONLY) >= 0);
    EXPECT_ERRNO(open("f", O_WRONLY), EACCES);
  });
  // Of the group, and so not among the others, through a supplementary group.
  as_user(kOtherUser, {5, kGroup, 77}, [] { EXPECT_ERRNO(open("f", O_RDONLY), EACCES); });
  REQUIRE(chmod("f", 0060) == 0);
  as_user(kOtherUser, {5, kGroup, 77}, [] { EXPECT(Fd("f", O_RDWR) >= 0); });
  as_user(kUser, {kGroup}, [] { EXPECT_ERRNO(open("f", O_RDONLY), EACCES); });
  as_user(kOtherUser, {}, [] {
    EXPECT_ERRNO(truncate("f", 0), EACCES);
    EXPECT_ERRNO(access("f", R_OK), EACCES);
    EXPECT(access("f", F_OK) == 0);
  });
}
CASE(many_groups, "a process may be in hundreds of groups, the last of which counts") {
  need_root();
  REQUIRE(write_file("f", "x") && give("f", 0, 70399, 0060));
  std::vector<gid_t> groups;
  for (gid_t g = 70000; g < 70400; ++g) groups.push_back(g);
  as_user(kUser, groups, [] { EXPECT(Fd("f", O_RDWR) >= 0); });
}
CASE(folders, "a folder's r lists, its x passes through, its w and x change") {
  need_root();
  REQUIRE(mkdir("d", 0755) == 0 && write_file("d/f", "x") && chmod("d/f", 0666) == 0 && give("d", 0, 0, 0711));
  as_user(kUser, {}, [] {
    EXPECT(Fd("d/f", O_RDONLY) >= 0);
    EXPECT_ERRNO(open("d", O_RDONLY | O_DIRECTORY), EACCES);
    EXPECT_ERRNO(open("d/new", O_RDWR | O_CREAT, 0644), EACCES);
    EXPECT_ERRNO(unlink("d/f"), EACCES);
    EXPECT_ERRNO(mkdir("d/e", 0755), EACCES);
    EXPECT_ERRNO(rename("d/f", "d/g"), EACCES);
    EXPECT_ERRNO(link("d/f", "d/g"), EACCES);
    EXPECT_ERRNO(symlink("t", "d/s"), EACCES);
  });
  REQUIRE(chmod("d", 0744) == 0);
  as_user(kUser, {}, [] {
    EXPECT(Fd("d", O_RDONLY | O_DIRECTORY) >= 0);
    EXPECT_ERRNO(open("d/f", O_RDONLY), EACCES);
    struct stat info{};
    EXPECT_ERRNO(stat("d/f", &info), EACCES);
  });
  REQUIRE(chmod("d", 0777) == 0);
  as_user(kUser, {}, [] { EXPECT(unlink("d/f") == 0 && write_file("d/g", "y")); });
  EXPECT_EQUAL(stat_of("d/g").st_uid, kUser);
}
CASE(sticky, "in a sticky folder only owners remove and rename") {
  need_root();
  REQUIRE(mkdir("d", 0777) == 0 && give("d", 0, 0, 01777));
  as_user(kUser, {}, [] { EXPECT(write_file("d/mine", "x", 0666) && mkdir("d/folder", 0777) == 0); });
  EXPECT(chmod("d/folder", 0777) == 0 && chmod("d/mine", 0666) == 0);
  as_user(kOtherUser, {}, [] {
    EXPECT_ERRNO(unlink("d/mine"), EPERM);
    EXPECT_ERRNO(rename("d/mine", "d/yours"), EPERM);
    EXPECT_ERRNO(rmdir("d/folder"), EPERM);
    EXPECT(write_file("d/theirs", "x"));
    EXPECT_ERRNO(rename("d/theirs", "d/mine"), EPERM);
  });
  as_user(kUser, {}, [] {
    EXPECT(rename("d/mine", "d/still-mine") == 0 && unlink("d/still-mine") == 0 && rmdir("d/folder") == 0);
  });
  REQUIRE(chown("d", kUser, kUser) == 0);
  as_user(kUser, {}, [] { EXPECT(unlink("d/theirs") == 0); });
}
CASE(chmod_chown, "only the owner changes the mode, and only root the owner") {
  need_root();
  REQUIRE(write_file("f", "x") && give("f", kUser, kGroup, 0644));
  as_user(kOtherUser, {kGroup}, [] {
    EXPECT_ERRNO(chmod("f", 0777), EPERM);
    EXPECT_ERRNO(chown("f", kOtherUser, static_cast<gid_t>(-1)), EPERM);
    EXPECT_ERRNO(chown("f", static_cast<uid_t>(-1), kGroup), EPERM);
  });
  as_user(kUser, {kGroup, kOtherGroup}, [] {
    EXPECT(chmod("f", 0600) == 0);
    EXPECT_ERRNO(chown("f", kOtherUser, static_cast<gid_t>(-1)), EPERM);
    EXPECT(chown("f", static_cast<uid_t>(-1), kOtherGroup) == 0);
    EXPECT_ERRNO(chown("f", static_cast<uid_t>(-1), 12345), EPERM);
  });
  EXPECT_EQUAL(stat_of("f").st_gid, kOtherGroup);
}
CASE(set_times, "setting times takes ownership, setting them to now takes the right to write") {
  need_root();
  REQUIRE(write_file("f", "x") && give("f", kUser, kGroup, 0646));
  const timespec set[2] = {{1, 0}, {2, 0}};
  as_user(kOtherUser, {}, [&] {
    EXPECT_ERRNO(utimensat(AT_FDCWD, "f", set, 0), EPERM);
    EXPECT(utimensat(AT_FDCWD, "f", nullptr, 0) == 0);
  });
  REQUIRE(chmod("f", 0644) == 0);
  as_user(kOtherUser, {}, [] { EXPECT_ERRNO(utimensat(AT_FDCWD, "f", nullptr, 0), EACCES); });
  as_user(kUser, {}, [&] { EXPECT(utimensat(AT_FDCWD, "f", set, 0) == 0); });
}
CASE(write_clears, "a write by another than root takes setuid, and setgid where the group may execute") {
  need_root();
  const auto fresh = [](mode_t mode) { EXPECT(write_file("f", "program text") && give("f", 0, 0, mode)); };
  fresh(06777);
  as_user(kUser, {}, [] { EXPECT(pwrite(Fd("f", O_WRONLY), "X", 1, 0) == 1); });
  EXPECT_EQUAL(mode_of("f"), 0777U);
  fresh(06777);
  as_user(kUser, {}, [] { EXPECT(truncate("f", 3) == 0); });
  EXPECT_EQUAL(mode_of("f"), 0777U);
  fresh(06777);
  as_user(kUser, {}, [] { EXPECT(Fd("f", O_WRONLY | O_TRUNC) >= 0); });
  EXPECT_EQUAL(mode_of("f"), 0777U);
  fresh(06777);
  as_user(kUser, {}, [] { EXPECT(fallocate(Fd("f", O_WRONLY), 0, 0, 10000) == 0); });
  EXPECT_EQUAL(mode_of("f"), 0777U);
  fresh(06777);
  EXPECT(pwrite(Fd("f", O_WRONLY), "X", 1, 0) == 1);
  EXPECT_EQUAL(mode_of("f"), 06777U);
}
CASE(write_clears_open, "setuid goes with the first write, also through a descriptor opened before it was set") {
  need_root();
  REQUIRE(write_file("f", "text") && give("f", kUser, kUser, 0755));
  as_user(kUser, {}, [] {
    const Fd fd("f", O_WRONLY);
    EXPECT(chmod("f", 04755) == 0 && write(fd, "X", 1) == 1 && fsync(fd) == 0);
  });
  EXPECT_EQUAL(mode_of("f"), 0755U);
}
CASE(chown_clears, "a change of owner takes setuid and setgid from files, not from folders") {
  need_root();
  REQUIRE(write_file("f", "x") && chmod("f", 06755) == 0 && chown("f", kUser, kGroup) == 0);
  EXPECT_EQUAL(mode_of("f"), 0755U);
  REQUIRE(chmod("f", 06755) == 0);
  as_user(kUser, {kGroup, kOtherGroup}, [] { EXPECT(chown("f", static_cast<uid_t>(-1), kOtherGroup) == 0); });
  EXPECT_EQUAL(mode_of("f"), 0755U);
  REQUIRE(mkdir("d", 0755) == 0 && chmod("d", 06755) == 0 && chown("d", kUser, kGroup) == 0);
  EXPECT_EQUAL(mode_of("d"), 06755U);
}
CASE(chmod_setgid, "an owner who is not of the group cannot give setgid") {
  need_root();
  REQUIRE(write_file("f", "x") && give("f", kUser, kGroup, 0755));
  as_user(kUser, {}, [] { EXPECT(chmod("f", 02755) == 0); });
  EXPECT_EQUAL(mode_of("f"), 0755U);
  as_user(kUser, {kGroup}, [] { EXPECT(chmod("f", 02755) == 0); });
  EXPECT_EQUAL(mode_of("f"), 02755U);
}
CASE(setgid_folder, "what is made in a setgid folder has the folder's group, and folders pass the bit on") {
  need_root();
  REQUIRE(mkdir("d", 0777) == 0 && give("d", 0, kGroup, 02777));
  as_user(kUser, {}, [] {
    umask(0);
    EXPECT(write_file("d/f", "x") && mkdir("d/e", 0755) == 0 && symlink("t", "d/s") == 0 && mkfifo("d/p", 0644) == 0);
    // Who is not of the group cannot make a setgid program of it.
    EXPECT(Fd("d/program", O_RDWR | O_CREAT, 02755) >= 0);
  });
  for (const char* path : {"d/f", "d/e", "d/s", "d/p", "d/program"}) EXPECT_EQUAL(stat_of(path).st_gid, kGroup);
  EXPECT_EQUAL(mode_of("d/e"), 02755U);
  EXPECT_EQUAL(mode_of("d/program"), 0755U);
  REQUIRE(chmod("d", 0777) == 0);
  as_user(kUser, {}, [] { EXPECT(write_file("d/own", "x")); });
  EXPECT_EQUAL(stat_of("d/own").st_gid, kUser);
}
CASE(devices, "only root makes device nodes; anyone makes fifos") {
  need_root();
  as_user(kUser, {}, [] {
    EXPECT_ERRNO(mknod("dev", S_IFCHR | 0666, makedev(1, 3)), EPERM);
    EXPECT(mkfifo("p", 0600) == 0);
  });
  EXPECT_EQUAL(stat_of("p").st_uid, kUser);
}
CASE(execute, "programs run, with the rights of a setuid owner, and only with an x") {
  need_root();
  if (std::system("cp /usr/bin/id id") != 0) skip("no /usr/bin/id");
  REQUIRE(chmod("id", 0644) == 0);
  EXPECT_ERRNO(execl("id", "id", nullptr), EACCES);
  REQUIRE(give("id", kOtherUser, kOtherUser, 04755));
  as_user(kUser, {}, [] {
    FILE* out = popen("./id -u", "r");
    char text[32] = {};
    EXPECT(out != nullptr && std::fgets(text, sizeof text, out) != nullptr &&
           std::atoi(text) == static_cast<int>(kOtherUser));
    if (out != nullptr) pclose(out);
  });
}
namespace {
// A user name space in which `inside` is `outside`, 100 ids long, as /proc has it; -1 if there can be none.
int user_space(uid_t inside, uid_t outside) {
  int ready[2], done[2];
  if (pipe(ready) != 0 || pipe(done) != 0) return -1;
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char byte = unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
    close(done[1]);
    if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 0) _exit(1);
    _exit(0);
  }
  close(done[0]);
  char byte = 'n';
  int fd = -1;
  if (read(ready[0], &byte, 1) == 1 && byte == 'y') {
    const std::string proc = "/proc/" + std::to_string(child);
    const std::string line = std::to_string(inside) + " " + std::to_string(outside) + " 100";
    for (const char* map : {"/uid_map", "/gid_map"}) {
      const Fd out(proc + map, O_WRONLY);
      if (write(out, line.data(), line.size()) != static_cast<ssize_t>(line.size())) byte = 'n';
    }
    if (byte == 'y') fd = open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC);
  }
  close(done[1]);
  close(ready[0]);
  close(ready[1]);
  waitpid(child, nullptr, 0);
  return fd;
}
}  // namespace
CASE(idmapped, "an idmapped mount shows and makes files with mapped owners") {
  need_root();
  REQUIRE(chmod(".", 0755) == 0 && chown(".", 10000, 10000) == 0 && write_file("f", "x") &&
          give("f", 10007, 10008, 0640));
  const Fd space(user_space(10000, 20000));
  if (space < 0) skip("no user name spaces here");
  // open_tree(2) and mount_setattr(2), which glibc 2.36 has no names for in all its headers.
  const Fd tree(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  REQUIRE(tree >= 0);
  struct {
    std::uint64_t set, clear, propagation, space;
  } attributes{0x00100000 /* MOUNT_ATTR_IDMAP */, 0, 0, static_cast<std::uint64_t>(static_cast<int>(space))};
  errno = 0;
  if (syscall(SYS_mount_setattr, static_cast<int>(tree), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return report(__FILE__, __LINE__, "mount_setattr", errno);
  struct stat info{};
  EXPECT(fstatat(tree, "f", &info, 0) == 0 && info.st_uid == 20007 && info.st_gid == 20008);
  as_user(20007, {}, [&] {
    EXPECT(Fd(openat(tree, "f", O_RDWR | O_CLOEXEC)) >= 0);
    EXPECT_ERRNO(openat(AT_FDCWD, "f", O_RDWR | O_CLOEXEC), EACCES);
  });
  as_user(20000, {}, [&] {
    const Fd fd(openat(tree, "made", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    EXPECT(fd >= 0 && write(fd, "y", 1) == 1);
    EXPECT(mkdirat(tree, "folder", 0755) == 0 && symlinkat("t", tree, "link") == 0 &&
           mknodat(tree, "fifo", S_IFIFO | 0600, 0) == 0);
    const Fd nameless(openat(tree, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    struct stat own{};
    EXPECT(nameless >= 0 && fstat(nameless, &own) == 0 && own.st_uid == 20000);
    EXPECT(fchmodat(tree, "made", 0600, 0) == 0 && renameat(tree, "made", tree, "renamed") == 0);
  });
  for (const char* name : {"renamed", "folder", "link", "fifo"}) {
    EXPECT_EQUAL(stat_of(name).st_uid, 10000U);
    EXPECT_EQUAL(stat_of(name).st_gid, 10000U);
  }
  // Owners that the map does not know make nothing, rather than something of another's.
  EXPECT_ERRNO(openat(tree, "by-root", O_RDWR | O_CREAT | O_CLOEXEC, 0644), EOVERFLOW);
  EXPECT(fchownat(tree, "renamed", 20001, 20002, 0) == 0 && stat_of("renamed").st_uid == 10001);
  EXPECT(chown(".", 0, 0) == 0);
}
CASE(busy, "a program that runs cannot be written") {
  if (std::system("cp /usr/bin/sleep sleep") != 0) skip("no /usr/bin/sleep");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) execl("sleep", "sleep", "20", nullptr);
  usleep(200000);
  EXPECT_ERRNO(open("sleep", O_WRONLY), ETXTBSY);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}
CASE(handle_keeps, "an open file keeps the rights it was opened with") {
  need_root();
  REQUIRE(write_file("f", "x") && give("f", kUser, kUser, 0600));
  as_user(kUser, {}, [] {
    const Fd fd("f", O_RDWR);
    EXPECT(chmod("f", 0000) == 0 && pwrite(fd, "y", 1, 0) == 1);
    char byte = 0;
    EXPECT(pread(fd, &byte, 1, 0) == 1 && byte == 'y');
    EXPECT_ERRNO(open("f", O_RDONLY), EACCES);
  });
}

int main(int argc, char** argv) { return run_all(argc, argv); }
