// fs/fuse/handlers.h - one function for each operation of the protocol; session.cc has the table that calls them.
//
// A handler takes its arguments from the exchange, calls the file system and answers, or returns the error to answer
// with. All may park. Grouped by file: init, names, attributes, data, ioctl.
#pragma once

#include "fs/fuse/exchange.h"
#include "fs/fuse/session.h"
#include "kernel/result.h"

namespace weft::fs::fuse {

// init.cc
Status on_init(Session& session, Exchange& exchange);

// names.cc
Status on_lookup(Session& session, Exchange& exchange);
Status on_forget(Session& session, Exchange& exchange);
Status on_batch_forget(Session& session, Exchange& exchange);
Status on_mknod(Session& session, Exchange& exchange);
Status on_mkdir(Session& session, Exchange& exchange);
Status on_symlink(Session& session, Exchange& exchange);
Status on_tmpfile(Session& session, Exchange& exchange);
Status on_open(Session& session, Exchange& exchange);
Status on_create(Session& session, Exchange& exchange);
Status on_link(Session& session, Exchange& exchange);
Status on_unlink(Session& session, Exchange& exchange);
Status on_rmdir(Session& session, Exchange& exchange);
Status on_rename(Session& session, Exchange& exchange);
Status on_rename2(Session& session, Exchange& exchange);
Status on_readlink(Session& session, Exchange& exchange);
Status on_readdir(Session& session, Exchange& exchange);
Status on_readdirplus(Session& session, Exchange& exchange);

// attributes.cc
Status on_getattr(Session& session, Exchange& exchange);
Status on_statx(Session& session, Exchange& exchange);
Status on_setattr(Session& session, Exchange& exchange);
Status on_statfs(Session& session, Exchange& exchange);
Status on_getxattr(Session& session, Exchange& exchange);
Status on_listxattr(Session& session, Exchange& exchange);
Status on_setxattr(Session& session, Exchange& exchange);
Status on_removexattr(Session& session, Exchange& exchange);

// data.cc
Status on_read(Session& session, Exchange& exchange);
Status on_write(Session& session, Exchange& exchange);
Status on_fsync(Session& session, Exchange& exchange);
Status on_syncfs(Session& session, Exchange& exchange);
Status on_fallocate(Session& session, Exchange& exchange);
Status on_lseek(Session& session, Exchange& exchange);
Status on_copy_file_range(Session& session, Exchange& exchange);
Status on_copy_file_range_64(Session& session, Exchange& exchange);

// ioctl.cc
Status on_ioctl(Session& session, Exchange& exchange);

}  // namespace weft::fs::fuse
