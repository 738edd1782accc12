#include "tools/mount_server.h"

#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>

#include "fs/file_system.h"
#include "fs/fuse/device_transport.h"
#include "fs/fuse/mount.h"
#include "fs/fuse/session.h"
#include "fs/memory_plan.h"
#include "kernel/metrics.h"
#include "kernel/trace.h"
#include "sched/offload.h"
#include "sched/runtime.h"
#include "sched/signal.h"
#include "tools/confine.h"
#include "tools/heart.h"
#include "tools/metrics_file.h"
#include "tools/open_disk.h"
#include "tools/server_heap.h"
#include "tools/unmounter.h"
#include "tools/watchdog.h"
#include "tools/watched_disk.h"

namespace weft::tools {

namespace {

using namespace std::chrono_literals;

constexpr auto kFirstAnswerLimit = 30s;
constexpr auto kBusyUnmountLimit = 20s;
constexpr auto kMetricsInterval = 10s;
constexpr auto kTellInterval = 1s;
constexpr unsigned kSecondsBetweenTrims = 10;
constexpr int kEndedBySignal = 32;

// Everything that lives as long as the mount, torn down in the opposite order.
struct Server {
  fs::fuse::RequestAges device_ages;
  OpenedDisk opened;
  std::optional<WatchedDisk> disk;
  std::unique_ptr<fs::FileSystem> file_system;
  std::optional<fs::fuse::Session> session;
  std::unique_ptr<fs::fuse::DeviceTransport> transport;
};

Result<OpenedDisk> open_image(MountOptions& options, const MountServerHooks& hooks) {
  OpenDiskOptions how{.read_only = options.read_only(), .claim_device = false};
  if (hooks.supervised != nullptr && hooks.supervised->image_lock >= 0) {
    how.held_lock = hooks.supervised->image_lock;
    how.refuse_mounted = false;  // it is: by the server before this
  }
  auto opened = open_disk(options.image, how);
  if (!opened && opened.error() == Errc::kReadOnly && !how.read_only) {
    hooks.log(options.image + " is write-protected, mounting read-only");
    options.flags |= MS_RDONLY;
    how.read_only = true;
    opened = open_disk(options.image, how);
  }
  return opened;
}

fs::FileSystemOptions file_system_options(const MountOptions& options, const fs::MemoryPlan& memory,
                                          const fs::fuse::Handover* handover) {
  fs::FileSystemOptions made;
  made.volume.read_only = options.read_only();
  made.volume.cache_bytes = memory.node_bytes;
  made.volume.bitmap_bytes = memory.bitmap_bytes;
  made.volume.log_buffer_bytes = memory.log_bytes;
  made.volume.commit_interval_ms = options.commit_interval_ms;
  made.inode_cache = memory.inodes;
  made.group_from_parent = options.group_from_parent;
  made.takes_over = handover != nullptr && handover->minor.load() != 0;
  return made;
}

// What default_metrics() holds, to the file or, where none is wanted, to the log.
void report_metrics(const MountOptions& options, const MountServerHooks& hooks) {
  if (!options.metrics_file.empty()) {
    const Status written = sched::blocking([&] { return write_metrics_file(default_metrics(), options.metrics_file); });
    if (!written) hooks.log("metrics: " + written.error().message());
    return;
  }
  const std::string text = default_metrics().render(MetricsFormat::kText);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    hooks.log(std::string_view(text).substr(at, end - at));
    at = end + 1;
  }
}

// For who still holds the mount: what is there is durable, and he sees ENOTCONN.
[[noreturn]] void end_all_the_same(fs::fuse::Session& session) {
  static_cast<void>(session.finish());
  ::_exit(kEndedBySignal);
}

// Waits for a signal and takes the mount away. `ended` ends the wait of a mount that something still holds.
void unmount_on_signal(sched::SignalSet& signals, const MountOptions& options, std::optional<Unmounter>& unmounter,
                       fs::fuse::Session& session, std::atomic<bool>& ended, const MountServerHooks& hooks) {
  const std::string& directory = options.directory;
  auto signal = signals.wait();
  for (; signal && *signal == SIGUSR1; signal = signals.wait()) report_metrics(options, hooks);
  if (!signal) return;                        // asked to stop: the mount has ended by itself
  if (!unmounter) end_all_the_same(session);  // the supervisor has tried all else
  hooks.log(std::string("unmounting on ") + ::sigdescr_np(*signal));
  // On a thread of its own: umount(2) waits for this very server.
  const Status unmounted = sched::blocking([&] { return unmounter->unmount(false); });
  if (unmounted) return;
  if (unmounted.error() != Errc::kBusy) {
    hooks.log(unmounted.error().message());
  } else {
    hooks.log(directory + " is in use; unmounting lazily");
    sched::blocking([&] { static_cast<void>(unmounter->unmount(true)); });
  }
  // Until its last user has gone, or patience ends.
  for (auto waited = 0ms; waited < kBusyUnmountLimit && !ended.load(); waited += 50ms) {
    if (!sched::sleep_for(50ms)) return;
  }
  if (ended.load()) return;
  hooks.log("still in use; ending all the same");
  end_all_the_same(session);
}

// The connection of a mount that nobody supervises.
Result<Connection> connect(const fs::fuse::MountRequest& request, unsigned readers) {
  const fs::fuse::Mount mount = TRY(fs::fuse::mount_connection(request));
  auto descriptors = fs::fuse::clone_connection(mount.fuse_fd, readers);
  if (!descriptors) {
    static_cast<void>(fs::fuse::unmount(request.directory, true));
    return fail(std::move(descriptors).error());
  }
  return Connection{*descriptors, mount.note, mount.type, mount.source};
}

fs::fuse::SessionOptions session_options_of(const MountOptions& options, const fs::MemoryPlan& memory) {
  fs::fuse::SessionOptions made;
  made.writeback = options.writeback;
  made.check_open = options.check_open;
  made.max_background = options.max_background;
  made.buffer_bytes = memory.read_bytes;
  made.most_references = memory.references;
  return made;
}

std::string words_for_people(const MountOptions& options, const Connection& connection, const Confinement& confined) {
  std::string words;
  if (!connection.note.empty()) words = "mount.weft: " + connection.note;
  if (!options.verbose) return words;
  if (!words.empty()) words += '\n';
  words += "mount.weft: " + connection.source + " mounted at " + options.directory + " as " + connection.type;
  if (!confined.held_by.empty()) words += "\nmount.weft: confined: " + confined.held_by;
  return words;
}

// `unmounter`: none under a supervisor.
Status run(MountOptions options, const MountServerHooks& hooks, sched::SignalSet& signals,
           std::optional<Unmounter>& unmounter) {
  const Supervised* const supervised = hooks.supervised;
  fs::fuse::Handover* const handover = supervised != nullptr ? supervised->handover : nullptr;
  const std::chrono::milliseconds limit = std::chrono::seconds(options.watchdog_seconds);
  std::atomic<std::uint64_t> own_beats{0};
  std::atomic<std::uint64_t>& beats = handover != nullptr ? handover->beats : own_beats;
  std::atomic<int> abort_fd{-1};
  const auto hangs = [&](const char* what) {
    hooks.log(std::string(what) + " for " + std::to_string(options.watchdog_seconds) + " s; the server ends");
    if (abort_fd >= 0) static_cast<void>(::write(abort_fd, "1", 1) < 0);
    ::_exit(kHungStatus);
  };

  Server server;
  Heart heart(beats, limit, [&] { hangs("a request has been under way"); });
  heart.watch(server.device_ages);
  {
    // On a thread of its own: open(2) waits for a file system below that hangs.
    const fs::fuse::RequestAges::Entry opening(server.device_ages);
    auto opened = sched::blocking([&] { return open_image(options, hooks); });
    server.opened = TRY(std::move(opened));
  }
  server.disk.emplace(*server.opened.disk, server.device_ages);
  if (!server.opened.note.empty()) hooks.log(server.opened.note);
  const fs::MemoryPlan memory = fs::divide_memory(options.memory_bytes);
  server.file_system = TRY(fs::FileSystem::mount(*server.disk, file_system_options(options, memory, handover)));

  fs::fuse::SessionOptions session_options = session_options_of(options, memory);
  session_options.log = hooks.log;
  session_options.on_finished = [&server, handover] {
    if (handover != nullptr) handover->finished.store(true);
    server.opened.lock.release();
  };
  session_options.handover = handover;
  server.session.emplace(*server.file_system, std::move(session_options));
  fs::fuse::Session& session = *server.session;

  const fs::fuse::MountRequest request{.image = server.opened.path,
                                       .directory = options.directory,
                                       .flags = options.flags,
                                       .allow_other = options.allow_other,
                                       .want_block_device = !options.plain_fuse};
  const unsigned readers = sched::worker_count();  // which only a fiber can tell
  auto connection = sched::blocking([&] {
    return supervised != nullptr ? supervised->connect(request, server.opened.lock.fd()) : connect(request, readers);
  });
  if (!connection) {
    static_cast<void>(session.finish());
    return fail(std::move(connection).error());
  }
  if (supervised != nullptr) server.opened.lock.share();
  if (supervised == nullptr) abort_fd = fs::fuse::open_abort(options.directory);
  // EVERYTHING IS OPEN: what the server needs of the system from here on it has descriptors for, but for reading /proc, writing the
  // files of metrics and trace, and (where nobody supervises it) umount(2).
  auto started = fs::fuse::DeviceTransport::start(connection->descriptors, session, memory.write_bytes);
  if (!started || !session.wait_until_serving(kFirstAnswerLimit)) {
    if (supervised == nullptr) sched::blocking([&] { static_cast<void>(fs::fuse::unmount(options.directory, true)); });
    if (!started) {
      static_cast<void>(session.finish());
      return fail(std::move(started).error());
    }
    return fail(Errc::kTimedOut, "the kernel does not talk to the server");
  }
  server.transport = std::move(*started);
  heart.watch(session.ages());
  const Watchdog watchdog(supervised == nullptr ? limit : 0ms, beats, [&] { hangs("the server has stood still"); });
  if (supervised == nullptr && ::geteuid() == 0)
    fs::fuse::tune_cache(options.directory, options.read_ahead_kib, fs::fuse::kDirtyBytes);

  // Before anybody hears of the mount: with confine=on there is none otherwise, and what a stranger wrote is read mostly from now on.
  auto confined = confine(options.confine, options.metrics_file);
  if (!confined) {
    if (supervised == nullptr) {
      sched::blocking([&] { static_cast<void>(unmounter->unmount(true)); });
      server.transport->wait();
    }
    static_cast<void>(session.finish());
    if (supervised != nullptr) supervised->refuse(confined.error());
    return fail(std::move(confined).error());
  }
  start_heap_threads();

  hooks.mounted(words_for_people(options, *connection, *confined));
  if (!confined->missing.empty()) hooks.log("not confined in all ways: " + confined->missing);

  std::atomic<bool> ended{false};
  sched::Fiber watcher =
      sched::spawn("signals", [&] { unmount_on_signal(signals, options, unmounter, session, ended, hooks); });
  sched::Fiber reporter = sched::spawn("metrics", [&] {
    while (!options.metrics_file.empty()) {
      report_metrics(options, hooks);
      if (!sched::sleep_for(kMetricsInterval)) return;
    }
  });
  sched::Fiber teller = sched::spawn("teller", [&] {
    for (unsigned second = 0; sched::sleep_for(kTellInterval); ++second) {
      session.stale_blocks().tell(server.transport->kernel());
      session.ask_to_forget(server.transport->kernel());
      flush_workers();
      if (second % kSecondsBetweenTrims == 0) sched::blocking([&] { trim_heap(options.memory_bytes / 32); });
    }
  });
  server.transport->wait();
  const Status finished = session.finish();
  ended.store(true);
  watcher.request_stop();
  watcher.join();
  for (sched::Fiber* each : {&reporter, &teller}) {
    each->request_stop();
    each->join();
  }
  if (!options.metrics_file.empty()) report_metrics(options, hooks);
  return finished;
}

}  // namespace

Status serve_mount(const MountOptions& options, const MountServerHooks& hooks) {
  // The supervisor is told to unmount by the former, and tells the server by the last.
  sched::SignalSet signals = hooks.supervised == nullptr ? sched::SignalSet({SIGINT, SIGTERM, SIGHUP, SIGUSR1})
                                                         : sched::SignalSet({SIGUSR1, SIGUSR2});
  std::optional<Unmounter> unmounter;
  if (hooks.supervised == nullptr) unmounter.emplace(TRY(Unmounter::start(options.directory)));
  auto runtime = TRY(sched::Runtime::create({.name = "mount.weft",
                                             .workers = options.workers,
                                             .stack_memory = server_stacks(),
                                             .use_io_uring = options.use_io_uring,
                                             .open_files_only = options.confine != Confine::kOff}));
  if (!options.trace_file.empty()) TRY(trace_start(options.trace_file));
  Status served = runtime.block_on([&] { return run(options, hooks, signals, unmounter); });
  if (const Status traced = trace_stop(); !traced) hooks.log("trace: " + traced.error().message());
  return served;
}

}  // namespace weft::tools
