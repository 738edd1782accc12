// tools/weft.cc - weft: looks into Weft file systems and heaps, trims and scrubs. The command line of tools/weft_commands.h.
//
// See tools/man/weft.8. Exit codes: 0 all well, 1 failure or damage was shown, 2 wrong usage.
#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tools/command_line.h"
#include "tools/open_disk.h"
#include "tools/weft_commands.h"

namespace {

using namespace weft;
using namespace weft::tools;

constexpr std::string_view kProgram = "weft";
constexpr int kFailure = 1;
constexpr int kUsage = 2;

struct Wish {
  std::string image;
  bool json = false;
  DumpOptions dump;
  std::string offset, length, minimum;
  std::string rate;
  std::string process;
  bool prometheus = false, purge = false, holders = false;
  std::string profile;
  bool progress = false;
};

bool is_directory(const std::string& path) {
  struct stat facts{};
  return ::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

// As the table of mounts spells it.
Result<std::string> absolute(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return fail(Error::from_errno(errno, path));
  return std::string(resolved);
}

// Prints what it is handed and remembers whether any of it was wrong.
class Printer {
 public:
  explicit Printer(bool json) : json_(json) {}
  void operator()(const Report& report) {
    found_wrong_ = found_wrong_ || report.is_wrong();
    const std::string text = json_ ? report.json() + "\n" : report.text();
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  [[nodiscard]] bool found_wrong() const noexcept { return found_wrong_; }

 private:
  bool json_;
  bool found_wrong_ = false;
};

Result<OpenedDisk> open_to_look(const std::string& image) {
  OpenedDisk opened = TRY(open_disk(
      image,
      {.read_only = true, .refuse_mounted = false, .even_if_in_use = true, .patience = std::chrono::milliseconds(0)}));
  if (!opened.in_use_by.empty()) {
    complain(kProgram,
             image + " is in use by " + opened.in_use_by + ": what follows may be out of date or not fit together");
  }
  return opened;
}

template <typename Show>
Status look(const Wish& wish, Printer& print, Show&& show) {
  const OpenedDisk opened = TRY(open_to_look(wish.image));
  return show(*opened.disk, print);
}

Status stat(const Wish& wish, Printer& print) {
  if (is_directory(wish.image)) return show_mount_stat(TRY(absolute(wish.image)), print);
  return look(wish, print, show_stat);
}

Status trim(const Wish& wish) {
  TrimOptions options;
  if (!wish.offset.empty()) options.offset_bytes = TRY(parse_size(wish.offset));
  if (!wish.length.empty()) options.length_bytes = TRY(parse_size(wish.length));
  if (!wish.minimum.empty()) options.minimum_bytes = TRY(parse_size(wish.minimum));
  std::uint64_t bytes = 0;
  if (is_directory(wish.image)) {
    bytes = TRY(trim_mount(wish.image, options));
  } else {
    const OpenedDisk opened = TRY(open_disk(wish.image, {}));
    bytes = TRY(trim_device(*opened.disk, options));
  }
  if (wish.json) {
    Report report;
    fmt::print("{}\n", report.add("trimmed_bytes", bytes).json());
  } else {
    fmt::print("{}: {} trimmed\n", wish.image, format_size(bytes));
  }
  return {};
}

Status scrub(const Wish& wish, Printer& print) {
  if (!is_directory(wish.image)) {
    return fail(Errc::kInvalid, wish.image + ": not a mount point; what is not mounted is for fsck.weft --data");
  }
  ScrubOptions options;
  if (!wish.rate.empty()) {
    options.bytes_per_second = TRY(parse_size(wish.rate));
    if (options.bytes_per_second == 0) return fail(Errc::kInvalid, "a rate of 0");
  }
  ProgressBar bar("scrub", wish.progress ? ProgressBar::When::kAlways : ProgressBar::When::kOnTerminal);
  options.progress = [&](std::uint64_t done, std::uint64_t total) { bar.update(done, total); };
  return scrub_mount(wish.image, options, [&](const Report& report) {
    bar.finish();
    print(report);
  });
}

Status write_whole(const std::string& path, const std::string& text) {
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "we");
  if (file == nullptr) return fail(Error::from_errno(errno, path));
  int error = std::fwrite(text.data(), 1, text.size(), file) == text.size() ? 0 : errno;
  if (file != stdout && std::fclose(file) != 0 && error == 0) error = errno;
  if (error != 0) return fail(Error::from_errno(error, "write " + path));
  return {};
}

// First what frees, then what shows.
Status heap(const Wish& wish) {
  if (wish.purge) {
    const std::string bytes = TRY(ask_heap(wish.process, "purge"));
    if (wish.json) {
      fmt::print("{{\"purged_bytes\":{}}}\n", std::strtoull(bytes.c_str(), nullptr, 10));
    } else {
      fmt::print("{}: {} given back\n", wish.process, format_size(std::strtoull(bytes.c_str(), nullptr, 10)));
    }
    return {};
  }
  if (!wish.profile.empty()) return write_whole(wish.profile, TRY(ask_heap(wish.process, "profile")));
  if (wish.holders) return write_whole("-", demangled(TRY(ask_heap(wish.process, "holders"))));
  const char* format = wish.json ? "json" : wish.prometheus ? "prometheus" : "text";
  return write_whole("-", TRY(ask_heap(wish.process, format)));
}

}  // namespace

int main(int count, char** words) {
  Wish wish;
  CLI::App app("Looks into Weft file systems and heaps, trims and scrubs.", "weft");
  app.require_subcommand(1);
  app.set_version_flag("-V,--version", fmt::format("{} {}", kProgram, kVersion));
  const auto subcommand = [&](const char* name, const char* about) {
    CLI::App* made = app.add_subcommand(name, about);
    made->add_flag("-j,--json", wish.json, "One line of JSON for each thing shown");
    return made;
  };
  CLI::App* info = subcommand("info", "Label, sizes, state, journal and superblocks of a volume");
  info->add_option("IMAGE", wish.image, "File or block device")->required();
  CLI::App* dump = subcommand("dump", "Any block of a volume as the struct that it is");
  dump->add_option("IMAGE", wish.image, "File or block device")->required();
  dump->add_option("WHAT", wish.dump.words,
                   "superblock | group N | bitmap N | log | node BLOCK | block N | inode N | path /A/B | tree")
      ->required();
  dump->add_flag("-r,--records", wish.dump.records, "With log: transactions and changes of each record");
  CLI::App* stat_command = subcommand("stat", "Where the space went, and how scattered what is free lies");
  stat_command->add_option("IMAGE", wish.image, "File, block device, or mount point")->required();
  CLI::App* trim_command = subcommand("trim", "Tell the device which blocks are free");
  trim_command->add_option("IMAGE", wish.image, "Mount point, or a file or device that is not mounted")->required();
  trim_command->add_option("-o,--offset", wish.offset, "From this byte of the volume (0)");
  trim_command->add_option("-l,--length", wish.length, "So many bytes (to the end)");
  trim_command->add_option("-m,--minimum", wish.minimum, "Leave out free extents that are smaller");
  CLI::App* scrub_command = subcommand("scrub", "Read all of a mounted volume and compare it with its checksums");
  scrub_command->add_option("MOUNTPOINT", wish.image, "Any directory of the mount")->required();
  scrub_command->add_option("-r,--rate", wish.rate, "Read at most so many bytes a second");
  scrub_command->add_flag("-p,--progress", wish.progress, "Show progress also where there is no terminal");
  CLI::App* heap_command = subcommand("heap", "Numbers of a running process whose heap is Weft's");
  heap_command->add_option("PROCESS", wish.process, "Its id, or the socket it was given: WEFT_HEAP=stats=SOCKET")
      ->required();
  CLI::Option* prometheus = heap_command->add_flag("-m,--prometheus", wish.prometheus, "As Prometheus reads them");
  CLI::Option* holders =
      heap_command->add_flag("-w,--who", wish.holders, "The stacks that hold the most memory (needs a profile)");
  CLI::Option* profile = heap_command->add_option("-p,--profile", wish.profile,
                                                  "Write a heap profile for pprof there; -: standard output");
  heap_command->add_flag("--purge", wish.purge, "Have it give free pages back")->excludes(prometheus, holders, profile);
  profile->excludes(prometheus, holders);
  holders->excludes(prometheus);
  app.footer("Exit codes: 0 all well, 1 failure or damage was shown, 2 wrong usage. See weft(8).");
  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }

  Printer print(wish.json);
  Status done;
  if (info->parsed()) done = look(wish, print, show_info);
  if (dump->parsed()) {
    done = look(wish, print, [&](BlockDevice& device, PrintReport each) { return show_dump(device, wish.dump, each); });
  }
  if (stat_command->parsed()) done = stat(wish, print);
  if (trim_command->parsed()) done = trim(wish);
  if (heap_command->parsed()) done = heap(wish);
  if (scrub_command->parsed()) done = scrub(wish, print);
  if (!done) {
    std::fflush(stdout);
    complain(kProgram, done.error());
    return kFailure;
  }
  if (std::fflush(stdout) != 0) {
    complain(kProgram, "cannot write to standard output");
    return kFailure;
  }
  return print.found_wrong() ? kFailure : 0;
}
