// fs/fuse/convert.h - our attributes as the kernel's structures.
//
// Pure. Tests: tests/fs/fuse/session_test.cc.
#pragma once

#include "fs/file_system.h"
#include "fs/fuse/protocol.h"
#include "fs/fuse/session.h"

namespace weft::fs::fuse {

fuse_attr to_fuse_attr(const Attributes& attributes) noexcept;
fuse_entry_out to_fuse_entry(const Attributes& attributes, const SessionOptions& options) noexcept;
fuse_attr_out to_fuse_attr_out(const Attributes& attributes, const SessionOptions& options) noexcept;

}  // namespace weft::fs::fuse
