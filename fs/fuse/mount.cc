#include "fs/fuse/mount.h"

#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "fs/fuse/protocol.h"

namespace weft::fs::fuse {

namespace {

// Of what may be dirty at all; the kernel's own 1 % for FUSE throttles every burst.
constexpr unsigned kDirtyPercent = 40;

Error no_device(int error) {
  const Error why = Error::from_errno(error, "cannot open /dev/fuse");
  std::string text = why.message();
  if (error == ENOENT || error == ENODEV || error == ENXIO) text += "; load it with: modprobe fuse";
  text += " (in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN)";
  return {why.code(), std::move(text)};
}

Result<int> open_device() {
  const int fd = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail(no_device(errno));
  return fd;
}

// mount(2) itself.
Result<Mount> mount_as(const MountRequest& request, const std::string& source, bool block) {
  Mount made;
  made.type = block ? "fuseblk.weft" : "fuse.weft";
  made.source = source;
  made.fuse_fd = TRY(open_device());
  std::string options = "fd=" + std::to_string(made.fuse_fd) + ",rootmode=40000,user_id=" + std::to_string(::getuid()) +
                        ",group_id=" + std::to_string(::getgid()) +
                        ",default_permissions,max_read=" + std::to_string(kMaxTransferBytes);
  if (request.allow_other) options += ",allow_other";
  if (block) options += ",blksize=4096";
  if (::mount(source.c_str(), request.directory.c_str(), made.type.c_str(), request.flags, options.c_str()) != 0) {
    const int error = errno;
    ::close(made.fuse_fd);
    std::string text = "mount " + source + " at " + request.directory;
    if (error == EPERM) text += " (in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN)";
    return fail(Error::from_errno(error, text));
  }
  return made;
}

// libfuse says what went wrong only to its log.
std::string& helper_words() {
  static std::string words;
  return words;
}

void keep_words(fuse_log_level, const char* format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof text, format, arguments);
  helper_words() += text;
}

std::string option_text(const MountRequest& request) {
  // A comma in the name would end the option; libfuse takes it escaped.
  std::string name;
  for (const char each : request.image) {
    if (each == ',' || each == '\\') name += '\\';
    name += each;
  }
  std::string options = "default_permissions,subtype=weft,fsname=" + name;
  if (request.allow_other) options += ",allow_other";
  if ((request.flags & MS_RDONLY) != 0) options += ",ro";
  if ((request.flags & MS_NOEXEC) != 0) options += ",noexec";
  if ((request.flags & MS_NOATIME) != 0) options += ",noatime";
  if ((request.flags & MS_SYNCHRONOUS) != 0) options += ",sync";
  if ((request.flags & MS_DIRSYNC) != 0) options += ",dirsync";
  return options;
}

// By libfuse's setuid helper.
Result<Mount> mount_by_helper(const MountRequest& request) {
  const std::string options = option_text(request);
  char program[] = "mount.weft";
  char dash_o[] = "-o";
  std::string option_copy = options;
  char* words[] = {program, dash_o, option_copy.data(), nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(3, words);
  fuse_set_log_func(keep_words);
  helper_words().clear();
  // No operations: libfuse makes the connection, the requests are ours.
  const fuse_lowlevel_ops none{};
  fuse_session* session = fuse_session_new(&arguments, &none, sizeof none, nullptr);
  if (session == nullptr) return fail(Errc::kInvalid, "libfuse refuses the options " + options + ": " + helper_words());
  const int mounted = fuse_session_mount(session, request.directory.c_str());
  const int fd = mounted == 0 ? ::fcntl(fuse_session_fd(session), F_DUPFD_CLOEXEC, 3) : -1;
  // The session stays for the life of the process: destroying it closes the connection's first descriptor only, but
  // libfuse keeps the right to unmount at that point, and a server mounts once.
  if (fd < 0) {
    std::string text = helper_words();
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return fail(Errc::kNotPermitted, text.empty() ? "fusermount3 could not mount " + request.directory : text);
  }
  ::close(fuse_session_fd(session));
  Mount made;
  made.fuse_fd = fd;
  made.type = "fuse.weft";
  made.source = request.image;
  return made;
}

// A field of mountinfo with its \040 and the like undone.
std::string unescaped(const std::string& field) {
  std::string text;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      text += static_cast<char>(std::stoi(field.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      text += field[i];
    }
  }
  return text;
}

struct MountLine {
  unsigned device_major = 0, device_minor = 0;
  std::string directory;
};

std::optional<MountLine> find_mount(auto&& wanted) {
  std::ifstream table("/proc/self/mountinfo");
  std::optional<MountLine> found;
  for (std::string text; std::getline(table, text);) {
    std::istringstream line(text);
    std::string id, parent, device, root, directory;
    line >> id >> parent >> device >> root >> directory;
    MountLine each;
    if (std::sscanf(device.c_str(), "%u:%u", &each.device_major, &each.device_minor) != 2) continue;
    each.directory = unescaped(directory);
    if (wanted(each)) found = each;  // the last is the topmost
  }
  return found;
}

int run_helper(const char* const* words) {
  pid_t child = 0;
  if (::posix_spawnp(&child, words[0], nullptr, nullptr, const_cast<char* const*>(words), environ) != 0) return -1;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

Result<Mount> mount_connection(const MountRequest& request) {
  if (::geteuid() != 0) return mount_by_helper(request);
  struct stat image{};
  if (::stat(request.image.c_str(), &image) != 0) return fail(Error::from_errno(errno, request.image));
  if (!request.want_block_device) return mount_as(request, request.image, false);
  if (S_ISBLK(image.st_mode)) return mount_as(request, request.image, true);
  auto loop = LoopDevice::attach(request.image, (request.flags & MS_RDONLY) != 0);
  std::string note;
  if (loop) {
    auto made = mount_as(request, loop->path(), true);
    if (made || made.error().os_errno() != ENODEV) return made;
    note = "this kernel has no fuseblk";
  } else {
    note = loop.error().message();
  }
  Mount made = TRY(mount_as(request, request.image, false));
  made.note = note + "; mounted as plain fuse: sync(2) does not reach the server, and umount(8) does not wait for it";
  return made;
}

Status remount(const std::string& directory, unsigned long flags) {
  if (::mount("none", directory.c_str(), nullptr, flags | MS_REMOUNT, nullptr) != 0) {
    return fail(Error::from_errno(errno, "remount " + directory));
  }
  return {};
}

Status unmount(const std::string& directory, bool lazy) {
  if (::geteuid() == 0) {
    if (::umount2(directory.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) return {};
    return fail(Error::from_errno(errno, "unmount " + directory));
  }
  const char* const plain[] = {"fusermount3", "-u", "-q", "--", directory.c_str(), nullptr};
  const char* const lazily[] = {"fusermount3", "-u", "-q", "-z", "--", directory.c_str(), nullptr};
  if (run_helper(lazy ? lazily : plain) == 0) return {};
  std::string text = "fusermount3 could not unmount " + directory;
  if (::access("/etc/mtab", F_OK) != 0) text += " without /etc/mtab (make it with: ln -s /proc/self/mounts /etc/mtab)";
  return fail(Errc::kBusy, std::move(text));
}

void tune_cache(const std::string& directory, unsigned read_ahead_kib, std::uint64_t dirty_bytes) {
  const auto mount = find_mount([&](const MountLine& line) { return line.directory == directory; });
  if (!mount) return;
  const std::string device = std::to_string(mount->device_major) + ":" + std::to_string(mount->device_minor);
  for (const char* suffix : {"-fuseblk", ""}) {
    const std::string folder = "/sys/class/bdi/" + device + suffix + "/";
    if (::access(folder.c_str(), F_OK) != 0) continue;
    auto set = [&](const char* name, std::uint64_t value) { std::ofstream(folder + name) << value << std::flush; };
    set("read_ahead_kb", read_ahead_kib);
    const bool by_bytes = ::access((folder + "max_bytes").c_str(), F_OK) == 0;
    if (by_bytes) {
      set("max_bytes", dirty_bytes);
    } else {
      set("max_ratio", kDirtyPercent);  // before Linux 6.2
    }
    set("strict_limit", by_bytes ? 1 : 0);
    return;
  }
}

namespace {

// FUSE's control file system, mounted nowhere: where nobody has put it in its usual place (a container), and we may mount. Or -1.
int detached_control() {
  const int context = ::fsopen("fusectl", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  const bool made = ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  const int control = made ? ::fsmount(context, FSMOUNT_CLOEXEC, 0) : -1;
  ::close(context);
  return control;
}

}  // namespace

int open_abort(const std::string& directory) {
  const auto mount = find_mount([&](const MountLine& line) { return line.directory == directory; });
  if (!mount) return -1;
  // Named by the kernel's own form of a device number.
  const std::uint64_t connection = (std::uint64_t{mount->device_major} << 20) | mount->device_minor;
  const std::string name = std::to_string(connection) + "/abort";
  const int usual = ::open(("/sys/fs/fuse/connections/" + name).c_str(), O_WRONLY | O_CLOEXEC);
  if (usual >= 0 || errno != ENOENT) return usual;
  const int control = detached_control();
  if (control < 0) return -1;
  const int found = ::openat(control, name.c_str(), O_WRONLY | O_CLOEXEC);
  ::close(control);
  return found;
}

std::optional<std::string> mount_point_of_device(unsigned long device) {
  const auto mount = find_mount(
      [&](const MountLine& line) { return line.device_major == major(device) && line.device_minor == minor(device); });
  if (!mount) return std::nullopt;
  return mount->directory;
}

}  // namespace weft::fs::fuse
