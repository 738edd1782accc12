// tools/mount_server.h - a mount from its beginning to its end: the composition root of the file system.
//
//   options -> [mount_server: open_disk -> FileSystem -> mount(2) -> Session, DeviceTransport] -> until unmounted
//
// Order on the way up: lock, recovery, mount, first answers, confine(); only then does the caller hear that it worked. On the way down:
// the last request, FileSystem::unmount(), lock, answer to umount(2).
// SIGTERM, SIGINT and SIGHUP unmount: at once if nothing is open there, else lazily, with a bound on the wait.
// SIGUSR1 brings the metrics file up to date, or says the numbers in the log where there is none.
// Under a supervisor (tools/supervisor.h) mounting and unmounting are its business, and SIGUSR2 asks to make everything
// durable and to end, whoever still holds the mount.
// Blocks the thread for the life of the mount. Tests: tests/e2e/mount.sh, tests/e2e/supervise.sh.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/handover.h"
#include "fs/fuse/mount.h"
#include "kernel/result.h"
#include "tools/mount_options.h"

namespace weft::tools {

// A mount's way to the kernel.
struct Connection {
  std::vector<int> descriptors;  // one for each worker, or fewer
  std::string note;              // as fs::fuse::Mount
  std::string type;
  std::string source;
};

// What a server has from its supervisor.
struct Supervised {
  fs::fuse::Handover* handover = nullptr;
  int image_lock = -1;  // of the server before this; -1: there was none
  // The mount of `request`, which is made if there is none yet. `image_lock`: to be kept for the next server.
  std::function<Result<Connection>(const fs::fuse::MountRequest& request, int image_lock)> connect;
  // Says why there is no server and ends the process, which could not wait for the connection to end. Does not return.
  std::function<void(const Error&)> refuse;
};

struct MountServerHooks {
  std::function<void(std::string_view)> log;                // for as long as it runs; from any thread
  std::function<void(const std::string& message)> mounted;  // it works; the message, if any, is for people
  // A supervisor's server calls these instead, in its own process: at its very beginning, and when it works.
  std::function<void()> forked;
  std::function<void()> detach;
  const Supervised* supervised = nullptr;
};

// Exit status of a server that has ended itself because a request hung.
inline constexpr int kHungStatus = 33;

// Directory and image as absolute paths. Returns when the file system is unmounted; an error before `mounted` was called means
// there is no mount, after it that not everything may be durable.
Status serve_mount(const MountOptions& options, const MountServerHooks& hooks);

}  // namespace weft::tools
