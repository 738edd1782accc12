// fs/fuse/stale_blocks.h - files that take more or less space than the kernel believes.
//
//   WRITE from the page cache -> note() ; a fiber, now and then -> tell() -> FUSE_NOTIFY_INVAL_INODE -> kernel
//
// With write-back caching the kernel learns of the blocks of an open file only when it asks for attributes, and what it heard
// is good for a day: du(1) would show a growing log as it was yesterday. So whoever was written is gathered here, and the kernel
// told, each file once however often it was written. On closing it asks by itself.
//
// Locks       lock_, for a moment
// Parks       tell(): the kernel may wait for requests of the same file, so it runs beside the workers
// Thread- and fiber-safe. Tests: tests/fs/fuse/stale_blocks_test.cc, posix_space.cc among the end-to-end tests.
#pragma once

#include <cstddef>
#include <mutex>
#include <unordered_set>

#include "fs/fuse/exchange.h"
#include "fs/types.h"

namespace weft::fs::fuse {

class StaleBlocks {
 public:
  void note(InodeNo inode);
  void tell(ReplySink& kernel);

 private:
  // More files than anybody writes between two calls of tell(): beyond them the kernel goes on believing what it believes of an
  // open file, which costs less than memory without bound.
  static constexpr std::size_t kMost = 1 << 16;

  std::mutex lock_;
  std::unordered_set<InodeNo> noted_;
};

}  // namespace weft::fs::fuse
