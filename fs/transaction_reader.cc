#include "fs/transaction_reader.h"

#include <cstring>
#include <string>

namespace weft::fs {

namespace {

std::unexpected<Error> malformed(const char* what) {
  return fail(Errc::kCorrupt, std::string("malformed transaction: ") + what);
}

}  // namespace

Result<TransactionReader> TransactionReader::open(std::span<const std::byte> bytes) {
  DiskTransaction header;
  if (bytes.size() < sizeof(header)) return malformed("shorter than its header");
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.length_bytes != bytes.size()) return malformed("length");
  TransactionReader reader;
  reader.rest_ = bytes.subspan(sizeof(header));
  reader.changes_ = header.changes;
  return reader;
}

Result<std::optional<ChangeView>> TransactionReader::next() {
  if (done_ == changes_) {
    if (!rest_.empty()) return malformed("bytes behind its changes");
    return std::nullopt;
  }
  DiskChange change;
  if (rest_.size() < sizeof(change)) return malformed("fewer changes than it says");
  std::memcpy(&change, rest_.data(), sizeof(change));
  if (rest_.size() - sizeof(change) < change.value_length) return malformed("a value longer than the transaction");

  ChangeView view;
  view.kind = static_cast<ChangeKind>(change.kind);
  view.fresh = (change.flags & kChangeFreshData) != 0;
  view.key = Key::from_raw(change.key.object, change.key.tag);
  view.value = rest_.subspan(sizeof(change), change.value_length);
  if (view.key.kind() < KeyKind::kInode || view.key.kind() > KeyKind::kOrphan) return malformed("unknown kind of key");
  const bool is_extent = view.key.kind() == KeyKind::kExtent;
  switch (view.kind) {
    case ChangeKind::kPut:
      if (view.value.size() > kMaxValueBytes) return malformed("a value too large");
      if (is_extent) return malformed("an extent put instead of mapped");
      break;
    case ChangeKind::kErase:
      if (!view.value.empty()) return malformed("an erase with a value");
      if (is_extent) return malformed("an extent erased instead of unmapped");
      break;
    case ChangeKind::kMap: {
      if (!is_extent || view.value.size() < sizeof(DiskExtent)) return malformed("a truncated map");
      std::memcpy(&view.extent, view.value.data(), sizeof(DiskExtent));
      if ((view.extent.flags & ~kExtentFlagsKnown) != 0) return malformed("a map with unknown flags");
      const bool plain = view.extent.flags != 0;
      view.blocks = view.extent.length;
      if (view.blocks == 0 || view.blocks > (plain ? kMaxPlainBlocks : kMaxChecksummedBlocks))
        return malformed("a map of a wrong length");
      if (view.value.size() != sizeof(DiskExtent) + (plain ? 0 : view.blocks * 4))
        return malformed("a map with wrong checksums");
      break;
    }
    case ChangeKind::kUnmap: {
      le64 blocks;
      if (!is_extent || view.value.size() != sizeof(blocks)) return malformed("a truncated unmap");
      std::memcpy(&blocks, view.value.data(), sizeof(blocks));
      view.blocks = blocks;
      if (view.blocks == 0) return malformed("an empty unmap");
      break;
    }
    default: return malformed("unknown kind of change");
  }
  if (view.blocks > kMaxKeyOffset - view.key.offset()) return malformed("a range past the largest offset");
  rest_ = rest_.subspan(sizeof(change) + view.value.size());
  ++done_;
  return view;
}

}  // namespace weft::fs
