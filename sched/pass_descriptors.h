// sched/pass_descriptors.h - sends open files along with bytes, over a Unix stream or packet socket (SCM_RIGHTS of unix(7)).
//
// Both park as Stream's calls do: kTimedOut, kCancelled. What is received is close-on-exec and the caller's own.
// Tests: tests/sched/pass_descriptors_test.cc.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernel/result.h"
#include "sched/deadline.h"
#include "sched/descriptor.h"
#include "sched/stream.h"

namespace weft::sched::io {

constexpr std::size_t kMostDescriptors = 253;  // the kernel's own limit of one message

// At least one byte must go along, and as many as the result says have gone; the descriptors with the first. They stay
// the caller's. kInvalid: no byte, or more than kMostDescriptors. kUnsupported on a Network that is not the kernel's.
Result<std::size_t> send_descriptors(Stream& stream, std::span<const int> descriptors, std::span<const std::byte> from,
                                     Deadline deadline = Deadline::never());

struct ReceivedDescriptors {
  std::size_t size_bytes = 0;  // 0: the end
  std::vector<Descriptor> descriptors;
};
// What one send_descriptors() sent, or bytes without. kOutOfRange: some did not come through, as there were more than
// kMostDescriptors or this process may not open more (ulimit -n); all are then closed and the bytes dropped.
Result<ReceivedDescriptors> receive_descriptors(Stream& stream, std::span<std::byte> into,
                                                Deadline deadline = Deadline::never());

}  // namespace weft::sched::io
