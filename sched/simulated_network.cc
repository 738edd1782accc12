#include "sched/simulated_network.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <vector>

#include "kernel/check.h"
#include "sched/current.h"
#include "sched/io.h"
#include "sched/simulated_datagrams.h"
#include "sched/simulated_event.h"
#include "sched/simulated_files.h"
#include "sched/simulated_links.h"
#include "sched/simulated_stream.h"
#include "sched/simulation.h"
#include "sched/socket.h"
#include "sched/spawn.h"

namespace weft::sched {
namespace {

using io::Address;
using Place = SimulatedHost::Place;

constexpr std::uint16_t kFirstFreePort = 49'152;

bool is_own_of_any(const Address& host) {
  return host == Address::ipv4_loopback(0) || host == Address::ipv6_loopback(0) || host == Address::ipv4_any(0) ||
         host == Address::ipv6_any(0) || host.family() == io::AddressFamily::kUnix;
}

Address unnamed() {
  const sockaddr raw{AF_UNIX, {}};
  return Address::from_raw(&raw, sizeof raw.sa_family);
}

std::unexpected<Error> failed(int os_errno, const char* what, const Address& address) {
  return fail(Error::from_errno(os_errno, what + address.to_text()));
}

struct SimulatedListener {
  struct Pending {
    std::int64_t arrives_ns = 0;
    std::shared_ptr<SimulatedConnection> connection;
  };
  Place place;
  Address address;
  std::size_t backlog = 0;
  SimulatedEvent changed;
  std::deque<Pending> pending;
  bool shut_down = false;

  // Nobody will accept these.
  void reset_pending() {
    for (const Pending& one : pending) one.connection->close(1, true);
    pending.clear();
  }
};

// What is bound to ports and Unix names, of all hosts.
template <typename T>
class Bound {
 public:
  [[nodiscard]] T* find(const SimulatedHost& host, const Address& at) const {
    const auto found = bound_.find(key(host, at));
    return found != bound_.end() ? found->second : nullptr;
  }
  void add(T& what) { bound_[key(*what.place.host, what.address)] = &what; }
  void remove(const T& what) {
    const auto found = bound_.find(key(*what.place.host, what.address));
    if (found != bound_.end() && found->second == &what) bound_.erase(found);
  }
  void remove_all_of(const SimulatedHost& host) {
    std::erase_if(bound_, [&](const auto& entry) { return entry.first.first == host.index(); });
  }
  template <typename See>
  void for_each(See&& see) {
    for (const auto& entry : bound_) see(*entry.second);
  }

 private:
  using Key = std::pair<unsigned, std::string>;
  static Key key(const SimulatedHost& host, const Address& at) {
    return {host.index(), at.family() == io::AddressFamily::kUnix ? at.to_text() : std::to_string(at.port())};
  }
  std::map<Key, T*> bound_;
};

}  // namespace

// To each fiber the files of its host.
class SimulatedHostFiles final : public io::FileSystem {
 public:
  void perform(std::span<io::Call> calls) noexcept override {
    const auto place = Place::current();
    if (place) {
      place->host->files().perform(calls);
      if (place->enter()) return;
    }
    // The fiber of a host that went down learns no more than that, whatever became of its calls.
    for (io::Call& call : calls) call.result = place || place.error() == Errc::kCancelled ? -ECANCELED : -EOPNOTSUPP;
  }
};

struct SimulatedNetwork::Impl final : SimulatedSurroundings {
  explicit Impl(const Options& options) : links(options) {}

  SimulatedLinks links;
  std::vector<std::unique_ptr<SimulatedHost>> hosts;
  SimulatedHostFiles files;
  Bound<SimulatedListener> listeners;
  Bound<SimulatedMailbox> mailboxes;
  std::vector<std::weak_ptr<SimulatedConnection>> connections;  // some of which are over
  std::size_t next_prune = 64;
  std::uint64_t made = 0;
  std::map<unsigned, std::uint16_t> next_port;

  // Null: nobody's.
  SimulatedHost* find(SimulatedHost& from, const Address& to) {
    const Address wanted = to.with_port(0);
    if (is_own_of_any(wanted)) return &from;
    const auto found = std::find_if(hosts.begin(), hosts.end(), [&](auto& host) { return host->address() == wanted; });
    return found != hosts.end() ? found->get() : nullptr;
  }
  std::uint16_t free_port(const SimulatedHost& host) {
    std::uint16_t& next = next_port.try_emplace(host.index(), kFirstFreePort).first->second;
    const std::uint16_t port = next;
    next = port == 65'535 ? kFirstFreePort : static_cast<std::uint16_t>(port + 1);
    return port;
  }
  // Where a socket of `host` is that is to be at `at`.
  template <typename T>
  Result<Address> to_bind(Bound<T>& bound, SimulatedHost& host, Address at) {
    if (find(host, at) != &host) return failed(EADDRNOTAVAIL, "bind to ", at);
    if (at.family() != io::AddressFamily::kUnix && at.port() == 0) {
      do at = at.with_port(free_port(host));
      while (bound.find(host, at) != nullptr);
    }
    if (bound.find(host, at) != nullptr) return failed(EADDRINUSE, "bind to ", at);
    return at;
  }
  std::shared_ptr<SimulatedConnection> connect(const Place& from, const Address& local, SimulatedListener& to,
                                               const Address& remote) {
    if (connections.size() >= next_prune) {
      std::erase_if(connections, [](const auto& one) {
        const auto connection = one.lock();
        return connection == nullptr || connection->over();
      });
      next_prune = 2 * connections.size() + 64;
    }
    auto made_one = std::make_shared<SimulatedConnection>(links, ++made);
    made_one->side(0).place = from;
    made_one->side(0).address = local;
    made_one->side(1).place = to.place;
    made_one->side(1).address = remote;
    connections.push_back(made_one);
    return made_one;
  }
  template <typename See>
  void for_each_connection(See&& see) {
    // By copies: what happens may end some of them.
    const auto all = connections;
    for (const auto& one : all)
      if (const auto connection = one.lock()) see(*connection);
  }
  void cut(const SimulatedHost& from, const SimulatedHost& to) {
    if (!links.set_cut(from, to, true)) return;
    SimulatedLinks::note("cut", from, to);
    lose(from, to);
  }
  void heal(const SimulatedHost& from, const SimulatedHost& to) {
    if (!links.set_cut(from, to, false)) return;
    SimulatedLinks::note("healed", from, to);
    for_each_connection([](SimulatedConnection& connection) { connection.recover(); });
  }
  void lose(const SimulatedHost& from, const SimulatedHost& to) {
    for_each_connection([&](SimulatedConnection& connection) { connection.link_cut(from, to); });
    mailboxes.for_each([&](SimulatedMailbox& mailbox) {
      if (mailbox.place.host == &to) mailbox.lose_from(from);
    });
  }

  void went_down(SimulatedHost& host) override {
    for_each_connection([&](SimulatedConnection& connection) { connection.host_went_down(host); });
    listeners.for_each([&](SimulatedListener& listener) {
      if (listener.place.host != &host) return;
      listener.pending.clear();  // their connections went down just now
      listener.changed.notify();
    });
    mailboxes.for_each([&](SimulatedMailbox& mailbox) {
      if (mailbox.place.host == &host) mailbox.changed.notify();
    });
    listeners.remove_all_of(host);
    mailboxes.remove_all_of(host);
  }

  void came_back(SimulatedHost& /*host*/) override {
    for_each_connection([](SimulatedConnection& connection) { connection.recover(); });
  }
};

namespace {

class SimulatedListenerEnd final : public io::Network::ListenerEnd {
 public:
  SimulatedListenerEnd(Bound<SimulatedListener>& all, std::unique_ptr<SimulatedListener> mine)
      : all_(all), mine_(std::move(mine)) {}
  ~SimulatedListenerEnd() override {
    all_.remove(*mine_);
    mine_->reset_pending();
  }
  Result<std::unique_ptr<io::Network::StreamEnd>> accept(Deadline deadline) override {
    simulation_point();
    if (stop_requested()) return fail(Errc::kCancelled);
    for (;;) {
      TRY(mine_->place.enter());
      if (mine_->shut_down) return fail(Errc::kClosed);
      const bool any = !mine_->pending.empty();
      const Deadline next =
          any ? Deadline(std::chrono::nanoseconds(mine_->pending.front().arrives_ns)) : Deadline::never();
      if (any && next.passed()) {
        auto connection = std::move(mine_->pending.front().connection);
        mine_->pending.pop_front();
        return std::make_unique<SimulatedStreamEnd>(std::move(connection), 1);
      }
      TRY(mine_->changed.wait("network", deadline, next));
    }
  }
  void shutdown() noexcept override {
    mine_->shut_down = true;
    all_.remove(*mine_);
    mine_->reset_pending();
    mine_->changed.notify();
  }
  [[nodiscard]] Address local_address() const override { return mine_->address; }

 private:
  Bound<SimulatedListener>& all_;
  std::unique_ptr<SimulatedListener> mine_;
};

}  // namespace

SimulatedNetwork::SimulatedNetwork(const Options& options) : impl_(std::make_unique<Impl>(options)) {}
SimulatedNetwork::~SimulatedNetwork() = default;

SimulatedHost& SimulatedNetwork::add_host(std::string name) {
  const std::size_t number = impl_->hosts.size() + 1;
  WEFT_CHECK(number < 65'536);
  const std::string text = "10.0." + std::to_string(number >> 8) + "." + std::to_string(number & 0xFF);
  return add_host(std::move(name), *Address::ip(text, 0));
}

SimulatedHost& SimulatedNetwork::add_host(std::string name, const Address& address) {
  const Address host = address.with_port(0);
  WEFT_CHECK(!is_own_of_any(host) && host.family() != io::AddressFamily::kNone);
  for (const auto& other : impl_->hosts) WEFT_CHECK(other->address() != host);
  const auto index = static_cast<unsigned>(impl_->hosts.size());
  impl_->hosts.push_back(
      std::make_unique<SimulatedHost>(*impl_, index, std::move(name), host, impl_->links.random().next()));
  return *impl_->hosts.back();
}

io::FileSystem& SimulatedNetwork::files() noexcept { return impl_->files; }

void SimulatedNetwork::set_link(const SimulatedHost& from, const SimulatedHost& to, const LinkOptions& options) {
  impl_->links.set_options(from, to, options);
}

void SimulatedNetwork::cut(const SimulatedHost& from, const SimulatedHost& to) { impl_->cut(from, to); }
void SimulatedNetwork::heal(const SimulatedHost& from, const SimulatedHost& to) { impl_->heal(from, to); }

void SimulatedNetwork::partition(std::span<SimulatedHost* const> island) {
  const auto inside = [&](const auto& host) {
    return std::find(island.begin(), island.end(), host.get()) != island.end();
  };
  for (const auto& one : impl_->hosts)
    for (const auto& other : impl_->hosts)
      if (inside(one) != inside(other)) impl_->cut(*one, *other);
}

void SimulatedNetwork::heal_all() {
  for (const auto& one : impl_->hosts)
    for (const auto& other : impl_->hosts) impl_->heal(*one, *other);
}

// --- Sockets --------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<io::Network::ListenerEnd>> SimulatedNetwork::listen(const Address& at,
                                                                           const io::SocketOptions& options) {
  simulation_point();
  if (options.kind == io::SocketKind::kPacket) return fail(Errc::kUnsupported, "no packet sockets in a Simulation");
  const Place here = TRY(Place::current());
  auto made = std::make_unique<SimulatedListener>();
  made->place = here;
  made->address = TRY(impl_->to_bind(impl_->listeners, *here.host, at));
  made->backlog = std::max<std::size_t>(options.backlog, 1);
  impl_->listeners.add(*made);
  return std::make_unique<SimulatedListenerEnd>(impl_->listeners, std::move(made));
}

Result<std::unique_ptr<io::Network::DatagramEnd>> SimulatedNetwork::bind(const Address& at, const io::SocketOptions&) {
  simulation_point();
  const Place here = TRY(Place::current());
  auto made = std::make_unique<SimulatedMailbox>();
  made->place = here;
  made->address = TRY(impl_->to_bind(impl_->mailboxes, *here.host, at));
  // What receivers see it come from, and answer to.
  if (made->address.with_port(0) == Address::ipv4_any(0) || made->address.with_port(0) == Address::ipv6_any(0))
    made->address = here.host->address(made->address.port());
  impl_->mailboxes.add(*made);
  Impl& network = *impl_;
  return std::make_unique<SimulatedDatagramEnd>(
      network.links, std::move(made),
      [&network](const SimulatedHost& from, const Address& to) -> Result<SimulatedMailbox*> {
        SimulatedHost* there = network.find(const_cast<SimulatedHost&>(from), to);
        if (there == nullptr) return failed(ENETUNREACH, "send to ", to);
        return network.mailboxes.find(*there, to);
      },
      [&network](SimulatedMailbox& gone) { network.mailboxes.remove(gone); });
}

// One attempt after the other, each a question and an answer that take their time, until somebody answers.
Result<std::unique_ptr<io::Network::StreamEnd>> SimulatedNetwork::connect(const Address& to,
                                                                          const io::SocketOptions& options,
                                                                          Deadline deadline) {
  simulation_point();
  if (options.kind == io::SocketKind::kPacket) return fail(Errc::kUnsupported, "no packet sockets in a Simulation");
  if (stop_requested()) return fail(Errc::kCancelled);
  const Place here = TRY(Place::current());
  SimulatedHost* there = impl_->find(*here.host, to);
  if (there == nullptr) return failed(ENETUNREACH, "connect to ", to);
  Address local = to.family() == io::AddressFamily::kUnix ? unnamed() : here.host->address();
  if (there == here.host && to.family() != io::AddressFamily::kUnix) local = to.with_port(0);
  if (options.from) {
    local = *options.from;
    if (impl_->find(*here.host, local) != here.host) return failed(EADDRNOTAVAIL, "bind to ", local);
  }
  if (local.family() != io::AddressFamily::kUnix && local.port() == 0)
    local = local.with_port(impl_->free_port(*here.host));

  SimulatedLinks& links = impl_->links;
  const auto wait_until = [&](std::int64_t time_ns) -> Status {
    const Deadline until{std::chrono::nanoseconds(time_ns)};
    if (!until.passed()) TRY(sleep_until(std::min(deadline, until)));
    if (!until.passed()) return fail(Errc::kTimedOut);
    return here.enter();
  };
  const auto lost = [&](const SimulatedHost& a, const SimulatedHost& b) {
    return !links.reaches(a, b) || links.draw(links.options(a, b).lost_permille);
  };
  const std::int64_t gives_up = now().count() + links.facts.connect_timeout.count();
  std::int64_t patience = 1'000'000'000;
  for (;; patience *= 2) {
    const std::int64_t asked = now().count();
    const std::int64_t arrives = links.arrival(*here.host, *there, 0);
    SimulatedLinks::note("connect to " + to.to_text(), *here.host, *there);
    if (!lost(*here.host, *there)) {
      TRY(wait_until(arrives));
      SimulatedListener* listener = impl_->listeners.find(*there, to);
      const bool full = listener != nullptr && listener->pending.size() >= listener->backlog;
      if (!full && there->answers() && !lost(*there, *here.host)) {
        const std::int64_t answered = links.arrival(*there, *here.host, 0);
        std::unique_ptr<SimulatedStreamEnd> made;
        if (listener != nullptr) {
          auto connection = impl_->connect(here, local, *listener, to);
          made = std::make_unique<SimulatedStreamEnd>(connection, 0);
          listener->pending.push_back({answered, std::move(connection)});
          if (listener->pending.size() == 1) listener->changed.notify();
        }
        TRY(wait_until(answered));
        if (made == nullptr) return failed(ECONNREFUSED, "connect to ", to);
        return made;
      }
    }
    TRY(wait_until(std::min(std::max(asked + patience, now().count()), gives_up)));
    if (now().count() >= gives_up) return failed(ETIMEDOUT, "connect to ", to);
  }
}

}  // namespace weft::sched
