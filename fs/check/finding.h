// fs/check/finding.h - what can be wrong with a volume, and what there is to do about it.
//
//   space_check, item_check, name_check -> [finding] -> repair, fsck.weft
//
// A finding is one thing that is not as FORMAT.md says, in words for people and, as a few edits of keys, for repair(). Edits are small
// and know nothing of each other: what they leave behind (a count that no longer fits, a block that nobody has) the next round of
// check and repair puts right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/key.h"
#include "fs/types.h"

namespace weft::fs::check {

enum class Problem : std::uint8_t {
  kSuperblockSlot,  // one of the four copies
  kLog,             // records that were acknowledged and are gone
  kGroupTable,      // a block of the group table
  kBitmap,          // the bitmap of a group cannot be read or believed
  kUsedMarkedFree,  // blocks in use that the bitmap would give away
  kFreeMarkedUsed,  // blocks that nobody has
  kFreeCount,       // of the volume, in the superblock
  kInodeCount,      // of the volume, in the superblock
  kNextInode,       // an inode has a number that is yet to be given out
  kTreeNode,        // a node of the tree is lost
  kClaimedTwice,    // a block of two files, or of a file and the tree
  kStrayItem,       // a key that belongs to nothing
  kMissingInode,    // names or data without their inode's record
  kInodeField,      // a field of an inode that cannot be
  kRoot,            // the root directory
  kName,            // a directory entry that cannot be
  kNameTarget,      // a name of an inode that does not exist
  kNameType,        // a name that says another type than the inode has
  kSecondName,      // a directory with two names
  kParent,          // a directory that names another parent than the one it is in
  kLoop,            // a directory below itself
  kUnreachable,     // an inode without a name
  kLinkCount,
  kEntryCount,
  kXattr,
  kXattrCount,
  kSymlink,
  kExtent,        // extents of one file that overlap, or reach too far
  kPastEnd,       // written blocks behind the end of a file
  kBlockCount,    // data_blocks of an inode
  kOrphan,        // the mark of an inode that is to be freed
  kDataChecksum,  // a block of a file is not what was written
};
inline constexpr std::size_t kProblems = static_cast<std::size_t>(Problem::kDataChecksum) + 1;

// "link-count": for machines.
[[nodiscard]] std::string_view name_of(Problem problem) noexcept;
// Whether putting it right throws nothing away: what -p does unasked.
[[nodiscard]] bool is_safe(Problem problem) noexcept;
// What putting it right is, for machines: "rewrite" from what the tree says; "rebuild" of the tree from what can be found of it;
// "end-log" where it stops to make sense; "edit" of keys, those of Finding::fixes; "none": nobody can.
[[nodiscard]] std::string_view remedy_of(Problem problem) noexcept;

enum class InodeField : std::uint8_t {
  kMode,
  kLinks,
  kSize,
  kDataBlocks,
  kDevice,
  kFlags,
  kParent,
  kEntryCount,
  kXattrCount,
  kTimes,
  kReserved,
};

struct Fix {
  enum class Kind : std::uint8_t {
    kErase,      // key
    kPut,        // key, bytes
    kSetField,   // key's object, field, number
    kSetType,    // of the directory entry `key`: number
    kAddName,    // to the directory key.object: `bytes` names inode `number`
    kReconnect,  // key's object, of type `number`, gets a name in lost+found
    kMakeRoot,   // an empty root directory
  };
  Kind kind = Kind::kErase;
  Key key;
  InodeField field = InodeField::kMode;
  std::uint64_t number = 0;
  std::vector<std::byte> bytes;
};

struct Finding {
  Problem problem = Problem::kStrayItem;
  InodeNo inode;  // 0: none in particular
  BlockNo block;  // 0: none
  std::string message;
  std::vector<Fix> fixes;
  bool repaired = false;
  bool follow_up = false;  // of a repair, not of what was found at first
};

// Where checks put what they find. Past kMost only counts: repair goes in rounds anyway.
class Findings {
 public:
  static constexpr std::size_t kMost = 100'000;
  Finding& add(Problem problem, InodeNo inode, std::string message);
  Finding& add(Problem problem, BlockNo block, std::string message);
  [[nodiscard]] bool has(Problem problem) const noexcept { return count_[static_cast<std::size_t>(problem)] != 0; }
  [[nodiscard]] std::uint64_t count() const noexcept { return total_; }
  [[nodiscard]] std::vector<Finding>& list() noexcept { return list_; }
  [[nodiscard]] const std::vector<Finding>& list() const noexcept { return list_; }

 private:
  Finding& add(Finding finding);
  std::vector<Finding> list_;
  std::uint64_t count_[kProblems] = {};
  std::uint64_t total_ = 0;
  Finding spare_;
};

Fix erase_of(Key key);
Fix put_of(Key key, std::vector<std::byte> bytes);
Fix set_field(InodeNo inode, InodeField field, std::uint64_t number);

// A name as people may see it on a terminal: in quotes, as printable() has it.
std::string quoted(std::string_view name);

}  // namespace weft::fs::check
