// tools/check_json.cc - what fsck.weft has found, as one JSON object. Its fields are part of the manual, tools/man/fsck.weft.8.
#include <nlohmann/json.hpp>

#include "tools/check_report.h"
#include "tools/describe.h"

namespace weft::tools {
namespace {

using fs::check::CheckReport;
using fs::check::Finding;
using fs::check::Fix;
using fs::check::InodeField;
using nlohmann::ordered_json;

std::string_view word_for(Fix::Kind kind) noexcept {
  switch (kind) {
    case Fix::Kind::kErase: return "erase";
    case Fix::Kind::kPut: return "put";
    case Fix::Kind::kSetField: return "set-field";
    case Fix::Kind::kSetType: return "set-type";
    case Fix::Kind::kAddName: return "add-name";
    case Fix::Kind::kReconnect: return "reconnect";
    case Fix::Kind::kMakeRoot: return "make-root";
  }
  return "?";
}

std::string_view word_for(InodeField field) noexcept {
  switch (field) {
    case InodeField::kMode: return "mode";
    case InodeField::kLinks: return "links";
    case InodeField::kSize: return "size_bytes";
    case InodeField::kDataBlocks: return "data_blocks";
    case InodeField::kDevice: return "device";
    case InodeField::kFlags: return "flags";
    case InodeField::kParent: return "parent";
    case InodeField::kEntryCount: return "entry_count";
    case InodeField::kXattrCount: return "xattr_count";
    case InodeField::kTimes: return "times";
    case InodeField::kReserved: return "reserved";
  }
  return "?";
}

ordered_json as_json(fs::Key key) {
  return {{"object", key.object}, {"kind", kind_text(key.kind())}, {"offset", key.offset()}};
}

ordered_json as_json(const Fix& fix) {
  ordered_json object = {{"edit", word_for(fix.kind)}, {"key", as_json(fix.key)}};
  if (fix.kind == Fix::Kind::kSetField) object["field"] = word_for(fix.field);
  const bool has_number =
      fix.kind == Fix::Kind::kSetField || fix.kind == Fix::Kind::kSetType || fix.kind == Fix::Kind::kAddName;
  if (has_number) object["value"] = fix.number;
  return object;
}

ordered_json as_json(const Finding& finding) {
  ordered_json object = {{"class", fs::check::name_of(finding.problem)},
                         {"inode", finding.inode.value()},
                         {"block", finding.block.value()},
                         {"key", nullptr},
                         {"message", finding.message},
                         {"repaired", finding.repaired},
                         {"follow_up", finding.follow_up},
                         {"remedy", fs::check::remedy_of(finding.problem)},
                         {"fixes", ordered_json::array()}};
  // The first edit is of what is wrong itself.
  if (!finding.fixes.empty()) object["key"] = as_json(finding.fixes.front().key);
  for (const Fix& fix : finding.fixes) object["fixes"].push_back(as_json(fix));
  return object;
}

std::string text_of(const ordered_json& object) {
  return object.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string describe_as_json(const CheckReport& report, std::string_view image) {
  ordered_json object = {{"image", image},
                         {"exit_status", exit_status(report)},
                         {"clean", report.clean()},
                         {"found", report.found},
                         {"uncorrected", report.uncorrected},
                         {"changed", report.changed},
                         {"rounds", report.rounds},
                         {"replayed_records", report.replayed_records},
                         {"inodes", report.inodes},
                         {"directories", report.directories},
                         {"names", report.names},
                         {"extents", report.extents},
                         {"nodes", report.nodes},
                         {"used_blocks", report.used_blocks},
                         {"total_blocks", report.total_blocks},
                         {"notes", report.notes},
                         {"findings", ordered_json::array()}};
  for (const Finding& finding : report.findings) object["findings"].push_back(as_json(finding));
  return text_of(object);
}

std::string describe_failure_as_json(std::string_view image, std::string_view error, int status) {
  return text_of({{"image", image}, {"exit_status", status}, {"error", error}});
}

}  // namespace weft::tools
