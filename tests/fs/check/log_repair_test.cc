// A log that does not fit the tree: mounting refuses it, and a repair ends it where it stops to fit.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/format_check.h"
#include "fs/log_reader.h"
#include "fs/superblock.h"
#include "kernel/bytes.h"
#include "tests/fs/check/check_fixture.h"

namespace weft::fs::test {
namespace {

// Where the last erasure of a transaction in the log stands on the device.
std::uint64_t last_erasure(BlockDevice& disk, std::uint64_t& record_at) {
  const DiskSuperblock superblock = find_superblock(disk)->superblock;
  const Layout layout(superblock);
  LogReader reader(disk, superblock.uuid, layout);
  std::uint64_t found = 0;
  for (std::uint64_t at = superblock.log_tail_bytes;;) {
    const auto record = reader.record_at(at);
    if (!record || !*record || (*record)->header.epoch != superblock.log_epoch) return found;
    std::span<const std::byte> rest = (*record)->transactions();
    for (std::uint32_t i = 0; i < (*record)->header.transactions; ++i) {
      const std::size_t length = check_transaction(rest, layout).value();
      EXPECT_TRUE(for_each_change(rest.first(length), [&](const ChangeView& change) -> Status {
        if (change.kind == ChangeKind::kErase && change.key.kind() == KeyKind::kDirent) {
          const auto offset = static_cast<std::uint64_t>(change.value.data() - (*record)->bytes.data());
          record_at = layout.log_offset_bytes() + at;
          found = record_at + offset - sizeof(DiskChange);
        }
        return {};
      }));
      rest = rest.subspan(length);
    }
    at += (*record)->header.stored_bytes;
  }
}

TEST(LogRepair, EndsALogThatDoesNotFitTheTreeWhereItStopsToFit) {
  DiskImage image(8 * kMiB);
  {
    Mounted m(8 * kMiB);
    m.write(m.file(kTop, "kept"), 0, "kept");
    m.file(kTop, "gone");
    ASSERT_OK(m->volume().checkpoint());
    m.file(kTop, "before");
    ASSERT_OK(m->sync());
    ASSERT_OK(m->unlink({}, kTop, "gone"));
    m.file(kTop, "after");
    ASSERT_OK(m->sync());
    image = m.disk.copy();
  }
  MemoryDisk disk(std::move(image));
  std::uint64_t record_at = 0;
  const std::uint64_t at = last_erasure(disk, record_at);
  ASSERT_NE(at, 0u);
  // The name that it takes away is one that there is not.
  DiskImage bad = disk.copy();
  DiskChange change;
  bad.read(at, std::as_writable_bytes(std::span(&change, 1)));
  change.key.tag = change.key.tag ^ 0x5500;
  bad.write(at, as_bytes_of(change));
  DiskRecord header;
  bad.read(record_at, std::as_writable_bytes(std::span(&header, 1)));
  std::vector<std::byte> record(header.length_bytes);
  bad.read(record_at, record);
  const le32 crc = crc_with_hole(record, offsetof(DiskRecord, crc));
  bad.write(record_at + offsetof(DiskRecord, crc), as_bytes_of(crc));

  MemoryDisk damaged(bad);
  FileSystemOptions options;
  options.volume.background = false;
  EXPECT_EQ(code(FileSystem::mount(damaged, options)), Errc::kCorrupt);
  const std::string found = problems_of(damaged.copy());
  EXPECT_NE(found.find("the log cannot be replayed"), std::string::npos) << found;
  check::CheckOptions safe;
  safe.repair = true;
  safe.only_safe = true;
  const auto careful = check::check_volume(damaged, safe);
  ASSERT_OK(careful);
  EXPECT_NE(careful->uncorrected, 0u) << "throws acknowledged changes away: not unasked";

  check::CheckOptions repair;
  repair.repair = true;
  const auto report = check::check_volume(damaged, repair);
  ASSERT_OK(report);
  EXPECT_EQ(report->uncorrected, 0u) << text_of(*report);
  EXPECT_EQ(problems_of(damaged.copy()), "");
  Mounted m(damaged.copy());
  EXPECT_EQ(m.read(m.find(kTop, "kept")), "kept");
  EXPECT_TRUE(m->lookup(kTop, "before"));
  EXPECT_TRUE(m->lookup(kTop, "gone"));
  EXPECT_EQ(code(m->lookup(kTop, "after")), Errc::kNotFound);
}

}  // namespace
}  // namespace weft::fs::test
