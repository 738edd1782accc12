// tools/mount_weft.cc - mount.weft: mounts a Weft file system, or changes the options of a mounted one.
//
// Called by people, by mount(8) as its helper for -t weft, and for fstab. See tools/man/mount.weft.8 for what it promises.
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "fs/fuse/mount.h"
#include "kernel/log.h"
#include "tools/background.h"
#include "tools/mount_options.h"
#include "tools/mount_server.h"
#include "tools/server_heap.h"
#include "tools/supervisor.h"
#include "tools/system_call_filter.h"

namespace {

using weft::Errc;
using weft::Error;
using weft::Result;
using weft::Status;
using weft::tools::MountOptions;

// Exit codes of mount(8).
constexpr int kOk = 0;
constexpr int kUsage = 1;
constexpr int kSystemError = 2;
constexpr int kMountFailure = 32;

std::string sentence(std::string_view message) { return "mount.weft: " + std::string(message); }

int exit_status_of(const Error& error) {
  switch (error.code()) {
    case Errc::kNotPermitted:
    case Errc::kAccessDenied: return kUsage;
    case Errc::kNoMemory: return kSystemError;
    default: return kMountFailure;
  }
}

bool called_by_mount() {
  std::string name;
  std::ifstream("/proc/" + std::to_string(::getppid()) + "/comm") >> name;
  return name == "mount";
}

Result<std::string> absolute(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return weft::fail(Error::from_errno(errno, path));
  return std::string(resolved);
}

Status check_directory(const std::string& path) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0) {
    if (errno == ENOTCONN) {
      return weft::fail(Errc::kBusy, path + " is a mount whose server is gone; take it away first: umount -l " + path);
    }
    return weft::fail(Error::from_errno(errno, path));
  }
  if (!S_ISDIR(facts.st_mode)) return weft::fail(Errc::kNotDirectory, path + " is not a directory");
  return {};
}

// What a server that the machine's memory depends on asks of the kernel: not to be chosen when memory runs out, and no
// write-back of its own files (which may need it) while it allocates. Without privileges both fail, which is fine.
void become_a_server() {
#ifndef PR_SET_IO_FLUSHER
  constexpr int PR_SET_IO_FLUSHER = 57;
#endif
  ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  if (::geteuid() == 0) std::ofstream("/proc/self/oom_score_adj") << "-1000";
  std::signal(SIGPIPE, SIG_IGN);
}

int fail_with(const Error& error) {
  std::fprintf(stderr, "%s\n", sentence(error.message()).c_str());
  return exit_status_of(error);
}

int remount(const MountOptions& options) {
  const Status done = weft::fs::fuse::remount(options.directory, options.flags);
  if (done) return kOk;
  return fail_with(done.error());
}

int mount(MountOptions options) {
  weft::tools::Background background;
  if (!options.foreground) {
    auto forked = weft::tools::Background::fork_off("mount.weft");
    if (!forked) return fail_with(forked.error());
    background = std::move(*forked);
  }
  become_a_server();
  weft::tools::bound_heap();
  bool is_mounted = false;
  const bool to_syslog = !options.foreground;
  std::string notes;
  for (const std::string& note : options.notes) notes += sentence(note) + "\n";

  weft::tools::MountServerHooks hooks;
  hooks.log = [&](std::string_view text) {
    if (is_mounted) {
      log_error("%s: %.*s", options.directory.c_str(), static_cast<int>(text.size()), text.data());
    } else {
      std::fprintf(stderr, "%s\n", sentence(text).c_str());
    }
  };
  hooks.mounted = [&](const std::string& message) {
    is_mounted = true;
    std::string all = notes + message;
    if (!all.empty() && all.back() == '\n') all.pop_back();
    background.report(kOk, all);
    if (to_syslog) weft::log_to_syslog("mount.weft");  // nobody sees standard error in the background
  };
  hooks.forked = [&] { background.leave_report_to_parent(); };
  hooks.detach = [&] {
    is_mounted = true;
    if (!to_syslog) return;
    background.leave_terminal();
    weft::log_to_syslog("mount.weft");
  };
  const Status served =
      options.supervise ? weft::tools::supervise_mount(options, hooks) : weft::tools::serve_mount(options, hooks);
  if (served) return kOk;
  if (is_mounted) {
    // What a supervised server has answered is in the log, whatever becomes of it.
    hooks.log((options.supervise ? "" : "not everything may be on disk: ") + served.error().message());
    return kMountFailure;
  }
  const int status = exit_status_of(served.error());
  background.report(status, sentence(served.error().message()));
  return status;
}

}  // namespace

int main(int count, char** words) {
  auto options = weft::tools::parse_mount_options({words + 1, words + count}, called_by_mount());
  if (!options) {
    std::fprintf(stderr, "%s\nTry: mount.weft --help\n", sentence(options.error().message()).c_str());
    return kUsage;
  }
  if (options->help) {
    std::fputs(std::string(weft::tools::mount_usage()).c_str(), stdout);
    return kOk;
  }
  if (options->version) {
    const std::string filter = weft::tools::system_call_filter_library();
    std::printf("mount.weft 0.1.0 (%s)\n", filter.empty() ? "without libseccomp" : filter.c_str());
    return kOk;
  }
  if (::geteuid() != 0) options->allow_other = options->allow_other_asked;
  auto directory = absolute(options->directory);
  if (!directory) return fail_with(directory.error());
  options->directory = *directory;
  if (options->remount) return remount(*options);
  auto image = absolute(options->image);
  if (!image) return fail_with(image.error());
  options->image = *image;
  if (const Status usable = check_directory(options->directory); !usable) return fail_with(usable.error());
  if (options->fake) return kOk;
  for (std::string* file : {&options->trace_file, &options->metrics_file}) {  // a server in the background stands in /
    char here[PATH_MAX];
    if (!file->empty() && (*file)[0] != '/' && ::getcwd(here, sizeof here) != nullptr)
      *file = std::string(here) + "/" + *file;
  }
  return mount(std::move(*options));
}
