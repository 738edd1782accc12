// tools/fsck_weft.cc - fsck.weft: finds what is wrong with a Weft volume, and puts it right.
//
// Called by people, and by fsck(8) as its helper for type weft. What it promises: tools/man/fsck.weft.8.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "fs/check/check.h"
#include "fs/superblock.h"
#include "fs/volume.h"
#include "sched/runtime.h"
#include "tools/check_report.h"
#include "tools/command_line.h"
#include "tools/open_disk.h"

namespace {

using weft::Errc;
using weft::Error;
using weft::Result;
using weft::fs::check::CheckOptions;
using weft::fs::check::CheckReport;
using weft::tools::kClean;
using weft::tools::kOperationalError;
using weft::tools::kUncorrected;
using weft::tools::ProgressBar;

// Exit codes of fsck(8), besides those of check_report.h.
constexpr int kUsage = 16;
constexpr int kCancelled = 32;

constexpr std::size_t kStackBytes = 512 * 1024;

struct Arguments {
  std::string image;
  bool no_changes = false;
  bool preen = false;
  bool yes = false;
  bool force = false;
  bool verbose = false;
  bool json = false;
  bool data = false;
  int progress_fd = -1;  // -1: none asked for; 0: a bar; else lines for fsck(8) to this descriptor
};

std::atomic<bool> interrupted{false};

int fail_with(std::string_view message, int status) {
  weft::tools::complain("fsck.weft", message);
  return status;
}

// For people and, if asked for, for machines.
int fail_with(const Arguments& arguments, const Error& error, int status) {
  if (arguments.json) {
    const std::string text = weft::tools::describe_failure_as_json(arguments.image, error.message(), status);
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  return fail_with(error.message(), status);
}

int status_of(const Error& error) {
  if (error == Errc::kCancelled) return kCancelled;
  return error == Errc::kCorrupt ? kUncorrected : kOperationalError;
}

// A bar on a terminal, or for a descriptor lines "pass done all device", as e2fsck writes for fsck(8) -C.
class ProgressReport {
 public:
  explicit ProgressReport(const Arguments& arguments)
      : arguments_(arguments),
        bar_(arguments.image, arguments.progress_fd == 0  ? ProgressBar::When::kAlways
                              : arguments.progress_fd > 0 ? ProgressBar::When::kNever
                                                          : ProgressBar::When::kOnTerminal) {}

  bool operator()(const char* what, std::uint64_t done, std::uint64_t total) {
    if (interrupted.load(std::memory_order_relaxed)) return false;
    bar_.update(done, total);
    const int percent = total == 0 ? 100 : static_cast<int>(std::min(done, total) * 100 / total);
    if (arguments_.progress_fd > 0 && percent != percent_) {
      percent_ = percent;
      const int pass = std::string_view(what) == "tree" ? 1 : 2;
      ::dprintf(arguments_.progress_fd, "%d %d 100 %s\n", pass, percent, arguments_.image.c_str());
    }
    return true;
  }

 private:
  const Arguments& arguments_;
  ProgressBar bar_;
  int percent_ = -1;
};

Result<CheckReport> check(weft::BlockDevice& disk, const Arguments& arguments, bool repair) {
  ProgressReport progress(arguments);
  CheckOptions options;
  options.repair = repair;
  options.only_safe = arguments.preen;
  options.data = arguments.data;
  options.progress = [&progress](const char* what, std::uint64_t done, std::uint64_t total) {
    return progress(what, done, total);
  };
  return weft::fs::check::check_volume(disk, options);
}

bool ask(const std::string& question) {
  std::printf("%s [y/N] ", question.c_str());
  std::fflush(stdout);
  const int answer = std::getchar();
  return answer == 'y' || answer == 'Y';
}

// What the superblock alone says is clean needs no look. What only wants its log replayed gets that.
bool settle_quickly(weft::BlockDevice& disk, const Arguments& arguments, int& status) {
  const auto found = weft::fs::find_superblock(disk);
  if (!found) return false;
  if ((found->superblock.state & weft::fs::kStateErrors) != 0) return false;
  bool replayed = false;
  if ((found->superblock.state & weft::fs::kStateMounted) != 0) {
    if (!arguments.preen) return false;
    weft::fs::VolumeOptions options;
    options.background = false;
    auto volume = weft::fs::Volume::open(disk, options);
    if (!volume || !(*volume)->close()) return false;
    replayed = true;
  }
  const auto now = weft::fs::find_superblock(disk);
  if (!now) return false;
  const weft::fs::DiskSuperblock& superblock = now->superblock;
  CheckReport report;
  report.inodes = superblock.inode_count;
  report.total_blocks = superblock.block_count;
  report.used_blocks = superblock.block_count - superblock.free_blocks;
  if (replayed) report.notes.emplace_back("its log was replayed");
  weft::tools::print_report(report, {.image = arguments.image, .json = arguments.json, .verbose = arguments.verbose});
  status = kClean;
  return true;
}

int run(const Arguments& arguments) {
  const bool wants_to_write = arguments.yes || arguments.preen;
  weft::tools::OpenDiskOptions how{.read_only = arguments.no_changes};
  auto opened = weft::tools::open_disk(arguments.image, how);
  if (!opened && !how.read_only && !wants_to_write &&
      (opened.error() == Errc::kReadOnly || opened.error() == Errc::kAccessDenied)) {
    how.read_only = true;
    opened = weft::tools::open_disk(arguments.image, how);
  }
  if (!opened) return fail_with(arguments, opened.error(), kOperationalError);
  weft::BlockDevice& disk = *opened->disk;

  int status = kClean;
  const bool look_closely = arguments.force || arguments.no_changes || arguments.yes || arguments.data;
  if (!look_closely && settle_quickly(disk, arguments, status)) return status;

  auto report = check(disk, arguments, wants_to_write);
  if (!report) return fail_with(arguments, report.error(), status_of(report.error()));
  weft::tools::print_report(*report, {.image = arguments.image, .json = arguments.json, .verbose = arguments.verbose});
  if (report->clean()) return kClean;
  const bool can_ask = !how.read_only && !wants_to_write && !arguments.json && ::isatty(STDIN_FILENO) == 1;
  if (can_ask && ask("Repair?")) {
    Arguments repairing = arguments;
    repairing.yes = true;
    report = check(disk, repairing, true);
    if (!report) return fail_with(arguments, report.error(), status_of(report.error()));
    weft::tools::print_report(*report, {.image = arguments.image, .verbose = arguments.verbose});
  }
  return weft::tools::exit_status(*report);
}

// -C takes a descriptor that may be missing or stand apart, which no parser of options likes.
std::vector<std::string> take_progress_option(int count, char** words, Arguments& arguments) {
  std::vector<std::string> rest;
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  };
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word.starts_with("-C") && (word.size() == 2 || is_number(word.substr(2)))) {
      arguments.progress_fd = 0;
      if (word.size() > 2) {
        arguments.progress_fd = std::atoi(words[i] + 2);
      } else if (i + 2 < count && is_number(words[i + 1])) {
        arguments.progress_fd = std::atoi(words[++i]);
      }
      continue;
    }
    rest.emplace_back(word);
  }
  return rest;
}

}  // namespace

int main(int count, char** words) {
  Arguments arguments;
  bool progress = false, ignored = false, automatic = false;
  CLI::App app("Checks a Weft file system, and repairs it.", "fsck.weft");
  app.add_option("IMAGE", arguments.image, "image or block device")->required();
  app.add_flag("-n", arguments.no_changes, "change nothing, only say what is wrong");
  app.add_flag("-p", arguments.preen, "preen: replay the log, repair what is safe to repair, ask nothing");
  app.add_flag("-a", automatic, "as -p");
  app.add_flag("-y", arguments.yes, "repair everything");
  app.add_flag("-f,--force", arguments.force, "check even if the volume is marked clean");
  app.add_flag("-v,--verbose", arguments.verbose, "say more, also what repairing brought about");
  app.add_flag("--data", arguments.data, "read all files, too, and compare them with their checksums");
  app.add_flag("--json", arguments.json, "print a report for machines");
  app.add_flag("--progress", progress, "a progress bar (-C FD: progress for fsck(8))");
  app.add_flag("-A,-M,-P,-R,-T,-l,-r,-s", ignored, "of fsck(8), without meaning here");
  app.set_version_flag("-V,--version", "fsck.weft " WEFT_VERSION);
  std::vector<std::string> rest = take_progress_option(count, words, arguments);
  std::reverse(rest.begin(), rest.end());
  try {
    app.parse(rest);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  arguments.preen = arguments.preen || automatic;
  if (progress && arguments.progress_fd < 0) arguments.progress_fd = 0;
  if (arguments.no_changes + arguments.preen + arguments.yes > 1) {
    return fail_with("only one of -n, -p (-a) and -y", kUsage);
  }
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });

  auto runtime = weft::sched::Runtime::create({.name = "fsck.weft", .workers = 1, .stack_bytes = kStackBytes});
  if (!runtime) return fail_with(runtime.error().message(), kOperationalError);
  return runtime->block_on([&] { return run(arguments); });
}
