// sched/json_text.h - text between quotation marks, as JSON has it. Internal to sched/. Pure.
#pragma once

#include <string>
#include <string_view>

#include "kernel/printable.h"

namespace weft::sched {

// What is no printable UTF-8 is shown as kernel/printable.h does: a fiber's name may be cut within a character.
inline std::string json_quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted += '"';
}

}  // namespace weft::sched
