// fs/fuse/resent.h - requests that come a second time because the server died, executed once all the same.
//
//   handlers -> [resent] -> fs::FileSystem, Notes
//
// Of a request that the kernel sends again nobody knows whether it was executed. Most do no harm twice: reads, WRITE, SETATTR,
// FALLOCATE, COPY_FILE_RANGE, SETXATTR, flags; and a second TMPFILE leaves an orphan. For the others the outcome tells, since the
// kernel holds the directories of a change locked from before it looks at the names until it has the answer, and nobody else
// changes them:
//
//   MKDIR MKNOD SYMLINK CREATE LINK   it had seen the name free: a name that is taken now, this request has made
//   UNLINK RMDIR RENAME               it had seen the name: one that is gone, this request has taken
//   WRITE to an append-only file      such a file does not shrink, and what lies before its end is this request's
//
// Three cannot be told by names: an exchange is its own opposite, a whiteout may have moved a whiteout, and an extended attribute
// that is there (or is not) may have been so before. They note what they find before they are executed (notes.h).
//
// None of this is done to a request that comes the first time: then a taken name is an error like any other.
// Thread- and fiber-safe. Parks where the file system does. Tests: tests/fs/fuse/resent_test.cc, tests/e2e/supervise.sh
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "fs/file_system.h"
#include "fs/fuse/exchange.h"
#include "fs/fuse/session.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs::fuse {

// What a creation came to; of one that was executed before, the entry it made. `linked`: what LINK gave the name to.
Result<Attributes> made_once(Session& session, const Exchange& exchange, InodeNo parent, std::string_view name,
                             Result<Attributes> made, std::optional<InodeNo> linked = std::nullopt);

// What a removal came to; success for one that was executed before.
Status removed_once(const Exchange& exchange, Status removed);

// How many bytes of a WRITE that was refused its file has all the same, because it was executed before; else the refusal.
Result<std::size_t> appended_once(Session& session, const Exchange& exchange, std::uint64_t offset, std::size_t bytes,
                                  Error refusal);

// These answer, too, since what they note has to stand until then.
Status rename_once(Session& session, Exchange& exchange, InodeNo to_parent, std::string_view from, std::string_view to,
                   std::uint32_t flags);
// `change` fails with `done_already` where it finds the attribute as it would leave it.
Status change_xattr_once(Session& session, Exchange& exchange, std::string_view name, Errc done_already,
                         FunctionRef<Status()> change);

}  // namespace weft::fs::fuse
