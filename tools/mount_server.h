// tools/mount_server.h - a mount from its beginning to its end: the composition root of the file system.
//
//   options -> [mount_server: open_disk -> FileSystem -> mount(2) -> Session, DeviceTransport] -> until unmounted
//
// Order on the way up: lock, recovery, mount, first answers, confine(); only then does the caller hear that it worked. On the way down:
// the last request, FileSystem::unmount(), lock, answer to umount(2).
// SIGTERM, SIGINT and SIGHUP unmount: at once if nothing is open there, else lazily, with a bound on the wait.
// SIGUSR1 brings the metrics file up to date, or says the numbers in the log where there is none.
// Blocks the thread for the life of the mount. Tests: tests/e2e/mount.sh.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "kernel/result.h"
#include "tools/mount_options.h"

namespace weft::tools {

struct MountServerHooks {
  std::function<void(std::string_view)> log;                // for as long as it runs; from any thread
  std::function<void(const std::string& message)> mounted;  // it works; the message, if any, is for people
};

// Directory and image as absolute paths. Returns when the file system is unmounted; an error before `mounted` was called means
// there is no mount, after it that not everything may be durable.
Status serve_mount(const MountOptions& options, const MountServerHooks& hooks);

}  // namespace weft::tools
