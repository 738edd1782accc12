// tests/fs/log_fixture.h - a journal on a volume of its own, without tree and checkpoints: the log alone.
#pragma once

#include <memory>
#include <span>

#include "fs/journal.h"
#include "fs/journal_replay.h"
#include "fs/layout.h"
#include "kernel/check.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs::test {

struct Log {
  explicit Log(BlockDevice& device_in, std::uint64_t log_bytes = 256 * kKiB) : device(device_in) {
    WEFT_CHECK(make_fixed_volume(device, log_bytes).has_value());
    superblock = superblock_of(device);
    layout = Layout(superblock);
    JournalConfig config;
    config.uuid = superblock.uuid;
    config.log_offset_bytes = layout.log_offset_bytes();
    config.log_bytes = layout.log_bytes();
    config.epoch = superblock.log_epoch;
    journal = std::make_unique<Journal>(device, config);
  }
  // What Volume::begin() and commit() do.
  Lsn commit(std::span<const std::byte> transaction) {
    LogRoom room = journal->reserve(transaction.size(), [&] { return empty(); }).value();
    return journal->append(transaction, std::move(room));
  }
  // A checkpoint, as far as the log is concerned.
  Status empty() {
    const JournalMark mark = journal->mark();
    superblock.log_tail_bytes = journal->offset_of(mark.position);
    superblock.log_tail_sequence = mark.sequence;
    superblock.next_lsn = mark.next_lsn.value();
    superblock.checkpoint = superblock.checkpoint + 1;
    journal->checkpointed(mark, CheckpointNo(superblock.checkpoint.get()));
    ++checkpoints;
    return {};
  }
  LogPlan read() { return read_log(device, superblock, layout, true).value(); }

  BlockDevice& device;
  DiskSuperblock superblock;
  Layout layout;
  std::unique_ptr<Journal> journal;
  int checkpoints = 0;
};

}  // namespace weft::fs::test
