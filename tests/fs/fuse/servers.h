// tests/fs/fuse/servers.h - one mount and the servers it sees: each may die at any point between two requests, and the next goes on.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/handover.h"
#include "fs/fuse/session.h"
#include "kernel/memory_disk.h"
#include "tests/fs/fuse/requests.h"

namespace weft::fs::fuse::test {

inline std::string zero_ended(std::string_view text) { return std::string(text) + '\0'; }

// What Linux 6.18 offers.
inline std::string init_body() {
  fuse_init_in in{};
  in.major = 7;
  in.minor = kMinorVersion;
  in.max_readahead = 131072;
  in.flags = ~0U;
  in.flags2 = ~0U;
  return raw(in);
}

class Servers {
 public:
  // `under`: where another device shall stand between the servers and the disk.
  explicit Servers(BlockDevice* under = nullptr) : under_(under) {
    EXPECT_TRUE(make_volume(disk, {}, 0, 0));
    handover = make_handover().value();
    start();
    EXPECT_EQ(ask(FUSE_INIT, 0, init_body()), 0);
  }
  void start() {
    handover->server.fetch_add(1);
    FileSystemOptions options;
    options.volume.background = false;
    options.takes_over = handover->minor.load() != 0;
    auto mounted = FileSystem::mount(under_ != nullptr ? *under_ : disk, options);
    ASSERT_TRUE(mounted) << mounted.error().message();
    file_system = std::move(*mounted);
    SessionOptions session_options;
    session_options.handover = handover.get();
    session_options.log = [this](std::string_view text) { log += std::string(text) + "\n"; };
    session = std::make_unique<Session>(*file_system, session_options);
  }
  // kill -9, and another begins.
  void die() {
    drop();
    start();
  }
  void drop() {
    session.reset();
    file_system.reset();
  }
  // The answer's errno, 0 for success, -1 for none; its body in `body`.
  int ask(std::uint32_t opcode, std::uint64_t node, const std::string& arguments) {
    message_ = request_of(opcode, node, arguments);
    set_unique(++last_unique_);
    return handle();
  }
  // The last request once more, as the kernel sends it to the next server.
  int ask_again() {
    set_unique(last_unique_ | kUniqueResend);
    return handle();
  }
  // A request that is executed by a server which dies before it has answered; its answer from the next.
  int ask_twice(std::uint32_t opcode, std::uint64_t node, const std::string& arguments) {
    struct Unheard final : ReplySink {
      bool send(std::span<const iovec>) noexcept override {
        // What stands in shared memory at this instant is what the next server finds.
        std::memcpy(static_cast<void*>(kept.get()), shared, sizeof(Handover));
        return true;
      }
      std::unique_ptr<Handover> kept = std::make_unique<Handover>();
      Handover* shared = nullptr;
    } unheard;
    unheard.shared = handover.get();
    message_ = request_of(opcode, node, arguments);
    set_unique(++last_unique_);
    session->handle(std::as_bytes(std::span(message_)), unheard);
    drop();
    std::memcpy(static_cast<void*>(handover.get()), unheard.kept.get(), sizeof(Handover));
    start();
    return ask_again();
  }
  template <typename T>
  T body_as() {
    return test::body_as<T>(body);
  }

  // -- Requests in short
  std::uint64_t make_file(std::string_view name) {
    EXPECT_EQ(ask(FUSE_MKNOD, 1, raw(fuse_mknod_in{0100644, 0, 0, 0}) + zero_ended(name)), 0);
    return body_as<fuse_entry_out>().nodeid;
  }
  // 0: there is no such name.
  std::uint64_t look(std::string_view name) {
    EXPECT_EQ(ask(FUSE_LOOKUP, 1, zero_ended(name)), 0);
    return body_as<fuse_entry_out>().nodeid;
  }
  int getattr(std::uint64_t node) { return ask(FUSE_GETATTR, node, raw(fuse_getattr_in{})); }
  void forget(std::uint64_t node, std::uint64_t references) {
    EXPECT_EQ(ask(FUSE_FORGET, node, raw(fuse_forget_in{references})), -1);
  }

  MemoryDisk disk{32 << 20};
  HandoverPtr handover;
  std::unique_ptr<FileSystem> file_system;
  std::unique_ptr<Session> session;
  std::string body;
  std::string log;

 private:
  void set_unique(std::uint64_t unique) {
    std::memcpy(message_.data() + offsetof(fuse_in_header, unique), &unique, sizeof unique);
  }
  int handle() {
    KeptAnswers sink;
    session->handle(std::as_bytes(std::span(message_)), sink);
    if (sink.answers.empty()) return -1;
    EXPECT_EQ(sink.answers.size(), 1U);
    fuse_out_header out;
    std::memcpy(&out, sink.answers.back().data(), sizeof out);
    std::uint64_t unique = 0;
    std::memcpy(&unique, message_.data() + offsetof(fuse_in_header, unique), sizeof unique);
    EXPECT_EQ(out.unique, unique) << "as received";
    body = sink.answers.back().substr(sizeof out);
    return -out.error;
  }

  BlockDevice* under_;
  std::string message_;
  std::uint64_t last_unique_ = 1000;
};

}  // namespace weft::fs::fuse::test
