// sched/select.h - waits at several channels, and does the first send or receive that can be done.
//
//   auto which = sched::select(Deadline::after(1s),
//                              sched::on_receive(jobs, [&](Result<Job> job) { ... }),       // kClosed when closed and drained
//                              sched::on_send(results, std::move(result), [&](Status sent) { ... }));
//   if (!which) ...                                                                           // kTimedOut, kCancelled
//
// Exactly one case comes about, and its handler is called, on the calling fiber, when the rest is over and no lock is held.
// Returns the place of that case. A channel that is closed counts as ready. Of several that are ready each is as likely; in a
// Simulation the seed decides. A value that was not sent stays the caller's. The same channel may be in several cases; a select
// never meets itself.
//
// Parks when nothing is ready, and then ends with kTimedOut at the deadline and with kCancelled when the fiber is asked to stop.
// From fibers and plain threads. Costs a lock and, when it waits, a place in the queue for each channel.
//
// How: all channels are locked, in the order of their addresses, while it looks and while it queues; therefore of two selects that
// face each other one is the first, and the other finds it waiting. After Go's runtime/select.go. Tests: tests/sched/select_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "kernel/result.h"
#include "sched/channel.h"
#include "sched/deadline.h"

namespace weft::sched {

// One send or receive of a select.
class SelectCase {
 public:
  SelectCase(const SelectCase&) = delete;
  SelectCase& operator=(const SelectCase&) = delete;
  virtual ~SelectCase() = default;

 protected:
  SelectCase(ChannelCore& channel, bool sends) noexcept : channel_(channel), sends_(sends) {}

 private:
  friend class Selection;
  // The channel's lock is held. kWouldWait: as if nothing had been.
  virtual ChannelStep attempt(Waiter*& woken) noexcept = 0;
  virtual void* place() noexcept = 0;
  // It has come about. No lock is held.
  virtual void finish(bool closed) = 0;

  [[nodiscard]] bool looks_ready() const noexcept;
  [[nodiscard]] ChannelQueue& queue() const noexcept { return sends_ ? channel_.senders_ : channel_.receivers_; }

  ChannelCore& channel_;
  const bool sends_;
  ChannelWait wait_;
};

template <typename T, typename F>
class ReceiveCase final : public SelectCase {
 public:
  ReceiveCase(Channel<T>& channel, F handler)
      : SelectCase(channel, false), from_(channel), handler_(std::move(handler)) {}

 private:
  ChannelStep attempt(Waiter*& woken) noexcept override { return from_.take(value_, woken); }
  void* place() noexcept override { return &value_; }
  void finish(bool closed) override {
    if (closed) {
      handler_(Result<T>(fail(Errc::kClosed)));
    } else {
      handler_(Result<T>(*std::move(value_)));
    }
  }

  Channel<T>& from_;
  F handler_;
  std::optional<T> value_;
};

template <typename T, typename F>
class SendCase final : public SelectCase {
 public:
  SendCase(Channel<T>& channel, T& value, F handler)
      : SelectCase(channel, true), to_(channel), value_(value), handler_(std::move(handler)) {}

 private:
  ChannelStep attempt(Waiter*& woken) noexcept override { return to_.put(value_, woken); }
  void* place() noexcept override { return &value_; }
  void finish(bool closed) override { handler_(closed ? Status(fail(Errc::kClosed)) : Status()); }

  Channel<T>& to_;
  T& value_;
  F handler_;
};

// handler(Result<T>)
template <typename T, typename F>
ReceiveCase<T, F> on_receive(Channel<T>& channel, F handler) {
  return ReceiveCase<T, F>(channel, std::move(handler));
}
// handler(Status). `value` is moved from only if it is sent, and must live as long as the select.
template <typename T, typename F>
SendCase<T, F> on_send(Channel<T>& channel, std::type_identity_t<T>&& value, F handler) {
  return SendCase<T, F>(channel, value, std::move(handler));
}

// For a number of cases that is known at run time only; none: sleeps until the deadline.
Result<std::size_t> select_among(std::span<SelectCase* const> cases, Deadline deadline = Deadline::never());
// kAgain: nothing is ready. Does not park.
Result<std::size_t> try_select_among(std::span<SelectCase* const> cases);

template <typename... Cases>
  requires(std::is_base_of_v<SelectCase, std::remove_reference_t<Cases>> && ...)
Result<std::size_t> select(Deadline deadline, Cases&&... cases) {
  const std::array<SelectCase*, sizeof...(Cases)> list{&cases...};
  return select_among(list, deadline);
}
template <typename... Cases>
  requires(std::is_base_of_v<SelectCase, std::remove_reference_t<Cases>> && ...)
Result<std::size_t> select(Cases&&... cases) {
  return select(Deadline::never(), cases...);
}
template <typename... Cases>
  requires(std::is_base_of_v<SelectCase, std::remove_reference_t<Cases>> && ...)
Result<std::size_t> try_select(Cases&&... cases) {
  const std::array<SelectCase*, sizeof...(Cases)> list{&cases...};
  return try_select_among(list);
}

}  // namespace weft::sched
