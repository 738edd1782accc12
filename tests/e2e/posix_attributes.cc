// posix_attributes.cc - what is known of a file on a mounted file system: mode, owner, times, attributes, ACLs, flags.
#include "posix_check.h"

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <utime.h>
#include <algorithm>
#include <ctime>
#include <set>

using namespace posix_check;

namespace {
bool later(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}
bool same(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }
// The kernel stamps from a clock that ticks every few milliseconds.
void let_clock_tick() { usleep(12000); }
bool set_times(const char* path, timespec access, timespec modified) {
  const timespec times[2] = {access, modified};
  return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0;
}
struct statx statx_of(const char* path) {
  struct statx info{};
  if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_ALL, &info) != 0) report(__FILE__, __LINE__, "statx", errno);
  return info;
}
std::string attribute(const char* path, const char* name) {
  char value[65536];
  const ssize_t got = lgetxattr(path, name, value, sizeof value);
  return got < 0 ? "missing" : std::string(value, static_cast<std::size_t>(got));
}
std::set<std::string> attribute_names(const char* path) {
  std::set<std::string> names;
  char list[65536];
  const ssize_t got = llistxattr(path, list, sizeof list);
  for (ssize_t i = 0; i < got; i += static_cast<ssize_t>(std::strlen(list + i)) + 1) names.insert(list + i);
  return names;
}

// One kind of change, and which of a file's times it has to move.
struct Moves {
  bool modified, changed;
};
void expect_moves(const char* what, const char* path, Moves moves, const std::function<bool()>& change) {
  const auto before = stat_of(path);
  let_clock_tick();
  if (!change()) return report(__FILE__, __LINE__, what, errno);
  const auto after = stat_of(path);
  if (later(after.st_mtim, before.st_mtim) != moves.modified)
    report(__FILE__, __LINE__, (std::string(what) + ": time of modification").c_str(), 0);
  if (later(after.st_ctim, before.st_ctim) != moves.changed)
    report(__FILE__, __LINE__, (std::string(what) + ": time of change").c_str(), 0);
}

// The binary form of an ACL in an extended attribute (linux/posix_acl_xattr.h).
struct AclEntry {
  std::uint16_t tag, permissions;
  std::uint32_t id;
};
constexpr std::uint16_t kOwner = 1, kUserTag = 2, kOwningGroup = 4, kMask = 0x10, kOther = 0x20;
constexpr std::uint32_t kNobody = ~0U;
std::string acl(const std::vector<AclEntry>& entries) {
  const std::uint32_t version = 2;
  std::string out(reinterpret_cast<const char*>(&version), 4);
  for (const auto& entry : entries) out.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  return out;
}
bool set_acl(const char* path, const char* name, const std::string& value) {
  return setxattr(path, name, value.data(), value.size(), 0) == 0;
}
constexpr const char *kAccess = "system.posix_acl_access", *kDefault = "system.posix_acl_default";

bool set_flags(const char* path, int flags) {
  const Fd fd(path, O_RDONLY);
  return fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}
int flags_of(const char* path) {
  const Fd fd(path, O_RDONLY);
  int flags = 0;
  return fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 ? flags : -1;
}
}  // namespace

CASE(modes, "all twelve mode bits are kept, on files and folders") {
  need_root();
  REQUIRE(write_file("f", "") && mkdir("d", 0755) == 0);
  for (mode_t mode = 0; mode < 010000; mode += 0111) {
    EXPECT(chmod("f", mode) == 0 && chmod("d", mode) == 0);
    EXPECT_EQUAL(stat_of("f").st_mode & 07777U, mode);
    EXPECT_EQUAL(stat_of("d").st_mode & 07777U, mode);
  }
}
CASE(owners, "owner and group are kept, up to 32 bits, also of symlinks") {
  need_root();
  REQUIRE(write_file("f", "") && symlink("f", "s") == 0);
  EXPECT(chown("f", 4000000000U, 3999999999U) == 0);
  EXPECT_EQUAL(stat_of("f").st_uid, 4000000000U);
  EXPECT_EQUAL(stat_of("f").st_gid, 3999999999U);
  EXPECT(chown("f", static_cast<uid_t>(-1), 5) == 0 && stat_of("f").st_uid == 4000000000U && stat_of("f").st_gid == 5);
  EXPECT(lchown("s", 7, 8) == 0 && stat_of("s").st_uid == 7 && stat_of("f").st_gid == 5);
}
CASE(times_exact, "times are kept to the nanosecond, from 1902 to 2400") {
  REQUIRE(write_file("f", ""));
  for (const timespec& time : std::vector<timespec>{{0, 0},
                                                    {1, 1},
                                                    {1700000000, 123456789},
                                                    {1700000000, 999999999},
                                                    {-1, 1},
                                                    {-2000000000, 5},
                                                    {2147483647, 999999999},
                                                    {2147483648, 0},
                                                    {4294967296, 7},
                                                    {13569465600, 42}}) {
    REQUIRE(set_times("f", time, time));
    EXPECT(same(stat_of("f").st_atim, time) && same(stat_of("f").st_mtim, time));
  }
}
CASE(times_now, "UTIME_NOW and UTIME_OMIT, each for one of the times") {
  REQUIRE(write_file("f", "") && set_times("f", {1000, 1}, {2000, 2}));
  EXPECT(set_times("f", {0, UTIME_OMIT}, {3000, 3}) && stat_of("f").st_atim.tv_sec == 1000 &&
         stat_of("f").st_mtim.tv_sec == 3000);
  EXPECT(set_times("f", {0, UTIME_NOW}, {0, UTIME_OMIT}) && stat_of("f").st_mtim.tv_sec == 3000);
  EXPECT(std::abs(stat_of("f").st_atim.tv_sec - time(nullptr)) < 10);
  EXPECT(utime("f", nullptr) == 0 && std::abs(stat_of("f").st_mtim.tv_sec - time(nullptr)) < 10);
  REQUIRE(symlink("f", "s") == 0);
  EXPECT(set_times("s", {11, 0}, {12, 0}) && stat_of("s").st_mtim.tv_sec == 12 && stat_of("f").st_mtim.tv_sec != 12);
}
CASE(times_file, "each kind of change moves the times it should, and no other") {
  REQUIRE(write_file("f", "text") && mkdir("d", 0755) == 0);
  const Fd fd("f", O_RDWR);
  expect_moves("write", "f", {true, true}, [&] { return pwrite(fd, "x", 1, 0) == 1 && fsync(fd) == 0; });
  expect_moves("truncate", "f", {true, true}, [&] { return ftruncate(fd, 2) == 0; });
  // A FUSE mount with write-back cache keeps times in the kernel, which does not move them here.
  struct statfs facts{};
  if (statfs(".", &facts) == 0 && facts.f_type != FUSE_SUPER_MAGIC)
    expect_moves("truncate to the same size by path", "f", {true, true}, [&] { return truncate("f", 2) == 0; });
  expect_moves("fallocate", "f", {true, true}, [&] { return fallocate(fd, 0, 0, 10000) == 0; });
  expect_moves("chmod", "f", {false, true}, [&] { return chmod("f", 0600) == 0; });
  expect_moves("link", "f", {false, true}, [&] { return link("f", "g") == 0; });
  expect_moves("unlink of another name", "f", {false, true}, [&] { return unlink("g") == 0; });
  expect_moves("rename", "d", {false, true}, [&] { return rename("d", "e") == 0 && rename("e", "d") == 0; });
  expect_moves("setxattr", "f", {false, true}, [&] { return setxattr("f", "user.x", "y", 1, 0) == 0; });
  expect_moves("read", "f", {false, false}, [&] { return !read_file("f").empty(); });
  expect_moves("stat and open", "f", {false, false}, [&] { return Fd("f", O_RDWR) >= 0; });
  expect_moves("write through a map", "f", {true, true}, [&] {
    auto* map = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    map[7] = 'm';
    return msync(map, 4096, MS_SYNC) == 0 && munmap(map, 4096) == 0 && fsync(fd) == 0;
  });
  expect_moves("opening with O_TRUNC", "f", {true, true}, [&] { return Fd("f", O_WRONLY | O_TRUNC) >= 0; });
}
CASE(times_folder, "a folder's times move when its entries do") {
  REQUIRE(mkdir("d", 0755) == 0 && mkdir("other", 0755) == 0 && write_file("other/f", ""));
  expect_moves("create", "d", {true, true}, [] { return write_file("d/f", "x"); });
  expect_moves("write to a file in it", "d", {false, false}, [] { return write_file("d/f", "longer"); });
  expect_moves("mkdir", "d", {true, true}, [] { return mkdir("d/e", 0755) == 0; });
  expect_moves("symlink", "d", {true, true}, [] { return symlink("t", "d/s") == 0; });
  expect_moves("rename within", "d", {true, true}, [] { return rename("d/f", "d/g") == 0; });
  expect_moves("rename into", "d", {true, true}, [] { return rename("other/f", "d/h") == 0; });
  expect_moves("link", "d", {true, true}, [] { return link("d/g", "d/i") == 0; });
  expect_moves("unlink", "d", {true, true}, [] { return unlink("d/g") == 0; });
  expect_moves("rmdir", "d", {true, true}, [] { return rmdir("d/e") == 0; });
  expect_moves("a failed create", "d", {false, false},
               [] { return open("d/i", O_CREAT | O_EXCL | O_RDWR, 0644) == -1; });
}
CASE(birth, "the time of birth is there, and stays") {
  const time_t begin = time(nullptr) - 2;
  REQUIRE(write_file("f", ""));
  const auto first = statx_of("f");
  if ((first.stx_mask & STATX_BTIME) == 0) {
    report(__FILE__, __LINE__, "statx gives no time of birth", 0);
    return;
  }
  EXPECT(first.stx_btime.tv_sec >= begin && first.stx_btime.tv_sec <= time(nullptr) + 2);
  let_clock_tick();
  EXPECT(write_file("f", "more") && set_times("f", {5, 5}, {6, 6}) && rename("f", "g") == 0);
  const auto second = statx_of("g");
  EXPECT(second.stx_btime.tv_sec == first.stx_btime.tv_sec && second.stx_btime.tv_nsec == first.stx_btime.tv_nsec);
}
CASE(times_survive, "set times are not undone by data that is written back later") {
  const Fd fd("f", O_RDWR | O_CREAT);
  REQUIRE(write(fd, "dirty page", 10) == 10 && set_times("f", {100, 1}, {200, 2}));
  EXPECT(fsync(fd) == 0);
  EXPECT(stat_of("f").st_mtim.tv_sec == 200 && stat_of("f").st_mtim.tv_nsec == 2);
}
CASE(attributes, "extended attributes are set, listed, replaced and removed") {
  REQUIRE(write_file("f", "") && mkdir("d", 0755) == 0);
  for (const char* path : {"f", "d"}) {
    EXPECT(setxattr(path, "user.one", "1", 1, 0) == 0 && setxattr(path, "user.empty", "", 0, 0) == 0);
    EXPECT(attribute(path, "user.one") == "1" && attribute(path, "user.empty").empty());
    EXPECT((attribute_names(path) == std::set<std::string>{"user.one", "user.empty"}));
    EXPECT_ERRNO(setxattr(path, "user.one", "2", 1, XATTR_CREATE), EEXIST);
    EXPECT_ERRNO(setxattr(path, "user.none", "2", 1, XATTR_REPLACE), ENODATA);
    EXPECT(setxattr(path, "user.one", "longer value", 12, XATTR_REPLACE) == 0 &&
           attribute(path, "user.one") == "longer value");
    EXPECT(removexattr(path, "user.one") == 0);
    EXPECT_ERRNO(removexattr(path, "user.one"), ENODATA);
    char small[4];
    EXPECT_ERRNO(getxattr(path, "user.one", small, 4), ENODATA);
    REQUIRE(setxattr(path, "user.size", "123456", 6, 0) == 0);
    EXPECT_EQUAL(getxattr(path, "user.size", nullptr, 0), 6);
    EXPECT_ERRNO(getxattr(path, "user.size", small, 4), ERANGE);
    EXPECT_ERRNO(listxattr(path, small, 4), ERANGE);
    EXPECT(listxattr(path, nullptr, 0) == 21);
  }
}
CASE(attribute_limits, "attributes have names of up to 255 bytes, values of any bytes, and there may be many") {
  REQUIRE(write_file("f", ""));
  const std::string longest = "user." + std::string(250, 'n');
  EXPECT(setxattr("f", longest.c_str(), "v", 1, 0) == 0 && attribute("f", longest.c_str()) == "v");
  EXPECT(setxattr("f", (longest + "n").c_str(), "v", 1, 0) == -1 && (errno == ERANGE || errno == ENAMETOOLONG));
  EXPECT(removexattr("f", longest.c_str()) == 0);
  std::string bytes(2000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  EXPECT(setxattr("f", "user.bytes", bytes.data(), bytes.size(), 0) == 0 && attribute("f", "user.bytes") == bytes);
  EXPECT(removexattr("f", "user.bytes") == 0);
  for (int i = 0; i < 60; ++i) EXPECT(setxattr("f", ("user.many." + std::to_string(i)).c_str(), "value", 5, 0) == 0);
  EXPECT_EQUAL(attribute_names("f").size(), 60U);
  std::vector<char> huge(65537);
  EXPECT(setxattr("f", "user.huge", huge.data(), huge.size(), 0) == -1);
}
CASE(attribute_spaces, "each attribute name space has its own rule") {
  need_root();
  REQUIRE(write_file("f", "", 0666) && chmod("f", 0666) == 0 && symlink("f", "s") == 0);
  EXPECT_ERRNO(lsetxattr("s", "user.x", "1", 1, 0), EPERM);
  EXPECT(lsetxattr("s", "trusted.x", "1", 1, 0) == 0 && attribute("s", "trusted.x") == "1");
  EXPECT(setxattr("f", "trusted.secret", "s", 1, 0) == 0 && setxattr("f", "user.open", "o", 1, 0) == 0);
  EXPECT(setxattr("f", "security.weft-test", "l", 1, 0) == 0 && attribute("f", "security.weft-test") == "l");
  EXPECT_ERRNO(setxattr("f", "unknown.x", "1", 1, 0), EOPNOTSUPP);
  as_user(kUser, {}, [] {
    EXPECT(attribute("f", "user.open") == "o");
    EXPECT(setxattr("f", "user.mine", "m", 1, 0) == 0);
    EXPECT(setxattr("f", "trusted.secret", "x", 1, 0) == -1);
    EXPECT(attribute_names("f").count("trusted.secret") == 0);
  });
  EXPECT(chmod("f", 0600) == 0);
  as_user(kUser, {}, [] {
    char value[8];
    EXPECT_ERRNO(getxattr("f", "user.open", value, 8), EACCES);
    EXPECT_ERRNO(setxattr("f", "user.open", "x", 1, 0), EACCES);
  });
}
CASE(acl_access, "an ACL opens a file to a user its mode would keep out, and the mask closes it again") {
  need_root();
  REQUIRE(write_file("f", "for some", 0640) && chmod("f", 0640) == 0);
  as_user(kUser, {}, [] { EXPECT_ERRNO(open("f", O_RDONLY), EACCES); });
  REQUIRE(set_acl("f", kAccess,
                  acl({{kOwner, 6, kNobody},
                       {kUserTag, 6, kUser},
                       {kOwningGroup, 4, kNobody},
                       {kMask, 6, kNobody},
                       {kOther, 0, kNobody}})));
  EXPECT_EQUAL(stat_of("f").st_mode & 0777U, 0660U);
  as_user(kUser, {}, [] { EXPECT(Fd("f", O_RDWR) >= 0); });
  as_user(kOtherUser, {}, [] { EXPECT_ERRNO(open("f", O_RDONLY), EACCES); });
  EXPECT(chmod("f", 0640) == 0);
  as_user(kUser, {}, [] {
    EXPECT(Fd("f", O_RDONLY) >= 0);
    EXPECT_ERRNO(open("f", O_RDWR), EACCES);
  });
  EXPECT(attribute("f", kAccess).size() == 4 + 5 * 8);
  EXPECT(removexattr("f", kAccess) == 0);
  as_user(kUser, {}, [] { EXPECT_ERRNO(open("f", O_RDONLY), EACCES); });
  // One that says no more than a mode becomes the mode.
  EXPECT(set_acl("f", kAccess, acl({{kOwner, 7, kNobody}, {kOwningGroup, 5, kNobody}, {kOther, 4, kNobody}})));
  EXPECT_EQUAL(stat_of("f").st_mode & 0777U, 0754U);
  EXPECT(attribute("f", kAccess) == "missing");
}
CASE(acl_default, "what is made in a folder inherits its default ACL, not the umask") {
  need_root();
  umask(077);
  REQUIRE(mkdir("d", 0755) == 0);
  const std::string inherited = acl({{kOwner, 7, kNobody},
                                     {kUserTag, 7, kUser},
                                     {kOwningGroup, 5, kNobody},
                                     {kMask, 7, kNobody},
                                     {kOther, 5, kNobody}});
  REQUIRE(set_acl("d", kDefault, inherited));
  EXPECT(attribute("d", kDefault) == inherited);
  REQUIRE(mkdir("d/sub", 0777) == 0 && write_file("d/f", "x", 0666));
  EXPECT_EQUAL(stat_of("d/f").st_mode & 0777U, 0664U);
  EXPECT_EQUAL(stat_of("d/sub").st_mode & 0777U, 0775U);
  EXPECT(attribute("d/sub", kDefault) == inherited);
  EXPECT(attribute("d/f", kDefault) == "missing" && attribute("d/f", kAccess).size() == 4 + 5 * 8);
  EXPECT(chmod("d", 0755) == 0);
  as_user(kUser, {}, [] { EXPECT(Fd("d/f", O_RDWR) >= 0); });
  EXPECT(mkfifo("d/p", 0666) == 0 && (stat_of("d/p").st_mode & 0777U) == 0664U);
  EXPECT(removexattr("d", kDefault) == 0 && write_file("d/g", "x", 0666) && (stat_of("d/g").st_mode & 0777U) == 0600U);
  EXPECT_ERRNO(setxattr("d/g", kDefault, inherited.data(), inherited.size(), 0), EACCES);
}
CASE(immutable, "an immutable file cannot be changed in any way until the flag is gone") {
  need_root();
  REQUIRE(write_file("f", "fixed"));
  const int before = flags_of("f");
  REQUIRE(before >= 0 && set_flags("f", before | FS_IMMUTABLE_FL));
  EXPECT((flags_of("f") & FS_IMMUTABLE_FL) != 0);
  EXPECT_ERRNO(open("f", O_RDWR), EPERM);
  EXPECT_ERRNO(truncate("f", 0), EPERM);
  EXPECT_ERRNO(unlink("f"), EPERM);
  EXPECT_ERRNO(rename("f", "g"), EPERM);
  EXPECT_ERRNO(link("f", "g"), EPERM);
  EXPECT_ERRNO(chmod("f", 0600), EPERM);
  EXPECT_ERRNO(chown("f", 1, 1), EPERM);
  EXPECT_ERRNO(setxattr("f", "user.x", "1", 1, 0), EPERM);
  EXPECT(read_file("f") == "fixed");
  {
    const Fd late("late", O_RDWR | O_CREAT);
    int flags = flags_of("late") | FS_IMMUTABLE_FL;
    // By this descriptor: closing any other would write the pages out.
    REQUIRE(write(late, "before", 6) == 6 && ioctl(late, FS_IOC_SETFLAGS, &flags) == 0);
    EXPECT(fsync(late) == 0);  // what was written before the flag is kept
  }
  EXPECT(read_file("late") == "before" && set_flags("late", before) && unlink("late") == 0);
  REQUIRE(mkdir("d", 0755) == 0 && write_file("d/f", "") && set_flags("d", flags_of("d") | FS_IMMUTABLE_FL));
  EXPECT_ERRNO(open("d/new", O_RDWR | O_CREAT, 0644), EPERM);
  EXPECT_ERRNO(unlink("d/f"), EPERM);
  EXPECT(set_flags("f", before) && set_flags("d", flags_of("d") & ~FS_IMMUTABLE_FL) && unlink("f") == 0 &&
         unlink("d/f") == 0);
}
CASE(append_only, "an append-only file grows, and that is all") {
  need_root();
  REQUIRE(write_file("f", "log"));
  const int before = flags_of("f");
  REQUIRE(before >= 0 && set_flags("f", before | FS_APPEND_FL));
  EXPECT_ERRNO(open("f", O_WRONLY), EPERM);
  EXPECT_ERRNO(open("f", O_WRONLY | O_APPEND | O_TRUNC), EPERM);
  const Fd fd("f", O_WRONLY | O_APPEND);
  usleep(20'000);  // so that the kernel's clock has gone on, and there is a time to bring
  EXPECT(fd >= 0 && write(fd, " line", 5) == 5 && fsync(fd) == 0 && read_file("f") == "log line");
  EXPECT_ERRNO(unlink("f"), EPERM);
  EXPECT(truncate("f", 0) == -1);
  EXPECT(set_flags("f", before) && unlink("f") == 0);
}
CASE(flags, "other flags are kept, and only the owner may set them") {
  need_root();
  REQUIRE(write_file("f", ""));
  const int before = flags_of("f");
  REQUIRE(before >= 0);
  EXPECT(set_flags("f", before | FS_NODUMP_FL | FS_NOATIME_FL));
  EXPECT((flags_of("f") & (FS_NODUMP_FL | FS_NOATIME_FL)) == (FS_NODUMP_FL | FS_NOATIME_FL));
  as_user(kUser, {}, [] { EXPECT(!set_flags("f", FS_NODUMP_FL)); });
  REQUIRE(chown("f", kUser, kUser) == 0);
  as_user(kUser, {}, [&] {
    EXPECT(set_flags("f", before | FS_NODUMP_FL));
    EXPECT(!set_flags("f", before | FS_IMMUTABLE_FL));
  });
  EXPECT((statx_of("f").stx_attributes & STATX_ATTR_IMMUTABLE) == 0);
}

int main(int argc, char** argv) { return run_all(argc, argv); }
