// sched/file.h - opens, looks at, renames, removes and closes files without blocking the worker.
//
// By the ring: what the kernel has in its caches it answers at once, for the rest a kernel thread waits. Without one, or with one
// for open files only, by an offload thread. On a plain thread and in a Simulation where the call stands. Reads and writes are
// io.h's. These calls park and have no deadline: the kernel does not give up a lookup. Errors: as the system calls', with the path
// in the message; interrupted ones are repeated. Any fiber or thread. Tests: tests/sched/file_test.cc.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "kernel/result.h"
#include "sched/descriptor.h"

namespace weft::sched::io {

// `flags` of O_RDONLY ...; O_CLOEXEC is added. `mode` for O_CREAT and O_TMPFILE.
Result<Descriptor> open(const std::string& path, int flags, mode_t mode = 0);
// `path` from the directory behind `directory_fd`, or AT_FDCWD.
Result<Descriptor> open_at(int directory_fd, const std::string& path, int flags, mode_t mode = 0);
// `mask` of STATX_BASIC_STATS ..., `flags` of AT_SYMLINK_NOFOLLOW ...
Result<struct ::statx> stat(const std::string& path, std::uint32_t mask = STATX_BASIC_STATS, int flags = 0);
Result<struct ::statx> stat_at(int directory_fd, const std::string& path, std::uint32_t mask = STATX_BASIC_STATS,
                               int flags = 0);
Result<struct ::statx> stat(int fd, std::uint32_t mask = STATX_BASIC_STATS);
// Renames or removes names. A path leads from the working directory; `to` is replaced if there is one. What a crash leaves of a name
// is certain after an fsync() of its directory, which is opened by O_DIRECTORY.
Status rename(const std::string& from, const std::string& to);
Status unlink(const std::string& path);
// Closes it and says what went wrong: a file system may report a failed write that late. It is closed in any case. ~Descriptor()
// does the same on the calling thread and without a word, which is right for pipes, sockets and files that were read.
Status close(Descriptor descriptor);

}  // namespace weft::sched::io
