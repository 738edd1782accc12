// A counter that is served over the simulated network and kept in a simulated file, while its host loses power: with mistakes planted
// that only some orders, delays or crashes show, and without.
#include "tests/sched/simulated_cluster.h"

#include <cstring>
#include <iostream>
#include <optional>
#include <set>

#include "sched/file.h"
#include "sched/io.h"
#include "sched/listener.h"
#include "sched/mutex.h"
#include "sched/stream.h"
#include "sched/task_group.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;
using io::Address;
using io::Listener;
using io::Stream;

enum class Mistake { kNone, kNoLock, kReplyBeforeSync, kSyncWithoutName };

class Counter {
 public:
  explicit Counter(Mistake mistake) : mistake_(mistake) {}

  // Until its host goes down.
  Status serve() {
    io::Descriptor file = TRY(io::open("/counter", O_RDWR | O_CREAT, 0600));
    if (mistake_ != Mistake::kSyncWithoutName) {
      const io::Descriptor directory = TRY(io::open("/", O_RDONLY | O_DIRECTORY));
      TRY(io::fsync(directory.get()));
    }
    TRY(io::read(file.get(), std::as_writable_bytes(std::span(&value_, 1)), 0));
    Listener listener = TRY(Listener::listen(Address::ipv4_any(80)));
    TaskGroup clients;
    for (;;) {
      Stream stream = TRY(listener.accept());
      clients.spawn("client", [this, stream = std::move(stream), fd = file.get()]() mutable -> Status {
        (void)answer(stream, fd);
        return {};
      });
    }
  }

 private:
  // A byte asks, the new value answers.
  Status answer(Stream& stream, int fd) {
    std::byte question{};
    while (TRY(stream.read_some({&question, 1})) != 0) {
      std::unique_lock lock(lock_, std::defer_lock);
      if (mistake_ != Mistake::kNoLock) lock.lock();
      const std::uint64_t next = value_ + 1;
      const auto bytes = std::as_bytes(std::span(&next, 1));
      for (std::size_t done = 0; done < bytes.size();) done += TRY(io::write(fd, bytes.subspan(done), done));
      if (mistake_ == Mistake::kReplyBeforeSync) TRY(stream.write_all(bytes));
      TRY(io::fdatasync(fd));
      value_ = next;
      if (mistake_ != Mistake::kReplyBeforeSync) TRY(stream.write_all(bytes));
    }
    return {};
  }

  const Mistake mistake_;
  Mutex lock_;
  std::uint64_t value_ = 0;  // guarded by lock_
};

// Values that were given out, by the client and in all.
struct Given {
  std::set<std::uint64_t> values;
  bool twice = false;

  Status count(const Address& server, int times) {
    const Deadline deadline = Deadline::after(1s);
    Stream stream = TRY(Stream::connect(server, {}, deadline));
    for (int i = 0; i < times; ++i) {
      TRY(stream.write_all(bytes_of("+"), deadline));
      std::uint64_t value = 0;
      if (TRY(stream.read_all(std::as_writable_bytes(std::span(&value, 1)), deadline)) != sizeof value)
        return fail(Errc::kClosed);
      twice = twice || !values.insert(value).second;
    }
    return {};
  }
};

struct Played {
  bool twice = false;
  std::size_t given = 0;
  std::string trace;
};

Played play(std::uint64_t seed, Mistake mistake) {
  Random random(seed);
  SimulatedCluster cluster(seed, {.link = LinkOptions::draw(random)});
  Given given;
  cluster.run([&] {
    const auto start = [&] {
      EXPECT_TRUE(cluster.b.start("server", [mistake] { (void)Counter(mistake).serve(); }).has_value());
    };
    start();
    for (SimulatedHost* host : {&cluster.a, &cluster.c})
      (void)host->start("client", [&] {
        for (int attempt = 0; attempt < 6; ++attempt) (void)given.count(cluster.b.address(80), 5);
      });
    for (int crash = 0; crash < 2; ++crash) {
      EXPECT_TRUE(sleep_for(std::chrono::microseconds(random.below(200'000))).has_value());
      cluster.b.kill(Crash::kPower);
      EXPECT_TRUE(cluster.b.restart().has_value());
      start();
    }
    EXPECT_TRUE(cluster.a.join().has_value() && cluster.c.join().has_value());
    cluster.b.kill(Crash::kProcess);
  });
  return {given.twice, given.values.size(), cluster.simulation.trace()};
}

std::optional<std::uint64_t> find_seed(Mistake mistake, std::uint64_t seeds) {
  for (std::uint64_t seed = 0; seed < seeds; ++seed)
    if (play(seed, mistake).twice) return seed;
  return std::nullopt;
}

constexpr std::uint64_t kSeeds = 200;

class PlantedMistakes : public testing::TestWithParam<Mistake> {};
INSTANTIATE_TEST_SUITE_P(Simulated, PlantedMistakes,
                         testing::Values(Mistake::kNoLock, Mistake::kReplyBeforeSync, Mistake::kSyncWithoutName));

TEST_P(PlantedMistakes, AreFoundByTryingSeedsAndReplayedFromTheSeed) {
  const auto seed = find_seed(GetParam(), kSeeds);
  ASSERT_TRUE(seed.has_value());
  std::cout << "mistake " << static_cast<int>(GetParam()) << " found by seed " << *seed << '\n';
  const Played first = play(*seed, GetParam());
  const Played again = play(*seed, GetParam());
  EXPECT_TRUE(first.twice && again.twice);
  EXPECT_TRUE(first.trace == again.trace);
}

TEST(SimulatedCluster, WithoutAMistakeEachSeedGivesEachValueOnce) {
  std::size_t given = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Played right = play(seed, Mistake::kNone);
    EXPECT_FALSE(right.twice) << "seed " << seed;
    given += right.given;
  }
  EXPECT_GT(given, kSeeds * 10) << "something happened";
  std::cout << given << " values given\n";
}

}  // namespace
}  // namespace weft::sched
