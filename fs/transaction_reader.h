// fs/transaction_reader.h - takes the bytes of a transaction apart and believes none of them.
//
// Pure; any thread. Tests  tests/fs/transaction_test.cc
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "fs/format.h"
#include "fs/key.h"
#include "fs/types.h"
#include "kernel/result.h"

namespace weft::fs {

struct ChangeView {
  ChangeKind kind = ChangeKind::kPut;
  bool fresh = false;
  Key key;
  std::span<const std::byte> value;
  std::uint64_t blocks = 0;  // of kMap, kUnmap: at least 1, key offset + blocks <= kMaxKeyOffset
  DiskExtent extent{};       // of kMap
};

class TransactionReader {
 public:
  // kCorrupt unless the header fits `bytes`.
  static Result<TransactionReader> open(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint32_t changes() const noexcept { return changes_; }
  // The next change, well-formed in itself but for where an extent's blocks lie; none at the end. kCorrupt: malformed.
  Result<std::optional<ChangeView>> next();

 private:
  std::span<const std::byte> rest_;
  std::uint32_t changes_ = 0;
  std::uint32_t done_ = 0;
};

}  // namespace weft::fs
