// fs/fuse/protocol.h - the FUSE protocol: <linux/fuse.h>, and what Debian 12's copy of it (7.38) does not have yet, up to 7.45.
//
// Names and layouts are the kernel's; ours begin with k and stand in namespace weft::fs::fuse.
#pragma once

#include <linux/fuse.h>

#include <cstdint>

namespace weft::fs::fuse {

inline constexpr std::uint32_t kMinorVersion = 45;        // what we speak at most; the kernel's own if that is less
inline constexpr std::uint32_t kOldestMinorVersion = 31;  // Linux 5.4; before it some of our structures were shorter

enum Opcode : std::uint32_t { kStatx = 52, kCopyFileRange64 = 53 };

// INIT flags, as one 64-bit word.
inline constexpr std::uint64_t kCreateSuppGroup = 1ULL << 34;
inline constexpr std::uint64_t kHasExpireOnly = 1ULL << 35;
inline constexpr std::uint64_t kDirectIoAllowMmap = 1ULL << 36;
inline constexpr std::uint64_t kHasResend = 1ULL << 39;  // Linux 6.9
inline constexpr std::uint64_t kAllowIdmap = 1ULL << 40;
inline constexpr std::uint64_t kOverIoUring = 1ULL << 41;

// A notification: whatever has been read and not answered goes back into the queue, each with kUniqueResend in its id, which the
// answer repeats.
inline constexpr std::int32_t kNotifyResend = 7;
inline constexpr std::uint64_t kUniqueResend = 1ULL << 63;

// An extension after a request's arguments: groups of the caller that matter to it (a creation's: that of the parent).
inline constexpr std::uint32_t kExtensionGroups = 32;

struct StatxIn {
  std::uint32_t getattr_flags;
  std::uint32_t reserved;
  std::uint64_t fh;
  std::uint32_t sx_flags;
  std::uint32_t sx_mask;
};
static_assert(sizeof(StatxIn) == 24);

struct StatxTime {
  std::int64_t tv_sec;
  std::uint32_t tv_nsec;
  std::int32_t reserved;
};

struct StatxOut {
  std::uint64_t attr_valid;
  std::uint32_t attr_valid_nsec;
  std::uint32_t flags;
  std::uint64_t spare[2];
  std::uint32_t mask;
  std::uint32_t blksize;
  std::uint64_t attributes;
  std::uint32_t nlink;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint16_t mode;
  std::uint16_t spare0;
  std::uint64_t ino;
  std::uint64_t size;
  std::uint64_t blocks;
  std::uint64_t attributes_mask;
  StatxTime atime, btime, ctime, mtime;
  std::uint32_t rdev_major;
  std::uint32_t rdev_minor;
  std::uint32_t dev_major;
  std::uint32_t dev_minor;
  std::uint64_t spare2[14];
};
static_assert(sizeof(StatxOut) == 288);

// Notification: lets go of inodes that nobody uses, of which as many numbers follow. Since 7.45.
inline constexpr std::int32_t kNotifyPrune = 9;
inline constexpr std::uint32_t kPruneMinorVersion = 45;
struct NotifyPruneOut {
  std::uint32_t count;
  std::uint32_t reserved;
  std::uint64_t reserved2;
};
static_assert(sizeof(NotifyPruneOut) == 16);

struct CopyFileRangeOut {
  std::uint64_t bytes_copied;
};

// SB_I_NOIDMAP aside: with kAllowIdmap only creations carry the caller's ids, everything else has this.
inline constexpr std::uint32_t kNoId = ~0U;

inline constexpr std::uint32_t kMaxPages = 256;
inline constexpr std::uint32_t kMaxTransferBytes = kMaxPages * 4096;
// The arguments of a WRITE, which come before its data.
inline constexpr std::uint32_t kWritePrefixBytes = sizeof(fuse_in_header) + sizeof(fuse_write_in);
static_assert(kWritePrefixBytes == 80);

}  // namespace weft::fs::fuse
