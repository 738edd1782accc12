// A server dies and another goes on with its connection: what was answered, who is held, what INIT agreed on.
#include "fs/fuse/handover.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "fs/check/check.h"
#include "fs/fuse/device_transport.h"
#include "tests/fs/fuse/servers.h"
#include "tests/fs/hook_disk.h"

namespace weft::fs::fuse {
namespace {

using test::raw;
using test::Servers;
using test::zero_ended;

TEST(Handover, IsSharedWithChildrenOfTheProcess) {
  const HandoverPtr handover = make_handover().value();
  const pid_t child = ::fork();
  if (child == 0) {
    handover->beats.store(7);
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(handover->beats.load(), 7U);
  EXPECT_EQ(handover->minor.load(), 0U);
}

TEST(Handover, TheNextServerServesWithoutInit) {
  Servers servers;
  EXPECT_NE(servers.handover->flags.load() & FUSE_WRITEBACK_CACHE, 0U);
  EXPECT_TRUE(servers.handover->can_go_on());
  const std::uint64_t file = servers.make_file("file");
  EXPECT_FALSE(servers.session->continues());
  servers.die();
  EXPECT_TRUE(servers.session->continues());
  EXPECT_TRUE(servers.session->wait_until_serving(std::chrono::seconds(0)));
  EXPECT_EQ(servers.getattr(file), 0);
  EXPECT_EQ(servers.ask(FUSE_INIT, 0, test::init_body()), EPROTO) << "the kernel asks once";
}

TEST(Handover, AnInitThatWasAgreedToAndNotAnsweredIsAnsweredAgain) {
  Servers servers;
  servers.drop();
  servers.handover->minor.store(0);
  servers.start();
  EXPECT_EQ(servers.ask_twice(FUSE_INIT, 0, test::init_body()), 0);
  EXPECT_EQ(servers.body_as<fuse_init_out>().minor, kMinorVersion);
  EXPECT_NE(servers.body_as<fuse_init_out>().flags2 & static_cast<std::uint32_t>(kHasResend >> 32), 0U);
  EXPECT_EQ(servers.getattr(1), 0);
}

TEST(Handover, AKernelThatCannotSendAgainIsSpokenOf) {
  Servers servers;
  servers.drop();
  servers.handover->minor.store(0);
  servers.start();
  fuse_init_in in{};
  in.major = 7;
  in.minor = 38;
  in.flags = ~0U;
  in.flags2 = ~static_cast<std::uint32_t>(kHasResend >> 32);
  EXPECT_EQ(servers.ask(FUSE_INIT, 0, raw(in)), 0);
  EXPECT_FALSE(servers.handover->can_go_on());
  EXPECT_NE(servers.log.find("Linux 6.9"), std::string::npos) << servers.log;
}

TEST(Handover, WhatWasAnsweredIsThereThoughNothingWasFlushed) {
  MemoryDisk disk(32 << 20);
  fs::test::HookDisk counted(disk);
  ASSERT_TRUE(make_volume(disk, {}, 0, 0));
  Servers servers(&counted);
  const std::uint64_t flushes = counted.flushes;
  const std::uint64_t file = servers.make_file("file");
  fuse_write_in write{};
  write.size = 8192;
  write.write_flags = FUSE_WRITE_CACHE;
  ASSERT_EQ(servers.ask(FUSE_WRITE, file, raw(write) + std::string(8192, 'd')), 0);
  EXPECT_EQ(counted.flushes, flushes);
  servers.die();
  EXPECT_EQ(servers.look("file"), file);
  fuse_read_in read{};
  read.size = 8192;
  ASSERT_EQ(servers.ask(FUSE_READ, file, raw(read)), 0);
  EXPECT_EQ(servers.body, std::string(8192, 'd'));
}

TEST(Handover, NoAnswerLeavesBeforeTheLogHasTheChange) {
  Servers servers;
  struct Looker final : ReplySink {
    bool send(std::span<const iovec>) noexcept override {
      // What a server would find that began at this instant.
      MemoryDisk now(servers->disk.copy());
      FileSystemOptions options;
      options.volume.background = false;
      auto mounted = FileSystem::mount(now, options);
      there = mounted && (*mounted)->find(InodeNo(1), "file").has_value();
      return true;
    }
    Servers* servers = nullptr;
    bool there = false;
  } looker;
  looker.servers = &servers;
  const std::string message =
      test::request_of(FUSE_MKNOD, 1, raw(fuse_mknod_in{0100644, 0, 0, 0}) + zero_ended("file"));
  servers.session->handle(std::as_bytes(std::span(message)), looker);
  EXPECT_TRUE(looker.there);
}

TEST(Handover, AnUnlinkedFileLivesUntilTheKernelForgetsIt) {
  Servers servers;
  const std::uint64_t before = servers.make_file("unlinked before");
  const std::uint64_t after = servers.make_file("unlinked after");
  ASSERT_EQ(servers.ask(FUSE_UNLINK, 1, zero_ended("unlinked before")), 0);
  servers.die();
  ASSERT_EQ(servers.ask(FUSE_UNLINK, 1, zero_ended("unlinked after")), 0);
  EXPECT_EQ(servers.getattr(before), 0);
  EXPECT_EQ(servers.getattr(after), 0);
  servers.die();
  for (const std::uint64_t file : {before, after}) {
    EXPECT_EQ(servers.getattr(file), 0);
    servers.forget(file, 1);
    EXPECT_EQ(servers.getattr(file), ESTALE);
  }
}

TEST(Handover, AnEntryThatTheKernelDidNotTakeLeavesItsOldHold) {
  Servers servers;
  const std::uint64_t file = servers.make_file("file");
  servers.die();
  struct Deaf final : ReplySink {
    bool send(std::span<const iovec>) noexcept override { return false; }
  } deaf;
  const std::string message = test::request_of(FUSE_LOOKUP, 1, zero_ended("file"));
  servers.session->handle(std::as_bytes(std::span(message)), deaf);
  ASSERT_EQ(servers.ask(FUSE_UNLINK, 1, zero_ended("file")), 0);
  EXPECT_EQ(servers.getattr(file), 0) << "it is open since the server before";
}

TEST(Handover, AFileThatIsNewToTheKernelGoesWithItsLastReference) {
  Servers servers;
  const std::uint64_t file = servers.make_file("file");
  servers.forget(file, 1);
  servers.die();
  ASSERT_EQ(servers.look("file"), file);
  ASSERT_EQ(servers.look("file"), file);
  ASSERT_EQ(servers.ask(FUSE_UNLINK, 1, zero_ended("file")), 0);
  servers.forget(file, 1);
  EXPECT_EQ(servers.getattr(file), 0);
  servers.forget(file, 1);
  EXPECT_EQ(servers.getattr(file), ESTALE);
}

TEST(Handover, ATemporaryFileCanStillGetAName) {
  Servers servers;
  ASSERT_EQ(servers.ask(FUSE_TMPFILE, 1, raw(fuse_create_in{2, 0100600, 0, 0})), 0);
  const std::uint64_t file = servers.body_as<fuse_entry_out>().nodeid;
  servers.die();
  EXPECT_EQ(servers.ask(FUSE_LINK, 1, raw(fuse_link_in{file}) + zero_ended("named")), 0);
  EXPECT_EQ(servers.look("named"), file);
}

TEST(Handover, WhatIsNeverForgottenTheNextMountEnds) {
  Servers servers;
  const std::uint64_t file = servers.make_file("file");
  ASSERT_EQ(servers.ask(FUSE_UNLINK, 1, zero_ended("file")), 0);
  servers.die();
  EXPECT_EQ(servers.ask(FUSE_DESTROY, 0, ""), 0);
  servers.drop();
  {
    MemoryDisk copy(servers.disk.copy());
    const auto checked = check::check_volume(copy, {});
    ASSERT_TRUE(checked) << checked.error().message();
    EXPECT_TRUE(checked->clean());
  }
  servers.handover->minor.store(0);
  servers.start();
  EXPECT_EQ(servers.ask(FUSE_INIT, 0, test::init_body()), 0);
  EXPECT_EQ(servers.getattr(file), ESTALE);
}

TEST(Handover, TheKernelIsAskedForWhatWasNotAnsweredBeforeAnythingIsRead) {
  Servers servers;
  servers.die();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const std::string waiting = test::request_of(FUSE_GETATTR, 1, raw(fuse_getattr_in{}));
  ASSERT_EQ(::write(ends[1], waiting.data(), waiting.size()), static_cast<ssize_t>(waiting.size()));
  const auto descriptors = clone_connection(ends[0], 1);
  ASSERT_TRUE(descriptors);
  auto transport = DeviceTransport::start(*descriptors, *servers.session);
  ASSERT_TRUE(transport) << transport.error().message();
  fuse_out_header first{};
  ASSERT_EQ(::read(ends[1], &first, sizeof first), static_cast<ssize_t>(sizeof first));
  EXPECT_EQ(first.unique, 0U);
  EXPECT_EQ(first.error, kNotifyResend);
  ::close(ends[1]);
  (*transport)->wait();
}

}  // namespace
}  // namespace weft::fs::fuse
