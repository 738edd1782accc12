#include "fs/transaction_reader.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

using test::append_bytes;
using test::raw_transaction;
using test::RawChange;

constexpr InodeNo kFile{20};

std::vector<std::byte> extent_value(std::uint64_t block, std::uint32_t length, std::uint32_t flags, std::size_t sums) {
  std::vector<std::byte> value;
  DiskExtent extent{};
  extent.block = block;
  extent.length = length;
  extent.flags = flags;
  append_bytes(value, extent);
  value.resize(value.size() + sums * 4);
  return value;
}
std::vector<std::byte> count_value(std::uint64_t blocks) {
  std::vector<std::byte> value;
  append_bytes(value, le64(blocks));
  return value;
}
Key extent_key(std::uint64_t offset) { return {kFile, KeyKind::kExtent, offset}; }
Key name_key(std::uint64_t offset) { return {kFile, KeyKind::kDirent, offset}; }

// Why the bytes are refused; empty if they are not.
std::string refusal(std::span<const std::byte> bytes) {
  auto reader = TransactionReader::open(bytes);
  if (!reader) return reader.error().message();
  for (;;) {
    auto change = reader->next();
    if (!change) {
      EXPECT_EQ(change.error(), Errc::kCorrupt);
      return change.error().message();
    }
    if (!*change) return {};
  }
}

TEST(TransactionReader, ChangesComeBackAsTheyWereMade) {
  const RawChange changes[] = {
      {ChangeKind::kPut, 0, name_key(7), std::vector<std::byte>(10, std::byte{1})},
      {ChangeKind::kErase, 0, name_key(8), {}},
      {ChangeKind::kMap, kChangeFreshData, extent_key(5), extent_value(1000, 3, 0, 3)},
      {ChangeKind::kMap, 0, extent_key(9), extent_value(2000, kMaxPlainBlocks, kExtentUnwritten, 0)},
      {ChangeKind::kUnmap, 0, extent_key(0), count_value(17)},
  };
  const auto bytes = raw_transaction(changes);
  auto reader = TransactionReader::open(bytes);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->changes(), 5u);
  std::vector<ChangeView> views;
  for (;;) {
    auto change = reader->next();
    ASSERT_TRUE(change) << change.error().message();
    if (!*change) break;
    views.push_back(**change);
  }
  ASSERT_EQ(views.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(views[i].kind, changes[i].kind);
    EXPECT_EQ(views[i].key, changes[i].key);
    EXPECT_EQ(std::vector<std::byte>(views[i].value.begin(), views[i].value.end()), changes[i].value);
  }
  EXPECT_TRUE(views[2].fresh && !views[3].fresh);
  EXPECT_EQ(views[2].extent.block, 1000u);
  EXPECT_EQ(views[2].blocks, 3u);
  EXPECT_EQ(views[3].blocks, kMaxPlainBlocks);
  EXPECT_EQ(views[4].blocks, 17u);
}

TEST(TransactionReader, WhatCannotBeAChangeIsRefusedAndSaysWhy) {
  const struct {
    const char* why;
    RawChange change;
  } cases[] = {
      {"unknown kind of change", {static_cast<ChangeKind>(9), 0, name_key(1), {}}},
      {"unknown kind of key", {ChangeKind::kPut, 0, Key::from_raw(20, 0), {}}},
      {"unknown kind of key", {ChangeKind::kPut, 0, Key::from_raw(20, std::uint64_t{8} << 56), {}}},
      {"value too large", {ChangeKind::kPut, 0, name_key(1), std::vector<std::byte>(kMaxValueBytes + 1)}},
      {"extent put", {ChangeKind::kPut, 0, extent_key(1), extent_value(1000, 1, 0, 1)}},
      {"erase with a value", {ChangeKind::kErase, 0, name_key(1), std::vector<std::byte>(1)}},
      {"extent erased", {ChangeKind::kErase, 0, extent_key(1), {}}},
      {"truncated map", {ChangeKind::kMap, 0, extent_key(1), std::vector<std::byte>(sizeof(DiskExtent) - 1)}},
      {"truncated map", {ChangeKind::kMap, 0, name_key(1), extent_value(1000, 1, 0, 1)}},
      {"unknown flags", {ChangeKind::kMap, 0, extent_key(1), extent_value(1000, 1, 4, 0)}},
      {"wrong length", {ChangeKind::kMap, 0, extent_key(1), extent_value(1000, 0, 0, 0)}},
      {"wrong length", {ChangeKind::kMap, 0, extent_key(1), extent_value(1000, kMaxChecksummedBlocks + 1, 0, 129)}},
      {"wrong length", {ChangeKind::kMap, 0, extent_key(1), extent_value(1000, kMaxPlainBlocks + 1, 1, 0)}},
      {"wrong checksums", {ChangeKind::kMap, 0, extent_key(1), extent_value(1000, 3, 0, 2)}},
      {"wrong checksums", {ChangeKind::kMap, 0, extent_key(1), extent_value(1000, 3, kExtentUnwritten, 3)}},
      {"past the largest offset", {ChangeKind::kMap, 0, extent_key(kMaxKeyOffset), extent_value(1000, 1, 0, 1)}},
      {"truncated unmap", {ChangeKind::kUnmap, 0, extent_key(1), std::vector<std::byte>(4)}},
      {"truncated unmap", {ChangeKind::kUnmap, 0, name_key(1), count_value(1)}},
      {"empty unmap", {ChangeKind::kUnmap, 0, extent_key(1), count_value(0)}},
      {"past the largest offset", {ChangeKind::kUnmap, 0, extent_key(1), count_value(~std::uint64_t{0})}},
  };
  for (const auto& each : cases) {
    const std::string why = refusal(raw_transaction(std::span(&each.change, 1)));
    EXPECT_NE(why.find(each.why), std::string::npos) << "wanted: " << each.why << "; got: " << why;
  }
}

TEST(TransactionReader, LengthsThatDoNotAddUpAreRefused) {
  const RawChange change{ChangeKind::kPut, 0, name_key(1), std::vector<std::byte>(10)};
  const auto good = raw_transaction(std::span(&change, 1));
  EXPECT_EQ(refusal(good), "");
  EXPECT_EQ(refusal(std::span(good).first(8)), "malformed transaction: shorter than its header");
  EXPECT_EQ(refusal(std::span(good).first(good.size() - 1)), "malformed transaction: length");
  const auto with_header = [&](const std::function<void(DiskTransaction&)>& edit, std::size_t size) {
    auto bytes = good;
    bytes.resize(size);
    DiskTransaction header;
    std::memcpy(&header, bytes.data(), sizeof header);
    header.length_bytes = static_cast<std::uint32_t>(size);
    edit(header);
    std::memcpy(bytes.data(), &header, sizeof header);
    return bytes;
  };
  EXPECT_EQ(refusal(with_header([](auto&) {}, good.size() - 1)),
            "malformed transaction: a value longer than the transaction");
  EXPECT_EQ(refusal(with_header([](auto& header) { header.changes = 0; }, good.size())),
            "malformed transaction: bytes behind its changes");
  EXPECT_EQ(refusal(with_header([](auto& header) { header.changes = 2; }, good.size())),
            "malformed transaction: fewer changes than it says");
}

TEST(TransactionReader, AnyBytesAreReadWithinTheirBounds) {
  constexpr unsigned kSeed = 3;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  const RawChange changes[] = {{ChangeKind::kPut, 0, name_key(7), std::vector<std::byte>(40)},
                               {ChangeKind::kMap, 0, extent_key(5), extent_value(1000, 3, 0, 3)},
                               {ChangeKind::kUnmap, 0, extent_key(0), count_value(17)}};
  const auto good = raw_transaction(changes);
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = good;  // on the heap, so that a sanitizer sees a step outside
    for (int edits = 0; edits < 3; ++edits) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    static_cast<void>(refusal(bytes));
  }
}

}  // namespace
}  // namespace weft::fs
