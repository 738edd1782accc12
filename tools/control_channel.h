// tools/control_channel.h - the few words that a mount's supervisor and its server have to say to each other.
//
//   server -> kMount (and the descriptor that has the image locked) -> supervisor -> kConnected and descriptors, or kError
//          -> kServing, or kError ->
//
// A message is a kind and a few strings, at most one descriptor with it. Over a socket of whole messages; a call blocks the thread.
// Errors: kClosed when the other end is gone. Tests: tests/tools/control_channel_test.cc
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel/result.h"

namespace weft::tools {

enum class ControlKind : std::uint8_t { kMount = 1, kConnected, kDescriptor, kServing, kError };

struct ControlMessage {
  ControlKind kind{};
  std::uint64_t number = 0;             // mount flags; how many descriptors follow; an Errc
  std::vector<std::string> words = {};  // without zero bytes
  int descriptor = -1;                  // sent: stays the caller's. Received: the caller's from there on
};

// What a supervisor listens to. A mount is asked for once and before the server has confined itself: one that a hostile image has taken
// over must not have the supervisor's privileges for the asking.
[[nodiscard]] bool server_may_say(const ControlMessage& message, bool mounted) noexcept;

Status send_control(int socket, const ControlMessage& message);
Result<ControlMessage> receive_control(int socket);

}  // namespace weft::tools
