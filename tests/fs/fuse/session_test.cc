// Speaks to a Session, over a real file system in memory, as the kernel does; the last case through a DeviceTransport.
#include "fs/fuse/session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "fs/fuse/device_transport.h"
#include "kernel/memory_disk.h"
#include "tests/fs/fuse/requests.h"

namespace weft::fs::fuse {
namespace {

using test::KeptAnswers;
using test::raw;
using test::request_of;

std::string zero_ended(std::string_view text) { return std::string(text) + '\0'; }

std::string init_body() {
  fuse_init_in in{};
  in.major = 7;
  in.minor = 45;
  in.max_readahead = 131072;
  in.flags = ~0U;
  in.flags2 = ~0U;
  return raw(in);
}

// FS_IOC_SETFLAGS.
std::string flags_body(std::uint32_t flags) {
  fuse_ioctl_in in{};
  in.cmd = FS_IOC_SETFLAGS;
  in.in_size = sizeof flags;
  return raw(in) + raw(flags);
}

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(make_volume(disk_, {}, 0, 0));
    FileSystemOptions options;
    options.volume.background = false;
    auto mounted = FileSystem::mount(disk_, options);
    ASSERT_TRUE(mounted) << mounted.error().message();
    file_system_ = std::move(*mounted);
    SessionOptions session_options;
    session_options.on_finished = [this] { ++finished_; };
    session_options.writeback = false;
    session_ = std::make_unique<Session>(*file_system_, session_options);
  }
  // The answer's errno, 0 for success; its body in body_.
  int ask(std::uint32_t opcode, std::uint64_t node, const std::string& body) {
    const std::size_t before = sink_.answers.size();
    const std::string message = request_of(opcode, node, body);
    session_->handle(std::as_bytes(std::span(message)), sink_);
    if (sink_.answers.size() == before) return -1;
    fuse_out_header out;
    std::memcpy(&out, sink_.answers.back().data(), sizeof out);
    EXPECT_EQ(out.len, sink_.answers.back().size());
    EXPECT_EQ(out.unique, 1000 + opcode);
    body_ = sink_.answers.back().substr(sizeof out);
    return -out.error;
  }
  template <typename T>
  T body_as() {
    return test::body_as<T>(body_);
  }
  std::uint64_t make_file(const std::string& name) {
    EXPECT_EQ(ask(FUSE_MKNOD, 1, raw(fuse_mknod_in{S_IFREG | 0666, 0, 022, 0}) + zero_ended(name)), 0);
    return body_as<fuse_entry_out>().nodeid;
  }

  MemoryDisk disk_{32 << 20};
  std::unique_ptr<FileSystem> file_system_;
  std::unique_ptr<Session> session_;
  KeptAnswers sink_;
  std::string body_;
  int finished_ = 0;
};

TEST_F(SessionTest, AnswersNothingBeforeInit) {
  EXPECT_EQ(ask(FUSE_GETATTR, 1, raw(fuse_getattr_in{})), ENODEV);
  EXPECT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  EXPECT_EQ(ask(FUSE_GETATTR, 1, raw(fuse_getattr_in{})), 0);
  EXPECT_TRUE(S_ISDIR(body_as<fuse_attr_out>().attr.mode));
  EXPECT_EQ(ask(FUSE_INIT, 0, init_body()), EPROTO);
}

TEST_F(SessionTest, AgreesOnWhatTheDesignStandsOn) {
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  const auto out = body_as<fuse_init_out>();
  EXPECT_EQ(out.minor, kMinorVersion);
  EXPECT_EQ(out.max_write, 1U << 20);
  for (const std::uint32_t flag : {FUSE_NO_OPEN_SUPPORT, FUSE_ASYNC_DIO, FUSE_POSIX_ACL, FUSE_DONT_MASK, FUSE_MAX_PAGES,
                                   FUSE_HANDLE_KILLPRIV_V2, FUSE_EXPORT_SUPPORT}) {
    EXPECT_TRUE((out.flags & flag) != 0) << flag;
  }
  EXPECT_EQ(out.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS), 0U) << "locks stay with the kernel";
  EXPECT_EQ(out.flags & FUSE_WRITEBACK_CACHE, 0U) << "this session was made without";
  EXPECT_EQ(out.flags2 & static_cast<std::uint32_t>(kOverIoUring >> 32), 0U);
}

TEST_F(SessionTest, DoesWithoutFlushAndInterruptsAndWithoutOpenWhereAsked) {
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  for (const std::uint32_t opcode : {FUSE_OPENDIR, FUSE_FLUSH, FUSE_INTERRUPT, FUSE_POLL}) {
    EXPECT_EQ(ask(opcode, 1, std::string(64, '\0')), ENOSYS) << opcode;
  }
  SessionOptions fast;
  fast.check_open = false;
  session_ = std::make_unique<Session>(*file_system_, fast);
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  for (const std::uint32_t opcode : {FUSE_OPEN, FUSE_CREATE}) {
    EXPECT_EQ(ask(opcode, 1, std::string(64, '\0')), ENOSYS) << opcode;
  }
  const std::uint64_t file = make_file("file");
  EXPECT_EQ(ask(FUSE_IOCTL, file, flags_body(FS_IMMUTABLE_FL)), EOPNOTSUPP);
  EXPECT_EQ(ask(FUSE_IOCTL, file, flags_body(FS_NODUMP_FL)), 0);
  EXPECT_EQ(ask(FUSE_IOCTL, 1, flags_body(FS_IMMUTABLE_FL)), 0) << "names are guarded all the same";
  EXPECT_EQ(ask(9999, 1, ""), ENOSYS) << "an operation of the future";
}

TEST_F(SessionTest, OpensWhatFlagsAllow) {
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  const auto open = [&](std::uint64_t file, std::uint32_t flags) {
    return ask(FUSE_OPEN, file, raw(fuse_open_in{flags, 0}));
  };
  ASSERT_EQ(ask(FUSE_CREATE, 1, raw(fuse_create_in{O_RDWR, S_IFREG | 0600, 0, 0}) + zero_ended("file")), 0);
  const std::uint64_t file = body_as<fuse_entry_out>().nodeid;
  EXPECT_EQ(open(file, O_RDWR), 0);
  EXPECT_NE(body_as<fuse_open_out>().open_flags & FOPEN_KEEP_CACHE, 0U);
  ASSERT_EQ(ask(FUSE_IOCTL, file, flags_body(FS_APPEND_FL)), 0);
  EXPECT_EQ(open(file, O_RDONLY), 0);
  EXPECT_EQ(open(file, O_WRONLY | O_APPEND), 0);
  EXPECT_EQ(open(file, O_WRONLY), EPERM);
  ASSERT_EQ(ask(FUSE_IOCTL, file, flags_body(FS_IMMUTABLE_FL)), 0);
  EXPECT_EQ(open(file, O_RDONLY), 0);
  EXPECT_EQ(open(file, O_WRONLY | O_APPEND), EPERM);
  EXPECT_EQ(open(file, O_RDWR), EPERM);
}

TEST_F(SessionTest, ReadsWhatWasWritten) {
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  const std::uint64_t file = make_file("file");
  EXPECT_EQ(body_as<fuse_entry_out>().attr.mode, static_cast<std::uint32_t>(S_IFREG | 0644)) << "umask taken off";
  fuse_write_in write{};
  write.offset = 3;
  write.size = 5;
  EXPECT_EQ(ask(FUSE_WRITE, file, raw(write) + "hello"), 0);
  EXPECT_EQ(body_as<fuse_write_out>().size, 5U);
  fuse_read_in read{};
  read.size = 4096;
  EXPECT_EQ(ask(FUSE_READ, file, raw(read)), 0);
  EXPECT_EQ(body_, std::string(3, '\0') + "hello");
  EXPECT_EQ(ask(FUSE_WRITE, file, raw(write) + "hell"), EINVAL) << "data shorter than it says";
  EXPECT_EQ(ask(FUSE_LOOKUP, 1, zero_ended("nothing")), 0);
  EXPECT_EQ(body_as<fuse_entry_out>().nodeid, 0U) << "remembered as missing";
  EXPECT_EQ(ask(kStatx, file, raw(StatxIn{})), 0);
  EXPECT_EQ(body_as<StatxOut>().size, 8U);
}

TEST_F(SessionTest, APageWrittenBackLateLeavesTheTimesThatTheKernelHasSet) {
  SessionOptions options;
  options.writeback = true;
  session_ = std::make_unique<Session>(*file_system_, options);
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  ASSERT_NE(body_as<fuse_init_out>().flags & FUSE_WRITEBACK_CACHE, 0U);
  const std::uint64_t file = make_file("file");
  fuse_setattr_in set{};
  set.valid = FATTR_MTIME | FATTR_CTIME;
  set.mtime = 1000;
  set.ctime = 2000;
  ASSERT_EQ(ask(FUSE_SETATTR, file, raw(set)), 0);
  fuse_write_in write{};
  write.size = 5;
  write.write_flags = FUSE_WRITE_CACHE;
  ASSERT_EQ(ask(FUSE_WRITE, file, raw(write) + "later"), 0);
  ASSERT_EQ(ask(FUSE_GETATTR, file, raw(fuse_getattr_in{})), 0);
  EXPECT_EQ(body_as<fuse_attr_out>().attr.mtime, 1000U);
  EXPECT_EQ(body_as<fuse_attr_out>().attr.ctime, 2000U);
}

TEST_F(SessionTest, PagesThatFindSpaceOnlyForAPartAreRefused) {
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  const std::uint64_t file = make_file("file");
  fuse_write_in write{};
  write.size = 256 << 10;
  const std::string data(write.size, 'd');
  const auto fill = [&](std::uint32_t flags, std::uint64_t offset) {
    write.write_flags = flags;
    write.offset = offset;
    return ask(FUSE_WRITE, file, raw(write) + data);
  };
  std::uint64_t offset = 0;
  while (fill(0, offset) == 0 && body_as<fuse_write_out>().size == write.size) offset += write.size;
  // Less than a whole write is free now; blocks 8 KiB apart, so that a part of the next fits.
  ASSERT_TRUE(file_system_->allocate(InodeNo(file), AllocateMode::kPunchHole, 0, 64 << 10));
  ASSERT_TRUE(file_system_->volume().checkpoint());
  ASSERT_TRUE(file_system_->volume().checkpoint());
  EXPECT_EQ(fill(FUSE_WRITE_CACHE, offset + (1 << 20)), ENOSPC) << "the kernel would take a count for all of it";
}

TEST_F(SessionTest, ListsADirectoryInAnswersOfAnySize) {
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  std::set<std::string> expected{".", ".."};
  for (int i = 0; i < 50; ++i) {
    expected.insert("name" + std::to_string(i));
    make_file("name" + std::to_string(i));
  }
  for (const std::uint32_t opcode : {FUSE_READDIR, FUSE_READDIRPLUS}) {
    std::set<std::string> seen;
    fuse_read_in in{};
    in.size = 500;
    for (int rounds = 0; rounds < 100; ++rounds) {
      ASSERT_EQ(ask(opcode, 1, raw(in)), 0);
      if (body_.empty()) break;
      ASSERT_LE(body_.size(), 500U);
      const std::size_t skip = opcode == FUSE_READDIRPLUS ? sizeof(fuse_entry_out) : 0;
      for (std::size_t at = 0; at < body_.size();) {
        fuse_dirent entry;
        std::memcpy(&entry, body_.data() + at + skip, FUSE_NAME_OFFSET);
        EXPECT_TRUE(seen.emplace(body_.data() + at + skip + FUSE_NAME_OFFSET, entry.namelen).second);
        in.offset = entry.off;
        at += FUSE_REC_ALIGN(skip + FUSE_NAME_OFFSET + entry.namelen);
      }
    }
    EXPECT_EQ(seen, expected) << opcode;
  }
}

TEST_F(SessionTest, AsksANewKernelToForgetWhatItHoldsBeyondTheBound) {
  FileSystemOptions few;
  few.inode_cache = 0;
  few.volume.background = false;
  MemoryDisk disk(32 << 20);
  ASSERT_TRUE(make_volume(disk, {}, 0, 0));
  auto mounted = FileSystem::mount(disk, few);
  ASSERT_TRUE(mounted);
  SessionOptions options;
  options.most_references = 1000;
  session_ = std::make_unique<Session>(**mounted, options);
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  for (int i = 0; i < 1000; ++i) make_file("f" + std::to_string(i));
  const std::size_t before = sink_.answers.size();
  session_->ask_to_forget(sink_);
  EXPECT_EQ(sink_.answers.size(), before) << "not yet";
  const std::uint64_t last = make_file("one more");
  session_->ask_to_forget(sink_);
  ASSERT_EQ(sink_.answers.size(), before + 2);
  const std::string& message = sink_.answers.back();
  struct {
    fuse_out_header header;
    NotifyPruneOut prune;
  } out;
  ASSERT_GE(message.size(), sizeof out);
  std::memcpy(&out, message.data(), sizeof out);
  EXPECT_EQ(out.header.unique, 0u);
  EXPECT_EQ(out.header.error, kNotifyPrune);
  EXPECT_EQ(out.header.len, message.size());
  EXPECT_EQ(message.size(), sizeof out + out.prune.count * 8);
  EXPECT_EQ(out.prune.count, 1001u - 1000 / 16 * 15);
  std::set<std::uint64_t> asked;
  for (std::size_t at = sizeof out; at < message.size(); at += 8) {
    std::uint64_t number;
    std::memcpy(&number, message.data() + at, 8);
    EXPECT_TRUE(number > 1 && number < last) << number;
    asked.insert(number);
  }
  EXPECT_EQ(asked.size(), out.prune.count);
  session_.reset();  // before its file system
}

TEST_F(SessionTest, UnmountsOnceBeforeItAnswersDestroy) {
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  make_file("kept");
  EXPECT_EQ(ask(FUSE_DESTROY, 0, ""), 0);
  EXPECT_EQ(finished_, 1);
  EXPECT_EQ(ask(FUSE_GETATTR, 1, raw(fuse_getattr_in{})), ENODEV);
  EXPECT_EQ(ask(FUSE_FORGET, 1, raw(fuse_forget_in{1})), -1) << "no answer to a FORGET";
  EXPECT_TRUE(session_->finish());
  EXPECT_EQ(finished_, 1);
  file_system_.reset();
  FileSystemOptions options;
  options.volume.background = false;
  auto again = FileSystem::mount(disk_, options);
  ASSERT_TRUE(again);
  EXPECT_TRUE((*again)->lookup(InodeNo(1), "kept"));
}

TEST_F(SessionTest, KnowsHowLongARequestHasBeenUnderWay) {
  struct Waiting final : ReplySink {
    bool send(std::span<const iovec>) noexcept override {
      for (unsigned i = 0; i < RequestAges::kPeriods; ++i) old = ages->next_period();
      return true;
    }
    RequestAges* ages = nullptr;
    std::uint32_t old = 0;
  } waiting;
  waiting.ages = &session_->ages();
  ASSERT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  const std::string message = request_of(FUSE_GETATTR, 1, raw(fuse_getattr_in{}));
  session_->handle(std::as_bytes(std::span(message)), waiting);
  EXPECT_EQ(waiting.old, 1U);
  for (unsigned i = 0; i < RequestAges::kPeriods; ++i) EXPECT_EQ(session_->ages().next_period(), 0U) << "answered";
}

TEST_F(SessionTest, TravelsThroughATransport) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const auto descriptors = clone_connection(ends[0], 2);
  ASSERT_TRUE(descriptors) << descriptors.error().message();
  auto transport = DeviceTransport::start(*descriptors, *session_);
  ASSERT_TRUE(transport) << transport.error().message();
  auto exchange = [&](const std::string& message) {
    EXPECT_EQ(::write(ends[1], message.data(), message.size()), static_cast<ssize_t>(message.size()));
    std::string answer(8192, '\0');
    const ssize_t count = ::read(ends[1], answer.data(), answer.size());
    answer.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return answer;
  };
  EXPECT_EQ(exchange(request_of(FUSE_INIT, 0, init_body())).size(), sizeof(fuse_out_header) + sizeof(fuse_init_out));
  EXPECT_TRUE(session_->wait_until_serving(std::chrono::seconds(5)));
  EXPECT_EQ(exchange(request_of(FUSE_GETATTR, 1, raw(fuse_getattr_in{}))).size(),
            sizeof(fuse_out_header) + sizeof(fuse_attr_out));
  ::close(ends[1]);
  (*transport)->wait();
  EXPECT_TRUE(session_->finish());
}

}  // namespace
}  // namespace weft::fs::fuse
