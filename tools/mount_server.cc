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
#include "tools/metrics_file.h"
#include "tools/open_disk.h"
#include "tools/server_heap.h"

namespace weft::tools {

namespace {

using namespace std::chrono_literals;

constexpr auto kFirstAnswerLimit = 30s;
constexpr auto kBusyUnmountLimit = 20s;
constexpr auto kMetricsInterval = 10s;
constexpr auto kTellInterval = 1s;
// Enough for the disk to be busy, and little enough for write-back to begin while the writer still writes: with what the kernel
// lets a disk have (gigabytes) it begins at fsync.
constexpr std::uint64_t kDirtyBytes = 128 << 20;

// Everything that lives as long as the mount, torn down in the opposite order.
struct Server {
  OpenedDisk opened;
  std::unique_ptr<fs::FileSystem> file_system;
  std::optional<fs::fuse::Session> session;
  std::unique_ptr<fs::fuse::DeviceTransport> transport;
};

Result<OpenedDisk> open_image(MountOptions& options, const MountServerHooks& hooks) {
  OpenDiskOptions how{.read_only = options.read_only(), .claim_device = false};
  auto opened = open_disk(options.image, how);
  if (!opened && opened.error() == Errc::kReadOnly && !how.read_only) {
    hooks.log(options.image + " is write-protected, mounting read-only");
    options.flags |= MS_RDONLY;
    how.read_only = true;
    opened = open_disk(options.image, how);
  }
  return opened;
}

fs::FileSystemOptions file_system_options(const MountOptions& options, const fs::MemoryPlan& memory) {
  fs::FileSystemOptions made;
  made.volume.read_only = options.read_only();
  made.volume.cache_bytes = memory.node_bytes;
  made.volume.bitmap_bytes = memory.bitmap_bytes;
  made.volume.log_buffer_bytes = memory.log_bytes;
  made.volume.commit_interval_ms = options.commit_interval_ms;
  made.inode_cache = memory.inodes;
  made.group_from_parent = options.group_from_parent;
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

// Waits for a signal and takes the mount away. `gone` ends the wait of a mount that something still holds.
void unmount_on_signal(sched::SignalSet& signals, const MountOptions& options, fs::fuse::Session& session,
                       std::atomic<bool>& ended, const MountServerHooks& hooks) {
  const std::string& directory = options.directory;
  auto signal = signals.wait();
  for (; signal && *signal == SIGUSR1; signal = signals.wait()) report_metrics(options, hooks);
  if (!signal) return;  // asked to stop: the mount has ended by itself
  hooks.log(std::string("unmounting on ") + ::strsignal(*signal));
  // On a thread of its own: umount(2) waits for this very server.
  const Status unmounted = sched::blocking([&] { return fs::fuse::unmount(directory, false); });
  if (unmounted) return;
  if (unmounted.error() != Errc::kBusy) {
    hooks.log(unmounted.error().message());
  } else {
    hooks.log(directory + " is in use; unmounting lazily");
    sched::blocking([&] { static_cast<void>(fs::fuse::unmount(directory, true)); });
  }
  // Until its last user has gone, or patience ends: then what is there is made durable and they see ENOTCONN.
  for (auto waited = 0ms; waited < kBusyUnmountLimit && !ended.load(); waited += 50ms) {
    if (!sched::sleep_for(50ms)) return;
  }
  if (ended.load()) return;
  hooks.log("still in use; ending all the same");
  static_cast<void>(session.finish());
  ::_exit(32);
}

Status run(MountOptions options, const MountServerHooks& hooks, sched::SignalSet& signals) {
  Server server;
  server.opened = TRY(open_image(options, hooks));
  if (!server.opened.note.empty()) hooks.log(server.opened.note);
  const fs::MemoryPlan memory = fs::divide_memory(options.memory_bytes);
  server.file_system = TRY(fs::FileSystem::mount(*server.opened.disk, file_system_options(options, memory)));

  fs::fuse::SessionOptions session_options;
  session_options.writeback = options.writeback;
  session_options.check_open = options.check_open;
  session_options.max_background = options.max_background;
  session_options.buffer_bytes = memory.read_bytes;
  session_options.most_references = memory.references;
  session_options.log = hooks.log;
  session_options.on_finished = [&server] { server.opened.lock.release(); };
  server.session.emplace(*server.file_system, std::move(session_options));
  fs::fuse::Session& session = *server.session;

  auto mount = sched::blocking([&] {
    return fs::fuse::mount_connection({.image = server.opened.path,
                                       .directory = options.directory,
                                       .flags = options.flags,
                                       .allow_other = options.allow_other,
                                       .want_block_device = !options.plain_fuse});
  });
  if (!mount) {
    static_cast<void>(session.finish());
    return fail(std::move(mount).error());
  }
  auto started = fs::fuse::DeviceTransport::start(mount->fuse_fd, session, sched::worker_count(), memory.write_bytes);
  if (!started || !session.wait_until_serving(kFirstAnswerLimit)) {
    sched::blocking([&] { static_cast<void>(fs::fuse::unmount(options.directory, true)); });
    if (!started) {
      static_cast<void>(session.finish());
      return fail(std::move(started).error());
    }
    return fail(Errc::kTimedOut, "the kernel does not talk to the server");
  }
  server.transport = std::move(*started);
  if (::geteuid() == 0) fs::fuse::tune_cache(options.directory, options.read_ahead_kib, kDirtyBytes);

  std::string message;
  if (!mount->note.empty()) message = "mount.weft: " + mount->note;
  if (options.verbose) {
    if (!message.empty()) message += '\n';
    message += "mount.weft: " + mount->source + " mounted at " + options.directory + " as " + mount->type;
  }
  hooks.mounted(message);

  std::atomic<bool> ended{false};
  sched::Fiber watcher = sched::spawn("signals", [&] { unmount_on_signal(signals, options, session, ended, hooks); });
  sched::Fiber reporter = sched::spawn("metrics", [&] {
    while (!options.metrics_file.empty()) {
      report_metrics(options, hooks);
      if (!sched::sleep_for(kMetricsInterval)) return;
    }
  });
  sched::Fiber teller = sched::spawn("teller", [&] {
    while (sched::sleep_for(kTellInterval)) {
      session.stale_blocks().tell(server.transport->kernel());
      session.ask_to_forget(server.transport->kernel());
      sched::blocking([&] { trim_heap(options.memory_bytes / 32); });
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
  sched::SignalSet signals({SIGINT, SIGTERM, SIGHUP, SIGUSR1});
  auto runtime = TRY(
      sched::Runtime::create({.name = "mount.weft", .workers = options.workers, .use_io_uring = options.use_io_uring}));
  if (!options.trace_file.empty()) TRY(trace_start(options.trace_file));
  Status served = runtime.block_on([&] { return run(options, hooks, signals); });
  if (const Status traced = trace_stop(); !traced) hooks.log("trace: " + traced.error().message());
  return served;
}

}  // namespace weft::tools
