#include "fs/check/finding.h"

#include <array>
#include <utility>

#include "kernel/printable.h"

namespace weft::fs::check {
namespace {

struct About {
  std::string_view name;
  bool safe;
  std::string_view remedy = "edit";
};
constexpr std::array<About, kProblems> kAbout = {{
    {"superblock-slot", true, "rewrite"},
    {"log", false, "end-log"},
    {"group-table", true, "rewrite"},
    {"bitmap", true, "rewrite"},
    {"used-marked-free", true, "rewrite"},
    {"free-marked-used", true, "rewrite"},
    {"free-count", true, "rewrite"},
    {"inode-count", true, "rewrite"},
    {"next-inode", true, "rewrite"},
    {"tree-node", false, "rebuild"},
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
    {"data-checksum", false, "none"},
}};

}  // namespace

std::string_view name_of(Problem problem) noexcept { return kAbout[static_cast<std::size_t>(problem)].name; }
bool is_safe(Problem problem) noexcept { return kAbout[static_cast<std::size_t>(problem)].safe; }
std::string_view remedy_of(Problem problem) noexcept { return kAbout[static_cast<std::size_t>(problem)].remedy; }

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
  std::string out = "\"";
  for (const char letter : printable(name)) {
    if (letter == '"') {
      out += "\\x22";
    } else {
      out += letter;
    }
  }
  return out + '"';
}

}  // namespace weft::fs::check
