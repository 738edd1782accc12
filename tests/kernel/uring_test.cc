#include "kernel/uring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace weft {
namespace {

using namespace std::chrono_literals;

Uring make_ring(const Uring::Options& options = {}) {
  auto ring = Uring::create(options);
  if (!ring) ADD_FAILURE() << ring.error().message();
  return std::move(ring).value();
}

// Submits and waits until `count` completions are there.
std::vector<UringCompletion> collect(Uring& ring, std::size_t count) {
  std::vector<UringCompletion> all;
  const auto give_up = std::chrono::steady_clock::now() + 5s;
  while (all.size() < count && std::chrono::steady_clock::now() < give_up) {
    EXPECT_TRUE(ring.submit_and_wait(1, 100ms));
    ring.reap([&](UringCompletion completion) { all.push_back(completion); });
  }
  EXPECT_EQ(all.size(), count);
  return all;
}

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int from) : fd(from) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

int memory_file() { return memfd_create("uring_test", MFD_CLOEXEC); }

TEST(Uring, NopComesBackWithItsTag) {
  auto ring = make_ring();
  ASSERT_TRUE(ring.prepare(uring::nop().tagged(42)));
  EXPECT_EQ(ring.unsubmitted(), 1U);
  EXPECT_TRUE(ring.work_pending());
  const auto done = collect(ring, 1);
  EXPECT_EQ(done.at(0).user_data, 42U);
  EXPECT_EQ(done.at(0).result, 0);
  EXPECT_FALSE(ring.work_pending());
}

TEST(Uring, KernelOfThisMachineGivesTheFastRing) {
  auto ring = make_ring();
  EXPECT_TRUE(ring.supports(UringOp::kRead));
  EXPECT_TRUE(ring.supports(UringOp::kMsgRing));
  EXPECT_FALSE(ring.supports(static_cast<UringOp>(255)));
  EXPECT_GE(ring.facts().entries, 256U);
  EXPECT_GE(ring.facts().completion_entries, 1024U);
  EXPECT_GE(ring.fd(), 0);
}

TEST(Uring, MoreRequestsThanTheQueueHoldsAreSubmittedOnTheWay) {
  auto ring = make_ring({.entries = 4});
  for (std::uint64_t tag = 0; tag < 100; ++tag) ASSERT_TRUE(ring.prepare(uring::nop().tagged(tag)));
  std::vector<bool> seen(100);
  for (const auto& completion : collect(ring, 100)) seen.at(completion.user_data) = true;
  for (const bool each : seen) EXPECT_TRUE(each);
}

TEST(Uring, WaitEndsAtItsTimeout) {
  auto ring = make_ring();
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE(ring.submit_and_wait(1, 20ms));
  EXPECT_GE(std::chrono::steady_clock::now() - before, 19ms);
  EXPECT_EQ(ring.reapable(), 0U);
  ASSERT_TRUE(ring.submit_and_wait(1, -5ms));  // a deadline already past does not wait
}

TEST(Uring, FileRequestsWriteReadSyncAndPunch) {
  auto ring = make_ring();
  Descriptor file(memory_file());
  std::array<char, 8> first{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'};
  std::array<iovec, 2> out{iovec{first.data(), 4}, iovec{first.data() + 4, 4}};
  ASSERT_TRUE(ring.prepare(uring::writev(file.fd, out.data(), 2, 100)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 8);
  ASSERT_TRUE(ring.prepare(uring::write(file.fd, "XY", 2, 102)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 2);
  ASSERT_TRUE(ring.prepare(uring::fsync(file.fd)));
  ASSERT_TRUE(ring.prepare(uring::fdatasync(file.fd)));
  for (const auto& completion : collect(ring, 2)) EXPECT_EQ(completion.result, 0);

  std::array<char, 8> back{};
  std::array<iovec, 2> in{iovec{back.data(), 3}, iovec{back.data() + 3, 5}};
  ASSERT_TRUE(ring.prepare(uring::readv(file.fd, in.data(), 2, 100)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 8);
  EXPECT_EQ(std::memcmp(back.data(), "abXYefgh", 8), 0);

  ASSERT_TRUE(ring.prepare(uring::fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 4)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 0);
  ASSERT_TRUE(ring.prepare(uring::read(file.fd, back.data(), 8, 100)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 8);
  EXPECT_EQ(std::memcmp(back.data(), "\0\0\0\0efgh", 8), 0);
}

TEST(Uring, RegisteredBuffersAndFilesServeRequests) {
  auto ring = make_ring();
  Descriptor file(memory_file());
  alignas(4096) static std::array<char, 8192> memory;
  std::memset(memory.data(), 'z', memory.size());
  const std::array<iovec, 2> buffers{iovec{memory.data(), 4096}, iovec{memory.data() + 4096, 4096}};
  ASSERT_TRUE(ring.register_buffers(buffers));
  ASSERT_TRUE(ring.register_files(4));
  ASSERT_TRUE(ring.update_file(3, file.fd));
  ASSERT_TRUE(ring.prepare(uring::write_fixed(3, memory.data(), 4096, 0, 0).with_flags(UringRequest::kFixedFile)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 4096);
  std::memset(memory.data(), 0, memory.size());
  ASSERT_TRUE(ring.prepare(uring::read_fixed(file.fd, memory.data() + 4096, 4096, 0, 1)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 4096);
  EXPECT_EQ(memory[4096], 'z');
  EXPECT_EQ(memory[0], 0);
  ASSERT_TRUE(ring.unregister_buffers());
}

TEST(Uring, FailedRequestReportsItsErrno) {
  auto ring = make_ring();
  char byte = 0;
  ASSERT_TRUE(ring.prepare(uring::read(-1, &byte, 1, 0)));
  EXPECT_EQ(collect(ring, 1).at(0).result, -EBADF);
}

TEST(Uring, PollOnceFiresOnceAndMultishotFiresAgain) {
  auto ring = make_ring();
  Descriptor once(eventfd(0, EFD_CLOEXEC));
  Descriptor often(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  ASSERT_TRUE(ring.prepare(uring::poll_add(once.fd, POLLIN).tagged(1)));
  ASSERT_TRUE(ring.prepare(uring::poll_add(often.fd, POLLIN, true).tagged(2)));
  ASSERT_TRUE(ring.submit());
  ASSERT_EQ(eventfd_write(once.fd, 1), 0);
  const auto first = collect(ring, 1);
  EXPECT_EQ(first.at(0).user_data, 1U);
  EXPECT_FALSE(first.at(0).more());
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(eventfd_write(often.fd, 1), 0);
    const auto fired = collect(ring, 1);
    EXPECT_EQ(fired.at(0).user_data, 2U);
    EXPECT_TRUE(fired.at(0).more());
    eventfd_t count = 0;
    ASSERT_EQ(eventfd_read(often.fd, &count), 0);
  }
}

TEST(Uring, CancelEndsAWaitingRequest) {
  auto ring = make_ring();
  Descriptor never(eventfd(0, EFD_CLOEXEC));
  ASSERT_TRUE(ring.prepare(uring::poll_add(never.fd, POLLIN).tagged(7)));
  ASSERT_TRUE(ring.submit());
  ASSERT_TRUE(ring.prepare(uring::cancel(7).tagged(8)));
  for (const auto& completion : collect(ring, 2))
    EXPECT_EQ(completion.result, completion.user_data == 7 ? -ECANCELED : 0);
  ASSERT_TRUE(ring.prepare(uring::cancel(7).tagged(9)));
  EXPECT_EQ(collect(ring, 1).at(0).result, -ENOENT);
}

TEST(Uring, CancelAllEmptiesTheRing) {
  auto ring = make_ring();
  Descriptor never(eventfd(0, EFD_CLOEXEC));
  for (std::uint64_t tag = 0; tag < 5; ++tag) ASSERT_TRUE(ring.prepare(uring::poll_add(never.fd, POLLIN).tagged(tag)));
  const auto cancelled = ring.cancel_all(2s);
  ASSERT_TRUE(cancelled) << cancelled.error().message();
  for (const auto& completion : collect(ring, 5)) EXPECT_EQ(completion.result, -ECANCELED);
  EXPECT_TRUE(ring.cancel_all(2s));  // with nothing to cancel
}

TEST(Uring, MessageFromAnotherRingWakesTheWaiter) {
  auto sleeper = make_ring();
  const int target = sleeper.fd();
  std::thread waker([target] {
    auto ring = make_ring({.entries = 4});
    ASSERT_TRUE(ring.prepare(uring::message(target, 77, 5).tagged(1)));
    EXPECT_EQ(collect(ring, 1).at(0).result, 0);
  });
  const auto woken = collect(sleeper, 1);
  EXPECT_EQ(woken.at(0).user_data, 77U);
  EXPECT_EQ(woken.at(0).result, 5);
  waker.join();
}

TEST(Uring, PostFromAThreadWithoutARingWakesTheWaiter) {
  auto sleeper = make_ring();
  const int target = sleeper.fd();
  Status posted;
  std::thread waker([&] { posted = Uring::post(target, 99, 3); });
  waker.join();
  if (!posted && posted.error() == Errc::kUnsupported) GTEST_SKIP() << posted.error().message();
  ASSERT_TRUE(posted) << posted.error().message();
  const auto woken = collect(sleeper, 1);
  EXPECT_EQ(woken.at(0).user_data, 99U);
  EXPECT_EQ(woken.at(0).result, 3);
}

TEST(Uring, RingMadeDisabledBelongsToTheThreadThatEnablesIt) {
  auto ring = make_ring({.start_disabled = true});
  std::thread owner([&] {
    ASSERT_TRUE(ring.enable());
    ASSERT_TRUE(ring.prepare(uring::nop().tagged(3)));
    EXPECT_EQ(collect(ring, 1).at(0).user_data, 3U);
  });
  owner.join();
}  // destroyed here, by a thread that is not the owner

TEST(Uring, RingForOpenDescriptorsOnlyRefusesToOpenAndConnect) {
  auto ring = make_ring({.open_descriptors_only = true});
  const Descriptor file(memory_file());
  const char text[] = "text";
  ASSERT_TRUE(ring.prepare(uring::write(file.fd, text, sizeof text, 0).tagged(1)));
  ASSERT_TRUE(ring.prepare(uring::poll_add(file.fd, POLLIN).tagged(2)));
  ASSERT_TRUE(ring.prepare(uring::fdatasync(file.fd).tagged(3)));
  for (const auto& done : collect(ring, 3)) EXPECT_GE(done.result, 0) << done.user_data;
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr nowhere{.sa_family = AF_UNIX, .sa_data = {}};
  ASSERT_TRUE(ring.prepare(uring::openat(AT_FDCWD, "/dev/null", O_RDONLY, 0).tagged(4)));
  ASSERT_TRUE(ring.prepare(uring::connect(socket.fd, &nowhere, sizeof nowhere).tagged(5)));
  ASSERT_TRUE(ring.prepare(uring::close(file.fd).tagged(6)));
  for (const auto& done : collect(ring, 3)) EXPECT_EQ(done.result, -EACCES) << done.user_data;
  EXPECT_TRUE(ring.cancel_all(1s));
}

TEST(Uring, DestructionByAnotherThreadLeavesThatThreadsOwnRingAlone) {
  auto mine = make_ring();
  std::optional<Uring> theirs;
  std::thread([&] { theirs.emplace(make_ring()); }).join();
  theirs.reset();
  ASSERT_TRUE(mine.prepare(uring::nop().tagged(4)));
  EXPECT_EQ(collect(mine, 1).at(0).user_data, 4U);
}

TEST(Uring, WideEntriesCarryPlainRequestsToo) {
  auto ring = make_ring({.entries = 8, .wide_entries = true});
  EXPECT_TRUE(ring.facts().wide_entries);
  for (std::uint64_t tag = 0; tag < 20; ++tag) ASSERT_TRUE(ring.prepare(uring::nop().tagged(tag)));
  EXPECT_EQ(collect(ring, 20).size(), 20U);
  const std::array<std::byte, 81> too_long{};
  EXPECT_EQ(ring.prepare_command(uring::command(0, 0), too_long).error(), Errc::kInvalid);
  Descriptor plain(memory_file());
  ASSERT_TRUE(ring.prepare_command(uring::command(plain.fd, 1).tagged(5), std::span(too_long).first(80)));
  EXPECT_EQ(collect(ring, 1).at(0).result, -EOPNOTSUPP);  // a memory file takes no commands, but understood the request
}

TEST(Uring, SocketsAcceptConnectSendAndReceive) {
  auto ring = make_ring();
  std::array<int, 2> pair{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
  Descriptor left(pair[0]);
  Descriptor right(pair[1]);
  std::array<char, 4> back{};
  ASSERT_TRUE(ring.prepare(uring::recv(right.fd, back.data(), 4, MSG_WAITALL).tagged(1)));
  ASSERT_TRUE(ring.prepare(uring::send(left.fd, "ping", 4, MSG_NOSIGNAL).tagged(2)));
  for (const auto& completion : collect(ring, 2)) EXPECT_EQ(completion.result, 4);
  EXPECT_EQ(std::memcmp(back.data(), "ping", 4), 0);
  ASSERT_TRUE(ring.prepare(uring::shutdown(left.fd, SHUT_WR)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 0);
  ASSERT_TRUE(ring.prepare(uring::recv(right.fd, back.data(), 4, 0)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 0);
}

TEST(Uring, OpenAndCloseGiveADescriptor) {
  auto ring = make_ring();
  ASSERT_TRUE(ring.prepare(uring::openat(AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0)));
  const int fd = collect(ring, 1).at(0).result;
  ASSERT_GE(fd, 0);
  ASSERT_TRUE(ring.prepare(uring::close(fd)));
  EXPECT_EQ(collect(ring, 1).at(0).result, 0);
}

TEST(Uring, ReapMayPrepareAndReapAgain) {
  auto ring = make_ring();
  ASSERT_TRUE(ring.prepare(uring::nop().tagged(1)));
  ASSERT_TRUE(ring.prepare(uring::nop().tagged(2)));
  ASSERT_TRUE(ring.submit_and_wait(2, 1s));
  std::vector<std::uint64_t> order;
  ring.reap([&](UringCompletion outer) {
    order.push_back(outer.user_data);
    ring.reap([&](UringCompletion inner) { order.push_back(inner.user_data); });
    EXPECT_TRUE(ring.prepare(uring::nop().tagged(3)));
  });
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(collect(ring, 1).at(0).user_data, 3U);
}

}  // namespace
}  // namespace weft
