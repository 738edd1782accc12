// kernel/planted_bug.h - bugs planted in the code on purpose, to see whether tests/crash/ finds them; none in what is shipped.
//
//   make crash-planted (flavour `planted`: -DWEFT_PLANTED_BUGS) -> plant(Bug::kX) -> if (planted(Bug::kX)) in the source
//
// Everywhere else planted() is a constant false, and the compiler leaves nothing of the branch. One bug at a time.
#pragma once

#include <string_view>

namespace weft {

#define WEFT_PLANTED_BUGS_LIST(BUG)                                                                    \
  BUG(kAcknowledgedUnwritten, "acknowledged-unwritten", "fsync answers before its record is written")  \
  BUG(kDataAfterRecord, "data-after-record", "a flush does not wait for data that is in flight")       \
  BUG(kFreedReusedAtOnce, "freed-reused-at-once", "freed blocks are handed out before the checkpoint") \
  BUG(kFreedReusedEarly, "freed-reused-early", "freed blocks are handed out when a checkpoint begins") \
  BUG(kDataNotVerified, "data-not-verified", "replay does not look whether data is there")             \
  BUG(kRecordNotVerified, "record-not-verified", "replay does not look at a record's crc")             \
  BUG(kEpochNotChecked, "epoch-not-checked", "replay takes records of an earlier mount")               \
  BUG(kSequenceGap, "sequence-gap", "replay goes on behind a record that is not there")                \
  BUG(kReplayEndsEarly, "replay-ends-early", "replay leaves out the last record")                      \
  BUG(kOrphanForgotten, "orphan-forgotten", "mounting does not look for unlinked inodes")              \
  BUG(kUnlinkWithoutOrphan, "unlink-without-orphan", "unlink does not note that the inode is to go")   \
  BUG(kTruncateWithoutOrphan, "truncate-without-orphan", "a truncate of many steps leaves no note")    \
  BUG(kRenameInTwo, "rename-in-two", "rename is two transactions: new name, then old name")            \
  BUG(kWriteInBlocks, "write-in-blocks", "a write is a transaction for each block")                    \
  BUG(kSuperblockFirst, "superblock-first", "a checkpoint writes its superblock before its nodes")     \
  BUG(kSuperblockOneSlot, "superblock-one-slot", "the superblock always goes to the same slot")        \
  BUG(kBitmapInPlace, "bitmap-in-place", "a bitmap is written over the current one")                   \
  BUG(kTornSlotKept, "torn-slot-kept", "what is left of a torn superblock stays when recovery begins") \
  BUG(kTailMovedEarly, "tail-moved-early", "the log's tail moves before the checkpoint is durable")    \
  BUG(kMarkTakenLate, "mark-taken-late", "a checkpoint claims transactions that came while it ran")    \
  BUG(kNoCowNotFlushed, "nocow-not-flushed", "data without checksums is mapped before it is flushed")  \
  BUG(kClaimsFlushed, "claims-flushed", "a record says of itself that it has been flushed")            \
  BUG(kFdatasyncForgetsSize, "fdatasync-forgets-size", "fdatasync does not wait for a new size")       \
  BUG(kLinkCountLater, "link-count-later", "link raises the count in a transaction of its own")

enum class Bug : int {
  kNone,
#define WEFT_PLANTED_BUG_NAME(name, text, what) name,
  WEFT_PLANTED_BUGS_LIST(WEFT_PLANTED_BUG_NAME)
#undef WEFT_PLANTED_BUG_NAME
};

#ifdef WEFT_PLANTED_BUGS
inline Bug planted_now = Bug::kNone;
[[nodiscard]] inline bool planted(Bug bug) noexcept { return planted_now == bug; }
#else
[[nodiscard]] constexpr bool planted(Bug) noexcept { return false; }
#endif

}  // namespace weft
