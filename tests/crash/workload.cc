#include "tests/crash/workload.h"

#include <algorithm>
#include <cstdlib>

namespace weft::crash {

// Parts without the spaces around them; empty ones are left out.
std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(at), text.size());
    std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

Operation parse_operation(std::string_view text) { return split(text, ' '); }

std::uint64_t number_of(const Operation& operation, std::size_t word) {
  return word < operation.size() ? std::strtoull(operation[word].c_str(), nullptr, 10) : 0;
}

std::string Workload::text() const {
  std::string out = image;
  for (const Operation& operation : operations) {
    out += ';';
    for (const std::string& word : operation) out += ' ' + word;
  }
  return out;
}

Workload Workload::parse(std::string_view text) {
  Workload workload;
  for (const std::string& part : split(text, ';')) {
    if (workload.image.empty()) {
      workload.image = part;
    } else {
      workload.operations.push_back(parse_operation(part));
    }
  }
  return workload;
}

}  // namespace weft::crash
