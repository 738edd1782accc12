#include "fs/check/finding.h"

#include <array>
#include <utility>

namespace weft::fs::check {
namespace {

struct About {
  std::string_view name;
  bool safe;
};
constexpr std::array<About, kProblems> kAbout = {{
    {"superblock-slot", true},
    {"log", false},
    {"group-table", true},
    {"bitmap", true},
    {"used-marked-free", true},
    {"free-marked-used", true},
    {"free-count", true},
    {"inode-count", true},
    {"next-inode", true},
    {"tree-node", false},
    {"claimed-twice", false},
    {"stray-item", false},
    {"missing-inode", false},
    {"inode-field", false},
    {"root", false},
    {"name", false},
    {"name-target", false},
    {"name-type", true},
    {"second-name", false},
    {"parent", true},
    {"loop", false},
    {"unreachable", true},
    {"link-count", true},
    {"entry-count", true},
    {"xattr", false},
    {"xattr-count", true},
    {"symlink", false},
    {"extent", false},
    {"past-end", false},
    {"block-count", true},
    {"orphan", true},
    {"data-checksum", false},
}};

}  // namespace

std::string_view name_of(Problem problem) noexcept { return kAbout[static_cast<std::size_t>(problem)].name; }
bool is_safe(Problem problem) noexcept { return kAbout[static_cast<std::size_t>(problem)].safe; }

Finding& Findings::add(Problem problem, InodeNo inode, std::string message) {
  return add(Finding{.problem = problem, .inode = inode, .block = {}, .message = std::move(message), .fixes = {}});
}
Finding& Findings::add(Problem problem, BlockNo block, std::string message) {
  return add(Finding{.problem = problem, .inode = {}, .block = block, .message = std::move(message), .fixes = {}});
}

Finding& Findings::add(Finding finding) {
  ++total_;
  ++count_[static_cast<std::size_t>(finding.problem)];
  if (list_.size() < kMost) return list_.emplace_back(std::move(finding));
  spare_ = std::move(finding);
  return spare_;
}

Fix erase_of(Key key) { return {.kind = Fix::Kind::kErase, .key = key, .bytes = {}}; }
Fix put_of(Key key, std::vector<std::byte> bytes) {
  return {.kind = Fix::Kind::kPut, .key = key, .bytes = std::move(bytes)};
}
Fix set_field(InodeNo inode, InodeField field, std::uint64_t number) {
  return {.kind = Fix::Kind::kSetField,
          .key = Key(inode, KeyKind::kInode, 0),
          .field = field,
          .number = number,
          .bytes = {}};
}

std::string quoted(std::string_view name) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out = "\"";
  for (const char letter : name) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte < 0x20 || byte == 0x7f || letter == '"' || letter == '\\') {
      out += "\\x";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += letter;
    }
  }
  return out + '"';
}

}  // namespace weft::fs::check
