#include "tools/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernel/printable.h"

namespace weft::tools {
namespace {

std::string shown(const Report::Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return printable(held);
        } else if constexpr (std::is_same_v<T, bool>) {
          return held ? "yes" : "no";
        } else {
          return std::to_string(held);
        }
      },
      value);
}

}  // namespace

Report& Report::at(std::uint32_t offset, std::string name, Value value, std::string note) {
  fields_.push_back({offset, std::move(name), std::move(value), std::move(note)});
  return *this;
}
Report& Report::add(std::string name, Value value, std::string note) {
  return at(kNoOffset, std::move(name), std::move(value), std::move(note));
}
Report& Report::hidden(std::string name, Value value) {
  add(std::move(name), std::move(value));
  fields_.back().hidden = true;
  return *this;
}
Report& Report::list(std::string name, std::vector<Report> items) {
  lists_.push_back({std::move(name), std::move(items)});
  return *this;
}
Report& Report::wrong(std::string what) {
  wrong_.push_back(std::move(what));
  return *this;
}

bool Report::is_wrong() const noexcept {
  return !wrong_.empty() || std::ranges::any_of(lists_, [](const List& list) {
    return std::ranges::any_of(list.items, [](const Report& item) { return item.is_wrong(); });
  });
}

void Report::print(std::string& out, unsigned indent) const {
  const std::string margin(indent, ' ');
  if (!title_.empty()) out += margin + printable(title_) + "\n";
  std::size_t width = 0;
  bool offsets = false;
  for (const Field& field : fields_) {
    if (field.hidden) continue;
    width = std::max(width, field.name.size());
    offsets = offsets || field.offset != kNoOffset;
  }
  const std::string inner = title_.empty() ? margin : margin + "  ";
  for (const Field& field : fields_) {
    if (field.hidden) continue;
    out += inner;
    if (offsets) out += field.offset == kNoOffset ? "      " : fmt::format("{:>4}  ", field.offset);
    out += fmt::format("{:<{}}  {}", field.name, width, shown(field.value));
    if (!field.note.empty()) out += "   " + printable(field.note);
    out += "\n";
  }
  for (const List& list : lists_) {
    out += inner + list.name + (list.items.empty() ? ": none\n" : "\n");
    for (const Report& item : list.items) item.print(out, static_cast<unsigned>(inner.size()) + 2);
  }
  for (const std::string& what : wrong_) out += inner + "WRONG: " + printable(what) + "\n";
}

std::string Report::text() const {
  std::string out;
  print(out, 0);
  return out;
}

struct Report::Json {
  static nlohmann::ordered_json of(const Report& report) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    if (!report.title_.empty()) object["title"] = report.title_;
    for (const Field& field : report.fields_) {
      std::visit([&](const auto& held) { object[field.name] = held; }, field.value);
    }
    for (const List& list : report.lists_) {
      auto& array = object[list.name] = nlohmann::ordered_json::array();
      for (const Report& item : list.items) array.push_back(of(item));
    }
    if (!report.wrong_.empty()) object["wrong"] = report.wrong_;
    return object;
  }
};

std::string Report::json() const {
  return Json::of(*this).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace weft::tools
