#include "fs/fuse/session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <vector>

#include "fs/fuse/errno_map.h"
#include "fs/fuse/handlers.h"
#include "kernel/trace.h"
#include "sched/offload.h"

namespace weft::fs::fuse {

namespace {

struct Operation {
  const char* name = nullptr;                    // in logs and traces
  Status (*run)(Session&, Exchange&) = nullptr;  // null: answered with `refusal`
  int refusal = ENOSYS;                          // ENOSYS tells the kernel never to ask again
};

constexpr auto kOperations = [] {
  std::array<Operation, 64> table{};
  table[FUSE_LOOKUP] = {"fs.fuse.lookup", on_lookup};
  table[FUSE_FORGET] = {"fs.fuse.forget", on_forget};
  table[FUSE_GETATTR] = {"fs.fuse.getattr", on_getattr};
  table[FUSE_SETATTR] = {"fs.fuse.setattr", on_setattr};
  table[FUSE_READLINK] = {"fs.fuse.readlink", on_readlink};
  table[FUSE_SYMLINK] = {"fs.fuse.symlink", on_symlink};
  table[FUSE_MKNOD] = {"fs.fuse.mknod", on_mknod};
  table[FUSE_MKDIR] = {"fs.fuse.mkdir", on_mkdir};
  table[FUSE_UNLINK] = {"fs.fuse.unlink", on_unlink};
  table[FUSE_RMDIR] = {"fs.fuse.rmdir", on_rmdir};
  table[FUSE_RENAME] = {"fs.fuse.rename", on_rename};
  table[FUSE_LINK] = {"fs.fuse.link", on_link};
  table[FUSE_READ] = {"fs.fuse.read", on_read};
  table[FUSE_WRITE] = {"fs.fuse.write", on_write};
  table[FUSE_STATFS] = {"fs.fuse.statfs", on_statfs};
  table[FUSE_FSYNC] = {"fs.fuse.fsync", on_fsync};
  table[FUSE_SETXATTR] = {"fs.fuse.setxattr", on_setxattr};
  table[FUSE_GETXATTR] = {"fs.fuse.getxattr", on_getxattr};
  table[FUSE_LISTXATTR] = {"fs.fuse.listxattr", on_listxattr};
  table[FUSE_REMOVEXATTR] = {"fs.fuse.removexattr", on_removexattr};
  table[FUSE_INIT] = {"fs.fuse.init", on_init};
  table[FUSE_READDIR] = {"fs.fuse.readdir", on_readdir};
  table[FUSE_FSYNCDIR] = {"fs.fuse.fsyncdir", on_fsync};
  table[FUSE_IOCTL] = {"fs.fuse.ioctl", on_ioctl};
  table[FUSE_BATCH_FORGET] = {"fs.fuse.forget", on_batch_forget};
  table[FUSE_FALLOCATE] = {"fs.fuse.fallocate", on_fallocate};
  table[FUSE_READDIRPLUS] = {"fs.fuse.readdirplus", on_readdirplus};
  table[FUSE_RENAME2] = {"fs.fuse.rename", on_rename2};
  table[FUSE_LSEEK] = {"fs.fuse.lseek", on_lseek};
  table[FUSE_COPY_FILE_RANGE] = {"fs.fuse.copy_file_range", on_copy_file_range};
  table[FUSE_SYNCFS] = {"fs.fuse.syncfs", on_syncfs};
  table[FUSE_TMPFILE] = {"fs.fuse.tmpfile", on_tmpfile};
  table[kStatx] = {"fs.fuse.statx", on_statx};
  table[kCopyFileRange64] = {"fs.fuse.copy_file_range", on_copy_file_range_64};
  // An inode's number is all that an open file needs: OPENDIR and FLUSH need not exist, OPEN and CREATE only look at
  // flags (SessionOptions::check_open), and there is nothing to release.
  table[FUSE_RELEASE] = {"fs.fuse.release", [](Session&, Exchange& exchange) -> Status {
                           exchange.reply();
                           return {};
                         }};
  table[FUSE_OPEN] = {"fs.fuse.open", on_open};
  table[FUSE_OPENDIR].name = "fs.fuse.opendir";
  table[FUSE_CREATE] = {"fs.fuse.create", on_create};
  table[FUSE_FLUSH].name = "fs.fuse.flush";
  // Nothing here waits long enough to be worth interrupting; the kernel stops asking.
  table[FUSE_INTERRUPT].name = "fs.fuse.interrupt";
  return table;
}();

// Inodes in one notification.
constexpr std::size_t kMostPruned = 4096;

const Operation& operation_of(std::uint32_t opcode) {
  static constexpr Operation kUnknown{"fs.fuse.unknown", nullptr, ENOSYS};
  return opcode < kOperations.size() ? kOperations[opcode] : kUnknown;
}

// Lets nothing out before the log has it (S3). Of a volume that has failed nothing more gets there: what its operations still answer
// is as good as it can be, and fsync says so.
class WrittenFirst final : public ReplySink {
 public:
  WrittenFirst(Volume& volume, ReplySink& kernel) : volume_(volume), kernel_(kernel) {}
  bool send(std::span<const iovec> parts) noexcept override {
    static_cast<void>(volume_.make_written(volume_.committed()));
    return kernel_.send(parts);
  }

 private:
  Volume& volume_;
  ReplySink& kernel_;
};

}  // namespace

Session::Session(FileSystem& file_system, SessionOptions options)
    : file_system_(file_system),
      options_(std::move(options)),
      buffers_(options_.buffer_bytes),
      notes_(options_.handover),
      continues_(options_.handover != nullptr && options_.handover->minor.load(std::memory_order_acquire) != 0),
      read_bytes_(file_system.volume().metrics().counter("fs.fuse.read_bytes", "bytes that READ answered with")),
      written_bytes_(file_system.volume().metrics().counter("fs.fuse.written_bytes", "bytes that WRITE brought")) {
  static_assert(fuse::kOperations.size() == kOperations);
  constexpr std::size_t kRoom = std::string_view("fs.fuse.").size();
  Metrics& metrics = file_system.volume().metrics();
  for (std::size_t i = 0; i < meters_.size(); ++i) {
    const Operation& operation = operation_of(static_cast<std::uint32_t>(i));
    if (operation.name == nullptr) continue;
    const std::string label = "op=" + std::string(operation.name + kRoom);
    meters_[i] = {.requests = &metrics.counter("fs.fuse.requests", "requests of the kernel", label),
                  .errors = &metrics.counter("fs.fuse.errors", "requests answered with an errno", label),
                  .latency_us = &metrics.histogram("fs.fuse.latency_us", "microseconds from request to answer", label)};
  }
  if (continues_) {
    minor_ = options_.handover->minor.load();
    if ((options_.handover->flags.load() & FUSE_WRITEBACK_CACHE) != 0) file_system_.leave_data_times_to_caller();
    state_.store(State::kServing);
  }
}

void Session::log(std::string_view text) const {
  if (options_.log) options_.log(text);
}

void Session::handle(std::span<const std::byte> message, ReplySink& sink) {
  if (options_.handover == nullptr) return answer(message, sink);
  WrittenFirst written_first(file_system_.volume(), sink);
  answer(message, written_first);
}

void Session::answer(std::span<const std::byte> message, ReplySink& sink) {
  auto exchange = Exchange::open(message, sink);
  if (!exchange) {
    log("request that makes no sense: " + exchange.error().message());
    return;
  }
  if (exchange->header().opcode == FUSE_DESTROY) {
    // The kernel sends it last and umount(2) waits for the answer: everything is durable before it goes out.
    const Status finished = finish();
    if (finished) {
      exchange->reply();
    } else {
      exchange->fail_with(errno_of(finished.error()));
    }
    return;
  }
  under_way_.fetch_add(1);
  run(*exchange);
  if (under_way_.fetch_sub(1) == 1 && closing_.load()) {
    const std::lock_guard guard(state_lock_);
    state_changed_.notify_all();
  }
}

void Session::run(Exchange& exchange) {
  const std::uint32_t opcode = exchange.header().opcode;
  const Operation& operation = operation_of(opcode);
  const bool first = opcode == FUSE_INIT;
  const bool serving = state_.load(std::memory_order_acquire) == State::kServing && !closing_.load();
  // An INIT that the server before us has agreed to, but not answered.
  const bool once_more = first && serving && continues_ && exchange.resent();
  if (first == serving && !once_more) {  // a second INIT, or anything before it or after the end
    if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET) return exchange.drop();
    exchange.fail_with(first ? EPROTO : ENODEV);
    return;
  }
  const Meters& known = meters_[std::min<std::size_t>(opcode, kOperations)];
  const Meters& meters = known.requests != nullptr ? known : meters_.back();
  meters.requests->add();
  if (operation.run == nullptr) {
    meters.errors->add();
    exchange.fail_with(operation.refusal);
    return;
  }
  std::optional<RequestAges::Entry> entry;
  if (opcode != FUSE_IOCTL) entry.emplace(ages_);  // trimming a large device takes what it takes
  const auto start = std::chrono::steady_clock::now();
  const TraceSpan span(operation.name, exchange.header().unique);
  const Status status = operation.run(*this, exchange);
  if (!status) {
    note_failure(status.error(), operation.name);
    if (!exchange.answered()) exchange.fail_with(errno_of(status.error()));
  } else {
    WEFT_CHECK(exchange.answered());
  }
  if (!status) meters.errors->add();
  meters.latency_us->add(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count()));
}

void Session::note_failure(const Error& error, std::string_view operation) {
  if (!is_failure_of_ours(error.code())) return;
  log(std::string(operation) + ": " + error.message());
  if (auto failure = file_system_.volume().failure(); failure && !told_of_failure_.exchange(true)) {
    log("the file system is read-only from here on: " + failure->message());
  }
}

void Session::start_serving(std::uint32_t minor, std::uint64_t flags) {
  if (options_.handover != nullptr) {
    options_.handover->flags.store(flags, std::memory_order_relaxed);
    options_.handover->minor.store(minor, std::memory_order_release);
  }
  minor_ = minor;
  const std::lock_guard guard(state_lock_);
  state_.store(State::kServing, std::memory_order_release);
  state_changed_.notify_all();
}

bool Session::wait_until_serving(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(state_lock_);
  state_changed_.wait_for(lock, timeout, [this] { return state_.load() != State::kWaiting || closing_.load(); });
  return state_.load() == State::kServing;
}

void Session::ask_to_forget(ReplySink& kernel) {
  if (minor_ < kPruneMinorVersion || state_.load() != State::kServing) return;
  // Down to a little below, so that this is done now and then and not for every lookup. What is open or a directory in use stays,
  // however often it is asked for; then the next time does.
  const std::uint64_t target = options_.most_references / 16 * 15;
  if (file_system_.referred_count() <= options_.most_references) return;
  sched::blocking([&] {
    for (std::uint64_t rest = file_system_.referred_count(); rest > target;) {
      const std::vector<InodeNo> idle =
          file_system_.idle_references(std::min<std::uint64_t>(rest - target, kMostPruned));
      if (idle.empty() || !prune(kernel, idle)) return;
      rest -= std::min<std::uint64_t>(rest, idle.size());
    }
  });
}

Status Session::finish() {
  std::unique_lock lock(state_lock_);
  if (!closing_.exchange(true)) {
    state_changed_.notify_all();
    state_changed_.wait(lock, [this] { return under_way_.load() == 0; });
    lock.unlock();
    Status unmounted = file_system_.unmount();
    if (!unmounted) log("unmount: " + unmounted.error().message());
    if (options_.on_finished) options_.on_finished();
    lock.lock();
    finished_ = std::move(unmounted);
    state_.store(State::kFinished);
    state_changed_.notify_all();
  }
  state_changed_.wait(lock, [this] { return finished_.has_value(); });
  return *finished_;
}

}  // namespace weft::fs::fuse
