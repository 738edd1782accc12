#include "sched/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>
#include <vector>

#include "sched/io.h"
#include "sched/spawn.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {
namespace {

using Files = InEachMode;
INSTANTIATE_TEST_SUITE_P(Io, Files,
                         testing::Values(IoMode::kRing, IoMode::kRestrictedRing, IoMode::kEpoll, IoMode::kThread),
                         name_of);

TEST_P(Files, AreMadeLookedAtAndClosed) {
  const std::size_t before = open_descriptors();
  const std::string name =
      "weft-file-test-" + std::to_string(getpid()) + "-" + std::to_string(static_cast<int>(GetParam()));
  run([&] {
    auto directory = io::open("/tmp", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(directory.has_value()) << directory.error().message();
    auto file = io::open_at(directory->get(), name, O_RDWR | O_CREAT | O_EXCL, 0600);
    ASSERT_TRUE(file.has_value()) << file.error().message();
    EXPECT_NE(fcntl(file->get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(io::write(file->get(), bytes_of("12345"), 0).value(), 5U);
    EXPECT_EQ(io::stat(file->get())->stx_size, 5U);
    EXPECT_EQ(io::stat("/tmp/" + name)->stx_size, 5U);
    EXPECT_EQ(io::stat_at(directory->get(), name)->stx_mode & 0777, 0600);
    EXPECT_EQ(io::open_at(directory->get(), name, O_RDWR | O_CREAT | O_EXCL, 0600).error(), Errc::kExists);
    const int number = file->get();
    EXPECT_TRUE(io::close(std::move(*file)).has_value());
    EXPECT_EQ(fcntl(number, F_GETFD), -1);
    EXPECT_TRUE(io::rename("/tmp/" + name, "/tmp/" + name + "-new").has_value());
    auto gone = io::stat("/tmp/" + name);
    EXPECT_EQ(gone.error(), Errc::kNotFound);
    EXPECT_NE(gone.error().message().find(name), std::string::npos);
    EXPECT_TRUE(io::unlink("/tmp/" + name + "-new").has_value());
    EXPECT_EQ(io::unlink("/tmp/" + name + "-new").error(), Errc::kNotFound);
    EXPECT_EQ(io::rename("/tmp/" + name, "/tmp/x").error(), Errc::kNotFound);
    EXPECT_FALSE(io::close(io::Descriptor(-1)).has_value());
  });
  EXPECT_EQ(open_descriptors(), before);
}

TEST(FileLimit, FibersWaitForRoomAmongTheRequestsInFlight) {
  char path[] = "/tmp/weft-file-limit-XXXXXX";
  const io::Descriptor file(mkstemp(path));
  unlink(path);
  auto runtime = Runtime::create({.workers = 2, .max_file_requests = 3});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<int> done{0};
  runtime->block_on([&] {
    std::vector<Fiber> fibers;
    for (int i = 0; i < 200; ++i)
      fibers.push_back(spawn("writer", [&, i] {
        // One alone, and several at once, more than there is ever room for.
        std::array<std::byte, 8> bytes{};
        std::vector<io::Call> calls(i % 2 == 0 ? 1 : 8);
        for (io::Call& call : calls)
          call.request = uring::write(file.get(), bytes.data(), 8, static_cast<unsigned>(i) * 8);
        io::perform_all(calls);
        for (const io::Call& call : calls) done += call.result == 8;
      }));
    // A request to stop does not end the wait of those that have begun.
    for (int i = 0; i < 200; i += 7) fibers[static_cast<std::size_t>(i)].request_stop();
    for (Fiber& fiber : fibers) fiber.join();
  });
  EXPECT_EQ(done, 100 + 100 * 8);
}

TEST(FileLimit, MoreCompletionsThanTheQueueHoldsAreAllDelivered) {
  char path[] = "/tmp/weft-file-many-XXXXXX";
  const io::Descriptor file(mkstemp(path));
  unlink(path);
  auto runtime = Runtime::create({.workers = 1});
  runtime->block_on([&] {
    std::array<std::byte, 8> bytes{};
    std::vector<io::Call> calls(20'000);  // the queue has 1,024 places
    for (io::Call& call : calls) call.request = uring::write(file.get(), bytes.data(), 8, 0);
    io::perform_all(calls);
    for (const io::Call& call : calls) ASSERT_EQ(call.result, 8);
  });
}

}  // namespace
}  // namespace weft::sched
