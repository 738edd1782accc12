// tools/report.h - what a command found, as text for people or as JSON for programs, from one description.
//
//   weft_info, weft_dump, weft_stat  ->  describe_*  ->  [Report]  ->  standard output
//
// A report has fields, lists of further reports, and remarks on what is wrong. Strings may hold any bytes: text() shows what is
// not printable as \xNN, so that a name on disk cannot write to the terminal; json() replaces what is not UTF-8.
// A value; thread-safe as one. Tests: tests/tools/report_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace weft::tools {

class Report {
 public:
  using Value = std::variant<std::uint64_t, std::int64_t, bool, std::string>;

  explicit Report(std::string title = {}) : title_(std::move(title)) {}

  // A field of a struct on disk, `offset` bytes from the start of its block. The note is for people only.
  Report& at(std::uint32_t offset, std::string name, Value value, std::string note = {});
  Report& add(std::string name, Value value, std::string note = {});
  // For programs only: people have it in the title.
  Report& hidden(std::string name, Value value);
  // Items of a list; text() shows them line by line under its name.
  Report& list(std::string name, std::vector<Report> items);
  // What cannot be so.
  Report& wrong(std::string what);

  // Here or in an item.
  [[nodiscard]] bool is_wrong() const noexcept;
  [[nodiscard]] const std::string& title() const noexcept { return title_; }
  [[nodiscard]] std::string text() const;  // ends with a line break
  [[nodiscard]] std::string json() const;  // one line

 private:
  static constexpr std::uint32_t kNoOffset = ~std::uint32_t{0};
  struct Field {
    std::uint32_t offset;
    std::string name;
    Value value;
    std::string note;
    bool hidden = false;
  };
  struct List {
    std::string name;
    std::vector<Report> items;
  };
  struct Json;
  void print(std::string& out, unsigned indent) const;

  std::string title_;
  std::vector<Field> fields_;
  std::vector<List> lists_;
  std::vector<std::string> wrong_;
};

}  // namespace weft::tools
