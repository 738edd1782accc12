// fs/format.h - every byte that a volume has on disk. Prose and a worked example: fs/FORMAT.md.
//
// All integers little-endian, all structs without padding, reserved bytes zero. Nothing here may be believed before
// fs/format_check has looked at it.
//
//   block 0, 1                 superblock slots 0, 1
//   group table                2 slots x table_blocks   one DiskGroup per allocation group (from table_start)
//   bitmaps                    2 slots x group_count    one block per group and slot       (from bitmap_start)
//   journal                    log_blocks                                                  (from log_start)
//   data and tree nodes        the rest
//   block_count - 2, - 1       superblock slots 2, 3
//
// Checkpoint c writes superblock slot c % 4 and, when that is durable, a copy to slot (c + 2) % 4. Mounting takes the valid
// slot with the highest checkpoint.
//   - The bitmap of group g lies at bitmap_start + 2 * g + DiskGroup::slot; its crc is in DiskGroup.
//   - Block t of the group table lies at table_start + 2 * t + (bit t of DiskSuperblock::table_slots).
// A checkpoint writes each changed bitmap and table block to the slot that is not current, so that the superblock's
// write alone switches to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fs/types.h"
#include "kernel/bytes.h"

namespace weft::fs {

inline constexpr std::uint64_t kSuperblockMagic = 0x0153'4654'4645'57ff;  // bytes ff 57 45 46 54 46 53 01
inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::uint32_t kSuperblockSlots = 4;
inline constexpr std::uint32_t kBlocksPerGroup = kBlockBytes * 8;  // 128 MiB: one bitmap block
inline constexpr std::uint32_t kTableSlotBytes = 2048;
inline constexpr std::uint32_t kGroupsPerTableBlock = (kBlockBytes - 64) / 16;
inline constexpr std::uint64_t kMaxGroups = std::uint64_t{kTableSlotBytes} * 8 * kGroupsPerTableBlock;
inline constexpr std::uint64_t kMinVolumeBytes = std::uint64_t{4} << 20;

struct DiskUuid {
  std::uint8_t bytes[16];
  bool operator==(const DiskUuid&) const noexcept = default;
};

// Where a node lies and which checkpoint it was born for. Both must match what the node says of itself: a write that
// was lost or went astray shows.
struct DiskNodeRef {
  le64 block;
  le64 birth;
};

struct DiskTime {
  le64 seconds;      // two's complement, since 1970 UTC
  le32 nanoseconds;  // below 1,000,000,000
};

// -------------------------------------------------------------------------------------------------- superblock

struct DiskSuperblock {
  le64 magic;                   //    0
  le32 crc;                     //    8  crc32c of the block with this field zero
  le32 version;                 //   12
  DiskUuid uuid;                //   16
  std::uint8_t label[64];       //   32  UTF-8, zero-filled
  le64 features_compat;         //   96  unknown bits: ignore
  le64 features_ro_compat;      //  104  unknown bits: mount read-only
  le64 features_incompat;       //  112  unknown bits: refuse
  le64 block_count;             //  120  of the volume
  le64 checkpoint;              //  128
  DiskNodeRef root;             //  136
  le32 root_level;              //  152  0: the root is a leaf
  le32 group_count;             //  156
  le64 table_start;             //  160
  le32 table_blocks;            //  168  per slot
  le32 log_blocks;              //  172
  le64 bitmap_start;            //  176
  le64 log_start;               //  184
  le64 log_tail_bytes;          //  192  offset in the log of the first record that is not wholly in this checkpoint
  le64 log_tail_sequence;       //  200  that record's sequence
  le64 log_epoch;               //  208  records of another epoch are leftovers of an earlier life of the log
  le64 next_lsn;                //  216  transactions below it are in this checkpoint, others not
  le64 next_inode;              //  224
  le64 inode_count;             //  232  inodes that exist
  le64 free_blocks;             //  240
  std::uint8_t hash_seed[16];   //  248  keys the hash of names
  DiskTime created;             //  264
  DiskTime mounted;             //  276  last mount for writing
  DiskTime checked;             //  288  last clean fsck
  le32 mount_count;             //  300  since that fsck
  le32 state;                   //  304  SuperblockState bits
  le32 error_count;             //  308  errors met since the last clean fsck
  std::uint8_t reserved[1736];  //  312
  std::uint8_t table_slots[kTableSlotBytes];  // 2048  bit t: current slot of block t of the group table
};
static_assert(sizeof(DiskSuperblock) == kBlockBytes && offsetof(DiskSuperblock, table_slots) == 2048);
static_assert(offsetof(DiskSuperblock, hash_seed) == 248 && offsetof(DiskSuperblock, reserved) == 312);

enum SuperblockState : std::uint32_t {
  kStateMounted = 1,  // mounted for writing, or was when the machine stopped: replay the log
  kStateErrors = 2,   // damage was met: fsck wanted
};

// -------------------------------------------------------------------------------------------------- allocation

struct DiskGroup {
  le32 free_blocks;
  le32 bitmap_crc;     // crc32c of the current bitmap block
  std::uint8_t slot;   // 0 or 1: which of the two bitmap blocks is current
  std::uint8_t flags;  // GroupFlag bits
  std::uint8_t reserved[6];
};
static_assert(sizeof(DiskGroup) == 16);

enum GroupFlag : std::uint8_t {
  // No bitmap was ever written: used are only the fixed areas (superblocks, tables, bitmaps, log) and bits past the end.
  kGroupUninitialised = 1,
};

inline constexpr std::uint32_t kGroupTableMagic = 0x42475457;  // "WTGB"

struct DiskGroupTable {
  le32 magic;       //  0
  le32 crc;         //  4  crc32c of the block with this field zero
  DiskUuid uuid;    //  8
  le64 checkpoint;  // 24  that wrote it
  le64 index;       // 32  of this block in the table
  std::uint8_t reserved[24];
  DiskGroup groups[kGroupsPerTableBlock];  // 64
};
static_assert(sizeof(DiskGroupTable) == kBlockBytes);

// A bitmap block is 32,768 bits, block n of the group at bit n % 8 of byte n / 8; set: used. Bits past the volume's end
// are set.

// -------------------------------------------------------------------------------------------------- tree nodes

inline constexpr std::uint32_t kNodeMagic = 0x444e5457;  // "WTND"

struct DiskKey {
  le64 object;
  le64 tag;
};

struct DiskNode {
  le32 magic;                  //  0
  le32 crc;                    //  4  crc32c of the block with this field zero
  DiskUuid uuid;               //  8
  le64 block;                  // 24  its own place
  le64 birth;                  // 32  the checkpoint that wrote it
  DiskKey low;                 // 40  no key in this subtree is below
  DiskKey high;                // 56  no key in this subtree is at or above; all ones: no bound
  std::uint8_t level;          // 72  0: leaf
  std::uint8_t reserved[3];    // 73
  le16 count;                  // 76  items
  le16 heap_start;             // 78  lowest byte of the block that holds a leaf's values; kBlockBytes if none
  std::uint8_t reserved2[16];  // 80
};
static_assert(sizeof(DiskNode) == 96);

// Leaf: DiskNode, `count` slots in order of keys, free space, values from heap_start to the end. Values need not lie in
// key order and do not overlap; holes between them are legal.
struct DiskLeafSlot {
  DiskKey key;
  le16 offset;  // of the value from the start of the block
  le16 length;
};
static_assert(sizeof(DiskLeafSlot) == 20);

// Inner node: DiskNode, then `count` >= 1 of these. Entry i covers [its key, the next one's key or `high`); entry 0's
// key equals `low`.
struct DiskInnerEntry {
  DiskKey key;
  DiskNodeRef child;
};
static_assert(sizeof(DiskInnerEntry) == 32);

inline constexpr std::uint32_t kInnerFanout = (kBlockBytes - sizeof(DiskNode)) / sizeof(DiskInnerEntry);
inline constexpr std::uint32_t kMaxValueBytes = 1280;  // three of the largest items fit a leaf
inline constexpr std::uint32_t kMaxLevel = 15;

// ------------------------------------------------------------------------------------------------------ values

struct DiskInode {
  le32 mode;                 //   0  type and permission bits as Linux has them
  le32 uid;                  //   4
  le32 gid;                  //   8
  le32 links;                //  12  a directory has 2 plus its subdirectories
  le64 size_bytes;           //  16  of a directory: 0; of a symlink: the target's length
  le64 data_blocks;          //  24  4 KiB blocks mapped by its extents
  DiskTime accessed;         //  32
  DiskTime modified;         //  44
  DiskTime changed;          //  56
  DiskTime created;          //  68
  le32 device;               //  80  makedev() of device nodes
  le32 flags;                //  84  InodeFlag bits
  le32 generation;           //  88
  le32 project;              //  92
  le64 parent;               //  96  of a directory: its parent; else 0
  le64 version;              // 104  grows with every change
  le64 entry_count;          // 112  of a directory: its names
  le32 xattr_count;          // 120
  std::uint8_t reserved[4];  // 124
};
static_assert(sizeof(DiskInode) == 128);

// The values are those of FS_IOC_GETFLAGS.
enum InodeFlag : std::uint32_t {
  kInodeSync = 0x8,
  kInodeImmutable = 0x10,
  kInodeAppendOnly = 0x20,
  kInodeNoDump = 0x40,
  kInodeNoAtime = 0x80,
  kInodeDirSync = 0x10000,
  kInodeNoCow = 0x800000,  // data is overwritten in place and carries no checksums
};
inline constexpr std::uint32_t kInodeFlagsKnown =
    kInodeSync | kInodeImmutable | kInodeAppendOnly | kInodeNoDump | kInodeNoAtime | kInodeDirSync | kInodeNoCow;

struct DiskDirent {
  le64 inode;
  std::uint8_t type;         // DT_* of <dirent.h>
  std::uint8_t name_length;  // 1..255; the name follows, without a zero
};
static_assert(sizeof(DiskDirent) == 10);

struct DiskXattr {
  std::uint8_t name_length;  // with its prefix, such as "user."; the name follows, then the value's inline bytes
  std::uint8_t reserved;
  le16 inline_length;  // all of the value, or 0 and it lies under kXattrData
  le32 value_length;
};
static_assert(sizeof(DiskXattr) == 8);

// Maps `length` file blocks from the key's offset to the volume, from `block` on. A crc32c per block follows unless a
// flag says otherwise.
struct DiskExtent {
  le64 block;
  le64 birth;   // checkpoint under which the blocks were allocated
  le32 length;  // in blocks, at least 1
  le32 flags;   // ExtentFlag bits
};
static_assert(sizeof(DiskExtent) == 24);

enum ExtentFlag : std::uint32_t {
  kExtentUnwritten = 1,   // allocated, reads as zeros; no checksums
  kExtentNoChecksum = 2,  // of a kInodeNoCow file; no checksums
};
inline constexpr std::uint32_t kExtentFlagsKnown = kExtentUnwritten | kExtentNoChecksum;

inline constexpr std::uint32_t kMaxChecksummedBlocks = 128;  // 512 KiB: 512 bytes of checksums
inline constexpr std::uint32_t kMaxPlainBlocks = 1u << 20;   // 4 GiB, of an extent without checksums
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 60;
inline constexpr std::uint32_t kMaxNameBytes = 255;
inline constexpr std::uint32_t kMaxSymlinkBytes = 4095;
inline constexpr std::uint32_t kSymlinkChunkBytes = 1024;
inline constexpr std::uint32_t kMaxXattrBytes = 65536;
inline constexpr std::uint32_t kXattrChunkBytes = 1024;
inline constexpr std::uint32_t kMaxLinks = 0x7fffffff;

// ----------------------------------------------------------------------------------------------------- journal

// A record: DiskRecord, its transactions one after the other, zeros up to a multiple of kLogUnitBytes (or of the
// device's alignment where that is larger): stored_bytes in all. The log is a ring of log_blocks * 4096 bytes. A record
// never wraps: where it would not fit before the end, a filler record (transactions == 0, one unit long) says so, and
// the next one stands at offset 0, as it does where one ends exactly at the end.
inline constexpr std::uint32_t kRecordMagic = 0x434c5457;  // "WTLC"
inline constexpr std::uint32_t kLogUnitBytes = 512;

struct DiskRecord {
  le32 magic;             //  0
  le32 crc;               //  4  crc32c of the record, `length_bytes` of it, with this field zero
  DiskUuid uuid;          //  8
  le64 epoch;             // 24  DiskSuperblock::log_epoch
  le64 sequence;          // 32  one more than that of the record before it
  le64 first_lsn;         // 40  of its first transaction; they count up from there
  le64 flushed_sequence;  // 48  highest record known to be durable when this one was written
  le32 length_bytes;      // 56  of header and transactions, without the fill
  le32 transactions;      // 60
  le64
      checkpoint;  // 64  newest durable checkpoint when it was written; one above the superblock's: that superblock rotted
  le32 stored_bytes;         // 72  with the fill: the next record stands this much further on
  std::uint8_t reserved[4];  // 76
};
static_assert(sizeof(DiskRecord) == 80 && offsetof(DiskRecord, checkpoint) == 64);

inline constexpr std::uint32_t kMaxRecordBytes = 1u << 20;       // stored_bytes is no more
inline constexpr std::uint32_t kMaxTransactionBytes = 1u << 19;  // nor any transaction; nor an eighth of the log
inline constexpr std::uint32_t kMinLogBlocks = 64;               // 256 KiB
inline constexpr std::uint32_t kMaxLogBlocks = 1u << 18;         // 1 GiB

struct DiskTransaction {
  le16 intent;        // Intent: what the operation was; for tools, people and the change feed
  le16 changes;       // how many follow
  le32 length_bytes;  // of this header and its changes
  le64 inode;         // what it was mainly about
};
static_assert(sizeof(DiskTransaction) == 16);

enum class Intent : std::uint16_t {
  kOther = 0,
  kCreate = 1,
  kMakeDirectory = 2,
  kMakeNode = 3,
  kSymlink = 4,
  kLink = 5,
  kUnlink = 6,
  kRemoveDirectory = 7,
  kRename = 8,
  kWrite = 9,
  kTruncate = 10,
  kAllocate = 11,
  kPunch = 12,
  kSetAttributes = 13,
  kSetXattr = 14,
  kRemoveXattr = 15,
  kReclaim = 16,
  kCopyRange = 17,
  kTemporaryFile = 18,
};

enum class ChangeKind : std::uint8_t {
  kPut = 1,    // value: insert or replace
  kErase = 2,  // no value; the key must exist
  kMap = 3,    // value: DiskExtent, checksums. File blocks [key offset, + length) become these; what they were is freed
  kUnmap = 4,  // value: le64 length. File blocks [key offset, + length) become a hole; what they were is freed
};

struct DiskChange {
  std::uint8_t kind;   // ChangeKind
  std::uint8_t flags;  // kChangeFreshData on kMap
  le16 value_length;   // bytes that follow
  DiskKey key;
};
static_assert(sizeof(DiskChange) == 20);

// The extent's data was written just before its record and the same flush covers both. Replay verifies, for records past
// the last one known flushed, the data against the checksums, and ends the log at the first record whose data is not there.
inline constexpr std::uint8_t kChangeFreshData = 1;

static_assert(std::is_trivially_copyable_v<DiskSuperblock> && std::is_trivially_copyable_v<DiskNode> &&
              std::is_trivially_copyable_v<DiskRecord> && std::is_trivially_copyable_v<DiskInode>);

}  // namespace weft::fs
