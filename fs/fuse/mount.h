// fs/fuse/mount.h - gets a FUSE connection onto a directory, and off it again.
//
//   root            mount(2), type fuseblk over the block device, or over a loop device of an image: sync and umount then
//                   wait for the server. Plain fuse where there is no loop device to be had.
//   ordinary user   libfuse3 and its setuid helper fusermount3, type fuse, nosuid and nodev. umount returns before the server has
//                   finished; the server itself runs on until all is durable.
//
// These calls block the thread. None of them looks at the mounted directory, which would wait for our own server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fs/fuse/loop_device.h"
#include "kernel/result.h"

namespace weft::fs::fuse {

struct MountRequest {
  std::string image;              // absolute path of an image or block device
  std::string directory;          // absolute path
  unsigned long flags = 0;        // MS_* of mount(2)
  bool allow_other = true;        // processes of other users may enter
  bool want_block_device = true;  // false: plain fuse in any case
};

struct Mount {
  int fuse_fd = -1;    // the connection; the caller's
  std::string type;    // "fuseblk.weft", "fuse.weft"
  std::string source;  // what /proc/mounts shows
  std::string note;    // why it is not fuseblk although it might have been; empty if it is
};

// Errors: kAccessDenied and kNotPermitted, kNotFound, kNotDirectory, kBusy, kUnsupported (no FUSE here; the message says what
// to do), with messages for people.
Result<Mount> mount_connection(const MountRequest& request);

// Changes MS_* flags of a mount.
Status remount(const std::string& directory, unsigned long flags);

// kBusy if files are open, unless `lazy`: then the mount leaves the tree of names at once, and the kernel ends the connection
// after the last of them is closed.
Status unmount(const std::string& directory, bool lazy);

// Enough for the disk to be busy, and little enough for write-back to begin while the writer still writes: with what the kernel
// lets a disk have (gigabytes) it begins at fsync.
inline constexpr std::uint64_t kDirtyBytes = 128 << 20;

// The kernel holds FUSE to 1% of dirty memory and 128 KiB of read-ahead, as fits untrusted servers over slow links.
// Root may say otherwise. `dirty_bytes`: of pages that wait to be written back; write-back begins at half of it, and writers are held
// up beyond it. Best effort: does nothing where /sys does not let it.
void tune_cache(const std::string& directory, unsigned read_ahead_kib, std::uint64_t dirty_bytes);

// A descriptor that ends the connection of the mount at `directory` when something is written to it, without the server's help:
// everybody who waits there gets ENOTCONN. -1 where fusectl is not mounted, and cannot be.
int open_abort(const std::string& directory);

// The line of /proc/self/mountinfo whose file system is on block device `device` (as st_rdev); its mount point.
std::optional<std::string> mount_point_of_device(unsigned long device);

}  // namespace weft::fs::fuse
