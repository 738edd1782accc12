#include "tools/mount_options.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "kernel/units.h"

// Absent from the headers of glibc 2.36.
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif

namespace weft::tools {

bool MountOptions::read_only() const noexcept { return (flags & MS_RDONLY) != 0; }

namespace {

struct FlagOption {
  std::string_view name;
  unsigned long set = 0;
  unsigned long clear = 0;
};

// Options that are flags of mount(2).
constexpr std::array kFlagOptions = {
    FlagOption{"ro", MS_RDONLY, 0},
    FlagOption{"rw", 0, MS_RDONLY},
    FlagOption{"suid", 0, MS_NOSUID},
    FlagOption{"nosuid", MS_NOSUID, 0},
    FlagOption{"dev", 0, MS_NODEV},
    FlagOption{"nodev", MS_NODEV, 0},
    FlagOption{"exec", 0, MS_NOEXEC},
    FlagOption{"noexec", MS_NOEXEC, 0},
    FlagOption{"sync", MS_SYNCHRONOUS, 0},
    FlagOption{"async", 0, MS_SYNCHRONOUS},
    FlagOption{"dirsync", MS_DIRSYNC, 0},
    FlagOption{"atime", 0, MS_NOATIME},
    FlagOption{"noatime", MS_NOATIME, 0},
    FlagOption{"diratime", 0, MS_NODIRATIME},
    FlagOption{"nodiratime", MS_NODIRATIME, 0},
    FlagOption{"relatime", MS_RELATIME, MS_STRICTATIME},
    FlagOption{"norelatime", 0, MS_RELATIME},
    FlagOption{"strictatime", MS_STRICTATIME, MS_RELATIME},
    FlagOption{"nostrictatime", 0, MS_STRICTATIME},
    FlagOption{"lazytime", MS_LAZYTIME, 0},
    FlagOption{"nolazytime", 0, MS_LAZYTIME},
    FlagOption{"symfollow", 0, MS_NOSYMFOLLOW},
    FlagOption{"nosymfollow", MS_NOSYMFOLLOW, 0},
    FlagOption{"silent", MS_SILENT, 0},
    FlagOption{"loud", 0, MS_SILENT},
    FlagOption{"defaults", 0, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS},
    // mount(8) gives these to ordinary users together with `user`; they may be lifted by a later option.
    FlagOption{"user", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0},
    FlagOption{"users", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0},
    FlagOption{"owner", MS_NOSUID | MS_NODEV, 0},
    FlagOption{"group", MS_NOSUID | MS_NODEV, 0},
};

// For fstab, mount(8) and systemd to read.
constexpr std::array<std::string_view, 9> kForOthers = {"auto",    "noauto",  "nofail",  "nouser", "nousers",
                                                        "noowner", "nogroup", "_netdev", "loop"};
// The second line is what mount(8) takes from the table of mounts at a remount.
constexpr std::array<std::string_view, 13> kForOthersPrefixes = {
    "x-",    "X-",    "comment=", "helper=",   "uhelper=",  "fsname=", "subtype=",
    "loop=", "user=", "user_id=", "group_id=", "max_read=", "blksize="};

Result<std::uint64_t> parse_number(std::string_view name, std::string_view text, std::uint64_t least,
                                   std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return fail(Errc::kInvalid, std::string(name) + "=" + std::string(text) + ": a number from " +
                                    std::to_string(least) + " to " + std::to_string(most) + " is wanted");
  }
  return value;
}

Result<std::uint64_t> parse_bytes(std::string_view name, std::string_view text) {
  std::uint64_t unit = 1;
  std::string_view digits = text;
  if (!digits.empty()) {
    switch (digits.back()) {
      case 'k':
      case 'K': unit = kKiB; break;
      case 'm':
      case 'M': unit = kMiB; break;
      case 'g':
      case 'G': unit = kGiB; break;
      default: break;
    }
    if (unit != 1) digits.remove_suffix(1);
  }
  auto value = parse_number(name, digits, 1, (1ULL << 50) / unit);
  if (!value)
    return fail(Errc::kInvalid, std::string(name) + "=" + std::string(text) + ": a size such as 64M is wanted");
  return *value * unit;
}

Status apply_valued(MountOptions& options, std::string_view name, std::string_view value, bool& known) {
  known = true;
  auto take = [&](auto& field, std::uint64_t least, std::uint64_t most, std::uint64_t times = 1) -> Status {
    field = static_cast<std::remove_reference_t<decltype(field)>>(TRY(parse_number(name, value, least, most)) * times);
    return {};
  };
  if (name == "memory") {
    options.memory_bytes = TRY(parse_bytes(name, value));
    if (options.memory_bytes < fs::kLeastMemoryBytes)
      return fail(Errc::kInvalid, "memory: " + std::to_string(fs::kLeastMemoryBytes / kMiB) + "M is the least");
  } else if (name == "commit") {
    return take(options.commit_interval_ms, 1, 3600, 1000);
  } else if (name == "max_background") {
    return take(options.max_background, 1, 65535);
  } else if (name == "workers") {
    return take(options.workers, 1, 1024);
  } else if (name == "watchdog") {
    return take(options.watchdog_seconds, 0, 86400);
  } else if (name == "read_ahead") {
    options.read_ahead_kib = static_cast<unsigned>(TRY(parse_bytes(name, value)) / kKiB);
  } else if (name == "trace") {
    if (value.empty()) return fail(Errc::kInvalid, "trace: the name of a file is wanted");
    options.trace_file = value;
  } else if (name == "metrics") {
    if (value.empty()) return fail(Errc::kInvalid, "metrics: the name of a file is wanted");
    options.metrics_file = value;
  } else if (name == "io_uring") {
    if (value != "auto" && value != "off") return fail(Errc::kInvalid, "io_uring: auto or off is wanted");
    options.use_io_uring = value == "auto";
  } else if (name == "confine") {
    if (value != "auto" && value != "on" && value != "off")
      return fail(Errc::kInvalid, "confine: auto, on or off is wanted");
    options.confine = value == "auto" ? Confine::kAuto : value == "on" ? Confine::kOn : Confine::kOff;
  } else if (name == "open") {
    if (value != "checked" && value != "fast") return fail(Errc::kInvalid, "open: checked or fast is wanted");
    options.check_open = value == "checked";
  } else if (name == "errors") {
    if (value != "remount-ro")
      return fail(Errc::kInvalid, "errors=" + std::string(value) + ": only remount-ro is offered");
  } else {
    known = false;
  }
  return {};
}

Status apply(MountOptions& options, std::string_view word) {
  for (const FlagOption& each : kFlagOptions) {
    if (each.name == word) {
      options.flags = (options.flags & ~each.clear) | each.set;
      return {};
    }
  }
  if (std::ranges::find(kForOthers, word) != kForOthers.end()) return {};
  for (const std::string_view prefix : kForOthersPrefixes) {
    if (word.starts_with(prefix)) return {};
  }
  if (word == "remount") {
    options.remount = true;
  } else if (word == "allow_other") {
    options.allow_other = options.allow_other_asked = true;
  } else if (word == "noallow_other") {
    options.allow_other = false;
  } else if (word == "default_permissions" || word == "nodiscard") {
    // Always so.
  } else if (word == "discard") {
    options.notes.emplace_back(
        "discard: freed space is not discarded as it comes; run fstrim(8) or `weft trim` now and then");
  } else if (word == "no_writeback" || word == "nowriteback") {
    options.writeback = false;
  } else if (word == "writeback") {
    options.writeback = true;
  } else if (word == "grpid" || word == "bsdgroups") {
    options.group_from_parent = true;
  } else if (word == "nogrpid" || word == "sysvgroups") {
    options.group_from_parent = false;
  } else if (word == "foreground") {
    options.foreground = true;
  } else if (word == "plain_fuse") {
    options.plain_fuse = true;
  } else if (word == "supervise" || word == "nosupervise") {
    options.supervise = word == "supervise";
  } else {
    const std::size_t equals = word.find('=');
    bool known = false;
    if (equals != std::string_view::npos) {
      TRY(apply_valued(options, word.substr(0, equals), word.substr(equals + 1), known));
    }
    if (!known) {
      if (!options.sloppy) return fail(Errc::kInvalid, "unknown option \"" + std::string(word) + "\"");
      options.notes.emplace_back("unknown option \"" + std::string(word) + "\" is passed over");
    }
  }
  return {};
}

Status apply_list(MountOptions& options, std::string_view list) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view word = list.substr(0, comma);
    if (!word.empty()) TRY(apply(options, word));
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
  }
  return {};
}

}  // namespace

Result<MountOptions> parse_mount_options(const std::vector<std::string>& words, bool called_by_mount) {
  MountOptions options;
  std::vector<std::string> lists;
  std::vector<std::string> places;
  bool only_places = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_places || word.size() < 2 || word[0] != '-') {
      places.push_back(word);
      continue;
    }
    if (word.starts_with("--")) {
      if (word == "--")
        only_places = true;
      else if (word == "--help")
        options.help = true;
      else if (word == "--version")
        options.version = true;
      else if (word == "--foreground")
        options.foreground = true;
      else if (word == "--verbose")
        options.verbose = true;
      else if (word == "--fake")
        options.fake = true;
      else if (word == "--read-only")
        lists.emplace_back("ro");
      else if (word.starts_with("--trace=") || word.starts_with("--metrics="))
        lists.push_back(word.substr(2));
      else if ((word == "--trace" || word == "--metrics" || word == "--options") && i + 1 < words.size()) {
        ++i;
        lists.push_back(word == "--options" ? words[i] : word.substr(2) + "=" + words[i]);
      } else {
        return fail(Errc::kInvalid, "unknown option " + word);
      }
      continue;
    }
    for (std::size_t at = 1; at < word.size(); ++at) {
      const char letter = word[at];
      switch (letter) {
        case 'f': (called_by_mount ? options.fake : options.foreground) = true; break;
        case 's': options.sloppy = true; break;
        case 'n': break;  // no /etc/mtab: nobody writes one any more
        case 'v': options.verbose = true; break;
        case 'h': options.help = true; break;
        case 'V': options.version = true; break;
        case 'r': lists.emplace_back("ro"); break;
        case 'w': lists.emplace_back("rw"); break;
        case 'o':
        case 't':
        case 'N': {
          std::string value = word.substr(at + 1);
          if (value.empty()) {
            if (++i >= words.size()) return fail(Errc::kInvalid, std::string("-") + letter + " needs a value");
            value = words[i];
          }
          if (letter == 'o') lists.push_back(std::move(value));
          at = word.size();
          break;
        }
        default: return fail(Errc::kInvalid, std::string("unknown option -") + letter);
      }
    }
  }
  if (options.help || options.version) return options;
  for (const std::string& list : lists) TRY(apply_list(options, list));
  if (places.size() != 2) return fail(Errc::kInvalid, "an image or block device and a directory are wanted");
  options.image = places[0];
  options.directory = places[1];
  return options;
}

std::string_view mount_usage() noexcept {
  return R"(Usage: mount.weft IMAGE DIRECTORY [options]
       mount -t weft IMAGE DIRECTORY [-o options]

Mounts the Weft file system in IMAGE (a file or a block device) at DIRECTORY. Returns when it is mounted;
a server stays behind until it is unmounted with umount(8), or fusermount3 -u for ordinary users.

  -o OPTION,...     see below; several -o add up
  -f, --foreground  stay in the foreground and log to standard error
  -r, --read-only   the same as -o ro
  -v, --verbose     say how it was mounted
  -s                pass over unknown options
      --trace FILE  write a trace of what the server does (chrome://tracing, Perfetto)
      --metrics FILE  keep the server's counters and latencies in a file (JSON; .prom: Prometheus; .txt: text)
  -h, --help        this text
  -V, --version

Options of Weft:
  ro, rw            read-only (nothing at all is written) or writable [rw]
  commit=SECONDS    what nobody asked to sync is durable after this time [5]
  memory=SIZE       what the server may take, all caches and buffers together, such as 64M or 1G [256M]
  workers=N         threads of the server [one for each processor]
  max_background=N  requests the kernel may have under way [256]
  read_ahead=SIZE   of files read in sequence [4M]; root only
  no_writeback      every write() goes to the server at once
  open=fast         opening a file costs no request; immutable and append-only files can't be had [checked]
  grpid             new files take the group of their directory
  allow_other       other users may enter [so for root; an ordinary user needs user_allow_other in /etc/fuse.conf]
  supervise         when the server dies another goes on, and programs see a pause [off]; Linux 6.9
  watchdog=SECONDS  a server that hangs for so long is ended [120]; 0: never
  plain_fuse        no loop device: sync(2) does not reach the server, umount(8) does not wait for it
  io_uring=off      do without io_uring
  confine=HOW       the server gives up privileges, files and system calls: auto as far as the machine lets it,
                    on or else there is no mount, off nothing [auto]
  trace=FILE        as --trace
  metrics=FILE      as --metrics
  foreground        as -f
  remount           change ro, noatime, nosuid and the like of a mounted file system

Common options (noatime, nosuid, nodev, noexec, sync, dirsync ...) and those for fstab (noauto, nofail, user,
_netdev, x-...) mean what mount(8) says.

Exit status: 0 mounted, 1 wrong usage or no permission, 2 system error, 32 the mount failed.
)";
}

}  // namespace weft::tools
