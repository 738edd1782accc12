// tests/fs/fuse/requests.h - FUSE requests and answers as bytes, for tests that are the kernel's side of a session.
#pragma once

#include <gtest/gtest.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/exchange.h"
#include "fs/fuse/protocol.h"

namespace weft::fs::fuse::test {

template <typename T>
std::string raw(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

// `extension_words`: how much of the body's end is extensions, in units of eight bytes.
inline std::string request_of(std::uint32_t opcode, std::uint64_t node, std::string_view body,
                              std::uint16_t extension_words = 0) {
  fuse_in_header header{};
  header.len = static_cast<std::uint32_t>(sizeof header + body.size());
  header.opcode = opcode;
  header.unique = 1000 + opcode;
  header.nodeid = node;
  header.total_extlen = extension_words;
  return raw(header).append(body);
}

// The structure that an answer's `body` begins with; a shorter body fails the test.
template <typename T>
T body_as(std::string_view body) {
  T value{};
  EXPECT_GE(body.size(), sizeof value);
  std::memcpy(&value, body.data(), std::min(body.size(), sizeof value));
  return value;
}

// Keeps whole answers, the newest last.
struct KeptAnswers final : ReplySink {
  bool send(std::span<const iovec> parts) noexcept override {
    std::string& message = answers.emplace_back();
    for (const iovec& part : parts) message.append(static_cast<const char*>(part.iov_base), part.iov_len);
    return true;
  }
  std::vector<std::string> answers;
};

}  // namespace weft::fs::fuse::test
