// tools/describe.h - every struct of fs/format.h as a Report: fields with their offsets, values in words beside them.
//
//   weft_info, weft_dump  ->  [describe: describe_volume, describe_item, describe_node, describe_log]  ->  report
//
// Takes any bytes: what does not fit its struct is shown as it is, with a remark. Pure; any thread.
// Tests: tests/tools/weft_commands_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fs/format.h"
#include "fs/key.h"
#include "fs/layout.h"
#include "fs/log_reader.h"
#include "tools/report.h"

namespace weft::tools {

// -- Words
std::string time_text(const fs::DiskTime& time);  // "2023-11-14 22:13:20.000000000 UTC"
std::string mode_text(std::uint32_t mode);        // "drwxr-xr-x"
std::string key_text(fs::Key key);                // "inode 17, extent 0"
std::string kind_text(fs::KeyKind kind);          // "extent"
std::string inode_flags_text(std::uint32_t flags);
std::string state_text(std::uint32_t state);  // of a superblock

// -- describe_volume.cc
Report describe_superblock(const fs::DiskSuperblock& superblock, std::string title);
Report describe_group(std::uint64_t group, const fs::DiskGroup& entry);  // one line
Report describe_group_table(const fs::DiskGroupTable& table, const fs::Layout& layout, std::string title);
// Used and free runs of a bitmap whose first block is `first`.
Report describe_bitmap(std::span<const std::byte, fs::kBlockBytes> bitmap, fs::BlockNo first, std::string title);

// -- describe_item.cc: one key and its value, in a line
Report describe_item(fs::Key key, std::span<const std::byte> value);
// All fields of an inode.
Report describe_inode(const fs::DiskInode& inode, std::string title);

// -- describe_node.cc
Report describe_node(std::span<const std::byte, fs::kBlockBytes> page, std::string title);
// Rows of 16 bytes, those of zeros left out.
Report describe_bytes(std::span<const std::byte> bytes, std::string title);

// -- describe_log.cc: `with_changes` shows each transaction and its changes
Report describe_record(std::uint64_t offset_bytes, const fs::LogReader::Record& record, const fs::Layout& layout,
                       bool with_changes);
std::string intent_text(fs::Intent intent);

}  // namespace weft::tools
