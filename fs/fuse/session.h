// fs/fuse/session.h - a mounted file system in conversation with the kernel: takes whole requests, answers each once.
//
//   transport -> [session: dispatch -> handlers] -> fs::FileSystem
//
// Knows the protocol and nothing of where requests come from. One table says which handler an operation has; a handler
// answers its Exchange, or returns an error that dispatch turns into an errno.
//
// Life        waiting --INIT--> serving --DESTROY, or finish()--> finished. Outside of serving only INIT is answered.
//             With a Handover on which INIT has been agreed before, it begins as serving: another server has died, and this one
//             goes on with its connection.
// Invariants  S1  FileSystem::unmount() is called once, with no request under way
//             S2  a reference that an answer carried and the kernel did not take is given back
//             S3  with a Handover no answer leaves before all that was committed by then is written, and data is written
//                 before it is mapped: so the next server knows whatever the kernel has heard
// Locks       state_lock_, held for a few instructions and by those who wait for the last request
// Metrics     fs.fuse.requests, .errors and .latency_us, one for each op; fs.fuse.read_bytes, .written_bytes
// Parks       handle() and finish() do
// Thread- and fiber-safe. Tests: tests/fs/fuse/session_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fs/file_system.h"
#include "fs/fuse/buffer_pool.h"
#include "fs/fuse/exchange.h"
#include "fs/fuse/handover.h"
#include "fs/fuse/notes.h"
#include "fs/fuse/request_ages.h"
#include "fs/fuse/stale_blocks.h"
#include "kernel/metrics.h"
#include "sched/condition_variable.h"
#include "sched/mutex.h"

namespace weft::fs::fuse {

struct SessionOptions {
  bool writeback = true;  // the kernel gathers small writes; it then owns size and times of open files
  // Each open(2) asks whether the file's flags (immutable, append-only) allow it. Without, opening costs no request, and such
  // flags cannot be set on files.
  bool check_open = true;
  std::uint32_t max_background = 256;   // asynchronous requests under way before the kernel holds back
  std::size_t buffer_bytes = 32 << 20;  // for the data of answers under way, and as much for that of long requests
  // The kernel is asked to forget inodes when it holds references to more than these, where it can be asked.
  std::uint64_t most_references = 1 << 20;
  std::uint64_t entry_valid_seconds = 86400;  // nobody else changes the volume, so the kernel may believe what it heard
  std::uint64_t attributes_valid_seconds = 86400;
  // Told what people should know: device failures, damage. Empty: nobody. Called from any fiber.
  std::function<void(std::string_view)> log;
  // Called once after FileSystem::unmount(), before umount(2) may return: whoever holds locks lets go here.
  std::function<void()> on_finished;
  // Where another server will go on when this one dies, or goes on now. Null: nobody.
  Handover* handover = nullptr;
};

class Session {
 public:
  Session(FileSystem& file_system, SessionOptions options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Answers one whole request.
  void handle(std::span<const std::byte> message, ReplySink& sink);

  // The kernel has gone without DESTROY: unmounts the file system if that has not happened yet. Its result, at every call.
  Status finish();

  // Waits for INIT to be answered, or for the end of the session; false in the second case or at the timeout.
  bool wait_until_serving(std::chrono::nanoseconds timeout);

  // Goes on with a connection that another server has begun.
  [[nodiscard]] bool continues() const noexcept { return continues_; }
  [[nodiscard]] RequestAges& ages() noexcept { return ages_; }

  // -- For handlers
  [[nodiscard]] FileSystem& file_system() noexcept { return file_system_; }
  [[nodiscard]] const SessionOptions& options() const noexcept { return options_; }
  [[nodiscard]] BufferPool& buffers() noexcept { return buffers_; }
  [[nodiscard]] StaleBlocks& stale_blocks() noexcept { return stale_blocks_; }
  [[nodiscard]] Notes& notes() noexcept { return notes_; }
  // Asks for what was promised above to be kept. Now and then; parks.
  void ask_to_forget(ReplySink& kernel);
  void count_read(std::size_t bytes) noexcept { read_bytes_.add(bytes); }
  void count_written(std::size_t bytes) noexcept { written_bytes_.add(bytes); }
  // INIT's result; from then on the other requests are served.
  void start_serving(std::uint32_t minor, std::uint64_t flags);
  void log(std::string_view text) const;

 private:
  enum class State : std::uint8_t { kWaiting, kServing, kFinished };

  static constexpr std::size_t kOperations = 64;  // and one for all that is not known
  struct Meters {
    Counter* requests = nullptr;
    Counter* errors = nullptr;
    Histogram* latency_us = nullptr;
  };

  void answer(std::span<const std::byte> message, ReplySink& sink);
  void run(Exchange& exchange);
  void note_failure(const Error& error, std::string_view operation);

  FileSystem& file_system_;
  SessionOptions options_;
  BufferPool buffers_;
  StaleBlocks stale_blocks_;
  Notes notes_;
  RequestAges ages_;
  const bool continues_;
  std::array<Meters, kOperations + 1> meters_;
  Counter& read_bytes_;
  Counter& written_bytes_;
  std::uint32_t minor_ = 0;  // of the protocol; written before the state becomes kServing
  std::atomic<State> state_{State::kWaiting};
  std::atomic<std::uint32_t> under_way_{0};
  std::atomic<bool> closing_{false};
  std::atomic<bool> told_of_failure_{false};

  sched::Mutex state_lock_;
  sched::ConditionVariable state_changed_;
  std::optional<Status> finished_;  // unmount()'s result; guarded by state_lock_
};

}  // namespace weft::fs::fuse
