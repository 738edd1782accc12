// fs/fuse/device_transport.h - carries requests between /dev/fuse and a Session.
//
//   kernel -> read(2) on the worker that is free -> [device_transport] -> Session::handle -> writev(2) -> kernel
//
// Each worker has a reader: a fiber pinned to it, with a clone of the device's descriptor, so that answers do not contend.
// Leader and follower: whoever has read a request spawns the next reader and then handles the request itself. As long as a
// handler does not park, no fiber is switched and nothing is queued between the kernel's request and its answer; when it
// does, the worker goes on to the next reader.
//
// A message is read so that the data of a WRITE lies on a page (header and arguments end where the page begins). Short
// messages move to small memory before the duty is handed on; long ones keep their buffer and the next reader takes
// another. When there are as many of those as there is memory for, a reader handles its own before it reads on.
//
// Any descriptor with whole messages will do: tests use a socket pair.
// Parks       wait(). Thread- and fiber-safe.
// Tests: tests/fs/fuse/session_test.cc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fs/fuse/buffer_pool.h"
#include "fs/fuse/exchange.h"
#include "fs/fuse/session.h"
#include "kernel/result.h"
#include "sched/condition_variable.h"
#include "sched/mutex.h"
#include "sched/spawn.h"

namespace weft::fs::fuse {

// `fd` and further descriptors of its connection, `count` in all. What the kernel has handed out by one of them it takes for lost
// when its last copy in any process is closed. On error they are closed, `fd` too. Blocks the thread for a moment.
Result<std::vector<int>> clone_connection(int fd, unsigned count);

class DeviceTransport {
 public:
  // Owns the descriptors from here on, and has a reader for each: at most one for each worker of the calling fiber's runtime; on a
  // plain thread that many threads. The session must outlive the transport. One that goes on with the connection of another server
  // has the kernel send what that has not answered before it reads anything. Long requests under way take up to `buffer_bytes`,
  // and as many large buffers again as there are readers.
  static Result<std::unique_ptr<DeviceTransport>> start(const std::vector<int>& descriptors, Session& session,
                                                        std::size_t buffer_bytes = 32 << 20);
  ~DeviceTransport();  // waits
  DeviceTransport(const DeviceTransport&) = delete;
  DeviceTransport& operator=(const DeviceTransport&) = delete;

  // For what is told to the kernel without its asking.
  [[nodiscard]] ReplySink& kernel() noexcept { return *channels_.front(); }

  // Until the connection has ended (unmounted, or aborted) and the last request is answered.
  void wait();

 private:
  // One descriptor and the answers that go out by it.
  class Channel final : public ReplySink {
   public:
    Channel(int fd, Session& session) : fd_(fd), session_(session) {}
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    bool send(std::span<const iovec> parts) noexcept override;
    [[nodiscard]] int fd() const noexcept { return fd_; }

   private:
    int fd_;
    Session& session_;
  };

  DeviceTransport(Session& session, std::size_t readers, std::size_t buffer_bytes);
  Buffer take_long();
  void start_reader(unsigned index, Buffer buffer);
  void read_on(unsigned index, Buffer buffer);
  void handle_tiny(unsigned index, std::span<const std::byte> message, Buffer buffer);
  static std::size_t read_message(Channel& channel, const Buffer& buffer);
  void end_of_fiber();

  Session& session_;
  std::vector<std::unique_ptr<Channel>> channels_;
  const std::size_t most_long_messages_;
  std::atomic<std::size_t> long_messages_{0};
  BufferPool messages_;              // for all of these and one for each reader, so that none of them waits
  std::atomic<unsigned> fibers_{0};  // readers and those that handle
  sched::Mutex lock_;
  sched::ConditionVariable ended_;  // with lock_: fibers_ is zero
};

}  // namespace weft::fs::fuse
