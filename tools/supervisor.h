// tools/supervisor.h - keeps a mount alive while servers come and go.
//
//   mount.weft -> [supervisor: /dev/fuse, mount(2), umount(2), signals] -> fork -> serve_mount() -> dies -> fork -> ...
//
// The supervisor holds what the mount hangs on: every descriptor of the connection (the kernel gives up on what it had handed out by
// one when its last copy is closed) and the lock of the image. It never looks at the image or at a request, so there is little
// in it that could fail. A server that dies leaves its connection, on which the kernel keeps what has not been answered;
// the next one replays the log, finds in Handover what it cannot find on disk, and has the kernel send the rest again. Programs
// see a pause. What a server must do so that its death can be borne: fs/DESIGN.md "When the server dies".
//
// Ends when a server has unmounted in order; when the connection is gone; when the kernel cannot send anything again; or when
// successors die, too (restart_policy.h). In the last two cases whoever holds the mount gets ENOTCONN instead of a wait without
// end. A server that stands still (watchdog.h) is killed and replaced; if not even that ends it, the connection is aborted.
//
// SIGTERM, SIGINT and SIGHUP unmount, as mount_server.h says; SIGUSR1 is passed on.
// One thread, which blocks. Fork needs that: call it before any thread or ring exists.
// Tests: tests/e2e/supervise.sh
#pragma once

#include "kernel/result.h"
#include "tools/mount_options.h"
#include "tools/mount_server.h"

namespace weft::tools {

// As serve_mount(), which it calls in processes of their own.
Status supervise_mount(const MountOptions& options, const MountServerHooks& hooks);

}  // namespace weft::tools
