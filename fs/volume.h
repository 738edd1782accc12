// fs/volume.h - a transactional store of keys on a block device: everything beneath files and names.
//
//   ops -> file, directory, xattr -> [volume: transaction -> btree, allocator, journal, checkpoint] -> block device
//
// Contract. Transactions commit in one total order, that of their Lsn. After a crash the volume is exactly what it was
// after some transaction T, and T is at or past every Lsn that make_durable() has returned for.
//
// Invariants  V1  what get() and scan() show is the last checkpoint plus every transaction committed since, in order
//             V2  a block that any durable state still refers to is never written
//             V3  commit() never fails for lack of space: begin() has set it aside
// Locks       the caller's inode locks -> tree lock -> allocator lock -> journal lock
// Parks       everything here may, except where it says it does not
// Thread- and fiber-safe throughout. After a device error that leaves durability in doubt the volume turns read-only:
// begin() and make_durable() then fail with the first error's message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/format.h"
#include "fs/key.h"
#include "fs/transaction.h"
#include "fs/types.h"
#include "kernel/block_device.h"
#include "kernel/clock.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft {
class Entropy;
class Metrics;
}  // namespace weft

namespace weft::fs {
class DataInFlight;
}  // namespace weft::fs

namespace weft::fs {

struct VerifiedLeaf;  // fs/btree.h

struct VolumeOptions {
  bool read_only = false;  // replays in memory only; writes nothing
  // Tree nodes in memory, those included that are not on disk yet: whoever would change more of them than three quarters of this
  // waits for a checkpoint.
  std::uint64_t cache_bytes = 64 << 20;
  std::uint64_t bitmap_bytes = 32 << 20;      // bitmaps of free space, unless more are in use
  std::uint64_t log_buffer_bytes = 16 << 20;  // committed transactions on their way to the log
  std::uint32_t commit_interval_ms = 5000;    // unasked, committed transactions become durable within this
  bool background = true;  // fibers of its own for interval commits and checkpoints; false: only when called (tests)
  Clock* clock = nullptr;  // null: system_clock()
  Metrics* metrics = nullptr;  // null: default_metrics()
};

struct VolumeSpace {
  std::uint64_t total_blocks = 0;      // that files and metadata may use
  std::uint64_t free_blocks = 0;       // now, those freed but not yet reusable included
  std::uint64_t available_blocks = 0;  // less what is held back
  std::uint64_t inode_count = 0;
};

class Volume {
 public:
  // Finds the superblock, replays the log. kWrongFormat: not a Weft volume; kCorrupt: it is, and damaged (message says what to run).
  static Result<std::unique_ptr<Volume>> open(BlockDevice& device, const VolumeOptions& options);
  // Everything committed is checkpointed and the volume marked clean. Idempotent. The destructor does not call it: dropping a Volume is a
  // crash, which is what tests use it for.
  Status close();
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  // -- Reading. A value is valid within the visit only; visitors run under the tree lock, must not park and must not call the volume.
  // False where there is no such key.
  Result<bool> get(Key key, FunctionRef<void(std::span<const std::byte>)> visit);
  // Ascending through [from, to); a visitor that returns false ends it.
  Status scan(Key from, Key to, FunctionRef<bool(Key, std::span<const std::byte>)> visit);
  // The greatest key in [from, to), if there is one.
  Result<bool> last(Key from, Key to, FunctionRef<void(Key, std::span<const std::byte>)> visit);

  // -- Changing
  Result<Transaction> begin(Intent intent, InodeNo about, const TransactionNeeds& needs);
  // In force for every reader on return; durable after make_durable() of the result. Fails only when the volume has failed.
  Result<Lsn> commit(Transaction&& transaction);
  // Returns when every transaction up to `lsn` is on the device. Callers at the same time share one record and one flush.
  Status make_durable(Lsn lsn);
  // Returns when every transaction up to `lsn` has been given to the device, without a flush: the death of this process then
  // takes none of them away, but for those whose data is still in flight.
  Status make_written(Lsn lsn);
  [[nodiscard]] Lsn committed() const noexcept;  // highest committed; does not park
  [[nodiscard]] Lsn durable() const noexcept;    // does not park
  // All of the tree to its place, log emptied.
  Status checkpoint();

  // -- Numbers and facts; none of these parks
  // Never returned before; belongs to the transaction that first puts it. kNoSpace after 2^55 of them.
  Result<InodeNo> new_inode();
  [[nodiscard]] VolumeSpace space() const noexcept;
  [[nodiscard]] const DiskUuid& uuid() const noexcept;
  [[nodiscard]] std::string label() const;
  [[nodiscard]] std::span<const std::uint8_t, 16> hash_seed() const noexcept;
  [[nodiscard]] bool read_only() const noexcept;       // as mounted, or because it failed
  [[nodiscard]] std::optional<Error> failure() const;  // why it turned read-only
  [[nodiscard]] BlockDevice& device() noexcept;        // as given to open(), counted and traced
  [[nodiscard]] Clock& clock() noexcept;
  [[nodiscard]] Metrics& metrics() noexcept;
  // Records that something cannot be believed: logs it and sets kStateErrors; with `fatal` turns the volume read-only.
  void report_damage(const Error& error, bool fatal);
  // Data of files that is on its way while its mapping is in force.
  [[nodiscard]] DataInFlight& data_in_flight() noexcept;
  // The device has lost something that is in force already: read-only from here on, for this reason.
  void fail_for_good(Error error);
  // From here on nothing is written any more (FS_IOC_SHUTDOWN); make_durable() of what is not durable fails.
  void shut_down();
  // For fs/scrub.h: what is on the device, read past all caches. See BTree::verify_leaf() and Checkpointer::verify().
  Result<VerifiedLeaf> verify_leaf(Key key);
  Result<std::uint64_t> verify_groups(std::uint64_t first, std::uint64_t count,
                                      FunctionRef<void(BlockNo, const Error&)> bad);
  [[nodiscard]] std::uint64_t group_count() const noexcept;
  // Free space handed to the device as discards; bytes discarded. Considers [first, first + count) and runs of at least `min_blocks`.
  Result<std::uint64_t> trim(BlockNo first, std::uint64_t count, std::uint64_t min_blocks);

 private:
  friend class Transaction;
  struct Parts;  // btree, allocator, journal, checkpointer: see volume.cc
  explicit Volume(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct MakeVolumeOptions {
  std::string label;
  DiskUuid uuid{};              // all zero: a random one
  std::uint64_t log_bytes = 0;  // 0: by the volume's size
  bool discard = true;
  // Called now and then while the device discards, which may take minutes; null: nobody wants to know.
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress = nullptr;
  Clock* clock = nullptr;      // null: system_clock()
  Entropy* entropy = nullptr;  // for uuid and hash seed; null: system_entropy()
};

// Writes an empty file system (a root directory, mode 0755, owned by `uid`:`gid`) over all of `device`. Parks.
Status make_volume(BlockDevice& device, const MakeVolumeOptions& options, std::uint32_t uid, std::uint32_t gid);

}  // namespace weft::fs
