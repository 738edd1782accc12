#include <fmt/format.h>

#include <cstring>

#include "fs/format_check.h"
#include "tools/describe.h"

namespace weft::tools {
namespace {

Report change_line(const fs::ChangeView& change) {
  const std::string key = key_text(change.key);
  switch (change.kind) {
    case fs::ChangeKind::kPut: return describe_item(change.key, change.value).hidden("change", "put");
    case fs::ChangeKind::kErase: return Report("erase " + key).hidden("change", "erase");
    case fs::ChangeKind::kMap: {
      const fs::MapView map = fs::map_view(change);
      Report report(fmt::format("map {}: {} blocks at block {}{}{}", key, map.blocks.count, map.blocks.start.value(),
                                (map.flags & fs::kExtentUnwritten) != 0 ? ", unwritten" : "",
                                (change.flags & fs::kChangeFreshData) != 0 ? ", data in the same flush" : ""));
      return report.hidden("change", "map")
          .hidden("block", map.blocks.start.value())
          .hidden("length", map.blocks.count)
          .hidden("flags", std::uint64_t{map.flags});
    }
    case fs::ChangeKind::kUnmap: {
      le64 length;
      std::memcpy(&length, change.value.data(), sizeof(length));
      return Report(fmt::format("unmap {}: {} blocks", key, length.get()))
          .hidden("change", "unmap")
          .hidden("length", length.get());
    }
  }
  return Report(key).wrong("a change of a kind that does not exist");
}

Report describe_transaction(std::span<const std::byte> bytes, std::uint64_t lsn) {
  fs::DiskTransaction header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const std::string intent = intent_text(static_cast<fs::Intent>(header.intent.get()));
  Report report(
      fmt::format("transaction {}: {}, about inode {}, {} bytes", lsn, intent, header.inode.get(), bytes.size()));
  report.hidden("lsn", lsn)
      .hidden("intent", intent)
      .hidden("inode", header.inode.get())
      .hidden("length_bytes", std::uint64_t{bytes.size()});
  std::vector<Report> changes;
  (void)fs::for_each_change(bytes, [&](const fs::ChangeView& change) -> Status {
    changes.push_back(change_line(change));
    return {};
  });
  report.list("changes", std::move(changes));
  return report;
}

}  // namespace

std::string intent_text(fs::Intent intent) {
  switch (intent) {
    case fs::Intent::kOther: return "other";
    case fs::Intent::kCreate: return "create";
    case fs::Intent::kMakeDirectory: return "make directory";
    case fs::Intent::kMakeNode: return "make node";
    case fs::Intent::kSymlink: return "symlink";
    case fs::Intent::kLink: return "link";
    case fs::Intent::kUnlink: return "unlink";
    case fs::Intent::kRemoveDirectory: return "remove directory";
    case fs::Intent::kRename: return "rename";
    case fs::Intent::kWrite: return "write";
    case fs::Intent::kTruncate: return "truncate";
    case fs::Intent::kAllocate: return "allocate";
    case fs::Intent::kPunch: return "punch";
    case fs::Intent::kSetAttributes: return "set attributes";
    case fs::Intent::kSetXattr: return "set xattr";
    case fs::Intent::kRemoveXattr: return "remove xattr";
    case fs::Intent::kReclaim: return "reclaim";
    case fs::Intent::kCopyRange: return "copy range";
    case fs::Intent::kTemporaryFile: return "temporary file";
  }
  return fmt::format("intent {}", static_cast<unsigned>(intent));
}

Report describe_record(std::uint64_t offset_bytes, const fs::LogReader::Record& record, const fs::Layout& layout,
                       bool with_changes) {
  const fs::DiskRecord& header = record.header;
  Report report(
      fmt::format("record {} at {} of the log: {}", header.sequence.get(), offset_bytes,
                  header.transactions == 0
                      ? std::string("filler, the next stands at 0")
                      : fmt::format("{} transactions from {}, {} bytes, knew {} flushed", header.transactions.get(),
                                    header.first_lsn.get(), header.length_bytes.get(), header.flushed_sequence.get())));
  report.hidden("offset_bytes", offset_bytes)
      .hidden("sequence", header.sequence.get())
      .hidden("epoch", header.epoch.get())
      .hidden("first_lsn", header.first_lsn.get())
      .hidden("flushed_sequence", header.flushed_sequence.get())
      .hidden("length_bytes", std::uint64_t{header.length_bytes})
      .hidden("stored_bytes", std::uint64_t{header.stored_bytes})
      .hidden("transactions", std::uint64_t{header.transactions})
      .hidden("checkpoint", header.checkpoint.get());
  if (!with_changes) return report;
  std::span<const std::byte> rest = record.transactions();
  std::vector<Report> transactions;
  for (std::uint32_t i = 0; i < header.transactions; ++i) {
    const auto length = fs::check_transaction(rest, layout);
    if (!length) {
      report.wrong(fmt::format("transaction {}: {}", header.first_lsn + i, length.error().message()));
      break;
    }
    transactions.push_back(describe_transaction(rest.first(*length), header.first_lsn + i));
    rest = rest.subspan(*length);
  }
  report.list("transactions", std::move(transactions));
  return report;
}

}  // namespace weft::tools
