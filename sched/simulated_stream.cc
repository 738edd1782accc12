#include "sched/simulated_stream.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sched/current.h"
#include "sched/simulation.h"
#include "sched/spawn.h"

namespace weft::sched {
namespace {

constexpr std::int64_t kNever = SimulatedLinks::kNever;

std::int64_t now_ns() noexcept { return now().count(); }
Deadline at(std::int64_t time_ns) noexcept { return Deadline(std::chrono::nanoseconds(time_ns)); }

std::size_t size_of(std::span<const iovec> vectors) noexcept {
  std::size_t size = 0;
  for (const iovec& vector : vectors) size += vector.iov_len;
  return size;
}

std::vector<std::byte> gather(std::span<const iovec> from, std::size_t size) {
  std::vector<std::byte> bytes;
  bytes.reserve(size);
  for (const iovec& vector : from) {
    const auto* first = static_cast<const std::byte*>(vector.iov_base);
    bytes.insert(bytes.end(), first, first + std::min(vector.iov_len, size - bytes.size()));
  }
  return bytes;
}

}  // namespace

void SimulatedConnection::note(unsigned from, std::string_view what) const {
  Simulation::note("stream " + std::to_string(number_) + " " + sides_[from].place.host->name() + ">" +
                   sides_[1 - from].place.host->name() + " " + std::string(what));
}

void SimulatedConnection::send(unsigned from, Kind kind, std::vector<std::byte> bytes, std::int64_t delay_ns) {
  Side& mine = sides_[from];
  Side& peer = sides_[1 - from];
  const SimulatedHost& here = *mine.place.host;
  const SimulatedHost& there = *peer.place.host;
  const std::int64_t before = peer.inbox.empty() ? 0 : peer.inbox.back().arrives_ns;
  const bool stalls = before == kNever || !links_.reaches(here, there);
  std::int64_t arrives = kNever;
  if (!stalls) {
    arrives = links_.arrival(here, there, bytes.size()) + delay_ns;
    if (links_.draw(links_.options(here, there).lost_permille)) arrives += links_.retransmission(0);
    arrives = std::max(arrives, before);
  }
  if ((stalls || !links_.both_ways(here, there)) && mine.unheard_since_ns == kNever) mine.unheard_since_ns = now_ns();
  static constexpr const char* kKinds[] = {"bytes", "end", "reset"};
  note(from, std::to_string(bytes.size()) + " " + kKinds[static_cast<std::size_t>(kind)] +
                 (stalls ? " stall" : " at " + std::to_string(arrives)));
  if ((!peer.open || peer.broken) && !stalls) {
    // Nobody knows this connection there any more.
    if (kind == Kind::kBytes) send_reset(1 - from, arrives - now_ns());
    return;
  }
  const bool tell = peer.inbox.empty() || kind != Kind::kBytes;
  peer.inbox_bytes += bytes.size();
  peer.inbox.push_back({.kind = kind, .arrives_ns = arrives, .bytes = std::move(bytes)});
  if (tell) peer.changed.notify();
}

void SimulatedConnection::send_reset(unsigned from, std::int64_t delay_ns) {
  const Side& peer = sides_[1 - from];
  if (!peer.open || peer.broken || (!peer.inbox.empty() && peer.inbox.back().kind == Kind::kReset)) return;
  send(from, Kind::kReset, {}, delay_ns);
}

// What has come to pass by now.
void SimulatedConnection::settle(Side& mine) {
  const std::int64_t now = now_ns();
  if (!mine.inbox.empty() && mine.inbox.back().kind == Kind::kReset && mine.inbox.back().arrives_ns <= now) {
    mine.inbox.pop_back();
    mine.broken = true;
    const bool ended = !mine.inbox.empty() && mine.inbox.back().kind == Kind::kEnd;
    mine.os_errno = ended ? EPIPE : ECONNRESET;
  } else if (!mine.broken && gives_up(mine).passed()) {
    std::erase_if(mine.inbox, [now](const Segment& segment) { return segment.arrives_ns > now; });
    mine.broken = true;
    mine.os_errno = ETIMEDOUT;
  }
}

Deadline SimulatedConnection::gives_up(const Side& mine) const noexcept {
  if (mine.unheard_since_ns == kNever || mine.broken) return Deadline::never();
  return at(mine.unheard_since_ns + links_.facts.stream_timeout.count());
}

std::unexpected<Error> SimulatedConnection::failed(Side& mine, const char* what) {
  const int os_errno = std::exchange(mine.os_errno, 0);
  return fail(Error::from_errno(os_errno != 0 ? os_errno : EPIPE, what));
}

Result<std::size_t> SimulatedConnection::read(unsigned which, std::span<const iovec> into, Deadline deadline) {
  simulation_point();
  if (stop_requested()) return fail(Errc::kCancelled);
  Side& mine = sides_[which];
  for (;;) {
    TRY(mine.place.enter());
    settle(mine);
    if (size_of(into) == 0) return 0;
    const std::int64_t next = mine.inbox.empty() ? kNever : mine.inbox.front().arrives_ns;
    if (next <= now_ns()) return mine.inbox.front().kind == Kind::kEnd ? 0 : take(which, into);
    if (mine.broken && mine.os_errno != 0) return failed(mine, "recv");
    if (mine.broken || mine.reads_ended) return 0;
    TRY(mine.changed.wait("network", deadline, std::min(at(next), gives_up(mine))));
  }
}

std::size_t SimulatedConnection::take(unsigned which, std::span<const iovec> into) {
  Side& mine = sides_[which];
  Side& peer = sides_[1 - which];
  std::size_t taken = 0;
  for (const iovec& vector : into) {
    std::span<std::byte> room(static_cast<std::byte*>(vector.iov_base), vector.iov_len);
    while (!room.empty() && !mine.inbox.empty()) {
      Segment& first = mine.inbox.front();
      if (first.kind != Kind::kBytes || first.arrives_ns > now_ns()) break;
      const std::size_t size = std::min(room.size(), first.bytes.size() - first.taken);
      std::copy_n(first.bytes.begin() + static_cast<std::ptrdiff_t>(first.taken), size, room.begin());
      room = room.subspan(size);
      first.taken += size;
      taken += size;
      if (first.taken == first.bytes.size()) mine.inbox.pop_front();
    }
  }
  if (links_.both_ways(*mine.place.host, *peer.place.host)) {
    const bool was_full = mine.inbox_bytes >= links_.facts.stream_bytes;
    mine.inbox_bytes -= taken;
    if (was_full) peer.changed.notify();
  } else {
    mine.unacknowledged_bytes += taken;
  }
  return taken;
}

Result<std::size_t> SimulatedConnection::write(unsigned which, std::span<const iovec> from, Deadline deadline) {
  simulation_point();
  if (stop_requested()) return fail(Errc::kCancelled);
  Side& mine = sides_[which];
  const Side& peer = sides_[1 - which];
  std::size_t size = size_of(from);
  for (;;) {
    TRY(mine.place.enter());
    settle(mine);
    if (mine.broken || mine.writes_ended) return failed(mine, "send");
    if (size == 0) return 0;
    if (peer.inbox_bytes < links_.facts.stream_bytes) break;
    const std::int64_t next = mine.inbox.empty() ? kNever : mine.inbox.back().arrives_ns;
    const bool ends = next != kNever && mine.inbox.back().kind == Kind::kReset;
    TRY(mine.changed.wait("network", deadline, std::min(at(ends ? next : kNever), gives_up(mine))));
  }
  // Now and then less than there is room for, and in two pieces: both must be expected of any stream.
  Random& random = links_.random();
  size = std::min(size, links_.facts.stream_bytes - peer.inbox_bytes);
  if (random.one_in(32)) size = 1 + random.below(size);
  std::vector<std::byte> bytes = gather(from, size);
  if (size > 1 && random.one_in(8)) {
    const auto middle = bytes.begin() + static_cast<std::ptrdiff_t>(1 + random.below(size - 1));
    std::vector<std::byte> first(bytes.begin(), middle);
    bytes.erase(bytes.begin(), middle);
    send(which, Kind::kBytes, std::move(first));
  }
  send(which, Kind::kBytes, std::move(bytes));
  return size;
}

Status SimulatedConnection::shut_down(unsigned which, io::Shutdown what) {
  simulation_point();
  Side& mine = sides_[which];
  TRY(mine.place.enter());
  settle(mine);
  if (mine.broken) return fail(Error::from_errno(ENOTCONN, "shutdown of a connection"));
  if (what != io::Shutdown::kWrite) mine.reads_ended = true;
  if (what != io::Shutdown::kRead && !std::exchange(mine.writes_ended, true)) send(which, Kind::kEnd);
  mine.changed.notify();
  return {};
}

void SimulatedConnection::close(unsigned which, bool reset) {
  Side& mine = sides_[which];
  if (!mine.open) return;
  settle(mine);
  const bool unread = std::any_of(mine.inbox.begin(), mine.inbox.end(),
                                  [](const Segment& segment) { return segment.kind == Kind::kBytes; });
  mine.open = false;
  mine.inbox.clear();
  mine.inbox_bytes = mine.unacknowledged_bytes = 0;
  if (mine.broken) return;
  if (reset || unread) {
    send_reset(which);
  } else if (!mine.writes_ended) {
    send(which, Kind::kEnd);
  }
}

// --- What happens to the network ------------------------------------------------------------------------------------

void SimulatedConnection::link_cut(const SimulatedHost& from, const SimulatedHost& to) {
  for (unsigned side : {0U, 1U}) {
    if (sides_[side].place.host == &from && sides_[1 - side].place.host == &to) stall(side, true);
    if (sides_[side].place.host == &to && sides_[1 - side].place.host == &from) stall(side, false);
  }
}

// `forwards`: what is under way from there does not arrive; else it does, and its sender does not hear of it.
void SimulatedConnection::stall(unsigned from, bool forwards) {
  Side& mine = sides_[from];
  Side& peer = sides_[1 - from];
  const std::int64_t now = now_ns();
  for (Segment& segment : peer.inbox) {
    if (segment.arrives_ns <= now) continue;
    if (forwards) segment.arrives_ns = kNever;
    mine.unheard_since_ns = std::min(mine.unheard_since_ns, now);
  }
  mine.changed.notify();  // it may have to give up now, at some time
}

void SimulatedConnection::host_went_down(const SimulatedHost& host) {
  for (unsigned which : {0U, 1U}) {
    Side& mine = sides_[which];
    if (mine.place.host != &host || mine.place.lives() || !mine.open) continue;
    if (host.answers()) {
      close(which, true);
    } else {
      stall(1 - which, true);
      mine.open = false;
      mine.inbox.clear();
      mine.inbox_bytes = mine.unacknowledged_bytes = 0;
    }
    mine.changed.notify();
  }
}

void SimulatedConnection::recover() {
  recover(0);
  recover(1);
}

void SimulatedConnection::recover(unsigned from) {
  Side& mine = sides_[from];
  Side& peer = sides_[1 - from];
  const SimulatedHost& here = *mine.place.host;
  const SimulatedHost& there = *peer.place.host;
  if (!links_.reaches(here, there)) return;
  const std::int64_t since = mine.unheard_since_ns;
  const std::int64_t missing = since == kNever ? 0 : now_ns() - since;
  if (links_.reaches(there, here)) {
    settle(mine);  // it may have given up before
    mine.unheard_since_ns = kNever;
    peer.inbox_bytes -= std::exchange(peer.unacknowledged_bytes, 0);
  }
  if (!peer.open) {
    peer.inbox.clear();
    peer.inbox_bytes = 0;
    if (since != kNever) send_reset(1 - from, links_.retransmission(missing));
  }
  std::int64_t before = 0;
  for (Segment& segment : peer.inbox) {
    if (segment.arrives_ns == kNever)
      segment.arrives_ns =
          std::max(before, links_.arrival(here, there, segment.bytes.size()) + links_.retransmission(missing));
    before = segment.arrives_ns;
  }
  mine.changed.notify();
  peer.changed.notify();
}

}  // namespace weft::sched
