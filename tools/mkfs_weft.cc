// tools/mkfs_weft.cc - mkfs.weft: makes an empty Weft file system on an image or a block device.
//
// Called by people and by mkfs(8) for -t weft. What it promises is in tools/man/mkfs.weft.8. Exit codes: 0 made (or, with -n,
// could be), 1 could not, 2 wrong usage.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

#include "fs/superblock.h"
#include "fs/volume.h"
#include "kernel/uuid.h"
#include "tools/command_line.h"
#include "tools/open_disk.h"
#include "tools/signature.h"

namespace {

using namespace weft;
using namespace weft::tools;

constexpr std::string_view kProgram = "mkfs.weft";
constexpr int kFailure = 1;
constexpr int kUsage = 2;

struct Wish {
  std::string image;
  std::string label;
  std::string uuid;
  std::string size;
  std::string log_size;
  std::string owner;
  std::string features;
  bool force = false;
  bool keep_blocks = false;
  bool dry_run = false;
  bool quiet = false;
};

// An image file that has the wished size, and nothing left of it if it could not be made into a volume.
class ImageFile {
 public:
  // Touches nothing but files: a disk's size is what it is.
  static Result<ImageFile> prepare(const Wish& wish) {
    ImageFile image(wish.image);
    struct stat facts{};
    const bool exists = ::stat(wish.image.c_str(), &facts) == 0;
    if (!exists && errno != ENOENT) return fail(Error::from_errno(errno, wish.image));
    if (wish.size.empty()) {
      if (!exists) {
        return fail(Errc::kNotFound, wish.image + " does not exist; to make it: --size, for example --size 10G");
      }
      return image;
    }
    const std::uint64_t bytes = TRY(parse_size(wish.size));
    if (exists && S_ISBLK(facts.st_mode)) {
      return fail(Errc::kInvalid, wish.image + " is a disk: --size is for image files; make a partition of that size");
    }
    if (bytes < fs::kMinVolumeBytes) {
      return fail(Errc::kInvalid,
                  fmt::format("--size {}: the smallest is {}", wish.size, format_size(fs::kMinVolumeBytes)));
    }
    if (exists && !S_ISREG(facts.st_mode)) return image;  // open_disk() says what is wrong with it
    const auto old_bytes = exists ? static_cast<std::uint64_t>(facts.st_size) : 0;
    if (exists && old_bytes > bytes && !wish.force) {
      return fail(Errc::kExists, fmt::format("{} has {}, more than --size {}; to cut it off: --force", wish.image,
                                             format_size(old_bytes), wish.size));
    }
    if (exists && wish.dry_run) return image;
    image.created_ = !exists;
    const int fd = ::open(wish.image.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(Error::from_errno(errno, "create " + wish.image));
    const bool sized = exists || ::ftruncate(fd, static_cast<off_t>(bytes)) == 0;
    const int error = errno;
    ::close(fd);
    if (!sized) return fail(Error::from_errno(error, fmt::format("{}: a file of {}", wish.image, format_size(bytes))));
    image.resize_to_ = bytes;
    return image;
  }

  ImageFile(ImageFile&& other) noexcept
      : path_(std::move(other.path_)), resize_to_(other.resize_to_), created_(std::exchange(other.created_, false)) {}
  ImageFile& operator=(ImageFile&&) = delete;
  ~ImageFile() {
    if (created_) ::unlink(path_.c_str());
  }

  // An existing file gets its size once it is known that it may be overwritten.
  Status resize() const {
    if (created_ || resize_to_ == 0) return {};
    if (::truncate(path_.c_str(), static_cast<off_t>(resize_to_)) == 0) return {};
    return fail(Error::from_errno(errno, fmt::format("{}: a size of {}", path_, format_size(resize_to_))));
  }
  void keep() noexcept { created_ = false; }

 private:
  explicit ImageFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::uint64_t resize_to_ = 0;
  bool created_ = false;
};

struct Owner {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

Result<Owner> parse_owner(const std::string& text) {
  if (text.empty()) return Owner{::geteuid(), ::getegid()};
  Owner owner;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%u:%u%c", &owner.uid, &owner.gid, &rest) != 2) {
    return fail(Errc::kInvalid, "--owner " + text + ": write two numbers, UID:GID");
  }
  return owner;
}

Result<fs::MakeVolumeOptions> volume_options(const Wish& wish) {
  fs::MakeVolumeOptions options;
  options.label = wish.label;
  options.discard = !wish.keep_blocks;
  if (!wish.uuid.empty()) {
    const Uuid uuid = TRY(Uuid::parse(wish.uuid));
    if (uuid.is_nil()) return fail(Errc::kInvalid, "--uuid: all zeros name nothing");
    std::memcpy(options.uuid.bytes, uuid.bytes.data(), sizeof options.uuid.bytes);
  }
  if (!wish.log_size.empty()) options.log_bytes = TRY(parse_size(wish.log_size));
  if (!wish.features.empty() && wish.features != "default") {
    return fail(Errc::kInvalid, fmt::format("--features {}: version {} of the format has none but 'default'",
                                            wish.features, std::uint32_t{fs::kFormatVersion}));
  }
  return options;
}

Status refuse_to_lose(OpenedDisk& opened, const Wish& wish) {
  if (wish.force) return {};
  const auto content = TRY(find_content(*opened.disk, opened.path, opened.is_block_device));
  if (!content) return {};
  return fail(Errc::kExists, fmt::format("{} holds {}; to overwrite it: --force", wish.image, *content));
}

Status report(BlockDevice& device, const Wish& wish) {
  if (wish.quiet) return {};
  const fs::DiskSuperblock made = TRY(fs::find_superblock(device))
  .superblock;
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), made.uuid.bytes, sizeof made.uuid.bytes);
  fmt::print("{}: a weft file system of {}, {} free, log {}\n", wish.image,
             format_size(made.block_count * fs::kBlockBytes), format_size(made.free_blocks * fs::kBlockBytes),
             format_size(std::uint64_t{made.log_blocks} * fs::kBlockBytes));
  if (!wish.label.empty()) fmt::print("  label {}\n", wish.label);
  fmt::print("  uuid  {}\n", uuid.text());
  return {};
}

Status make(const Wish& wish) {
  fs::MakeVolumeOptions options = TRY(volume_options(wish));
  const Owner owner = TRY(parse_owner(wish.owner));
  ImageFile image = TRY(ImageFile::prepare(wish));
  {
    OpenedDisk before = TRY(open_disk(wish.image, {.read_only = wish.dry_run}));
    TRY(refuse_to_lose(before, wish));
    if (wish.dry_run) {
      fmt::print("{}: nothing is in the way of a weft file system\n", wish.image);
      return {};
    }
    TRY(image.resize());
  }
  OpenedDisk opened = TRY(open_disk(wish.image, {}));  // its size may be another now
  if (!opened.note.empty() && !wish.quiet) complain(kProgram, opened.note);
  ProgressBar bar("Discarding", wish.quiet ? ProgressBar::When::kNever : ProgressBar::When::kOnTerminal);
  options.progress = [&](std::uint64_t done, std::uint64_t total) { bar.update(done, total); };
  TRY(fs::make_volume(*opened.disk, options, owner.uid, owner.gid));
  bar.finish();
  image.keep();
  return report(*opened.disk, wish);
}

}  // namespace

int main(int count, char** words) {
  Wish wish;
  bool verbose = false;
  CLI::App app("Makes an empty Weft file system on IMAGE, a file or a block device. What IMAGE held is lost.",
               "mkfs.weft");
  app.add_option("IMAGE", wish.image, "File or block device")->required();
  app.add_option("-L,--label", wish.label, "Name of the file system, up to 64 bytes");
  app.add_option("-U,--uuid", wish.uuid, "Its UUID; by default a random one");
  app.add_option("-s,--size", wish.size, "Make the image file, or an existing one, this large (512M, 10G, 2T)");
  app.add_option("-J,--log-size", wish.log_size, "Size of the journal; by default 1/64 of the whole, 128M at most");
  app.add_option("-O,--features", wish.features, "Format features; this version knows only 'default'");
  app.add_option("--owner", wish.owner, "UID:GID who shall own the root directory; by default you");
  app.add_flag("-f,-F,--force", wish.force,
               "Overwrite whatever IMAGE holds, and cut a file that is larger than --size");
  app.add_flag("-K,--nodiscard", wish.keep_blocks, "Do not tell the device that all its blocks are free");
  app.add_flag("-n,--dry-run", wish.dry_run, "Only say whether it could be made; change nothing");
  app.add_flag("-q,--quiet", wish.quiet, "Print errors only");
  app.add_flag("-v,--verbose", verbose, "Accepted, for mkfs(8)");
  app.set_version_flag("-V,--version", fmt::format("{} {}", kProgram, kVersion));
  app.footer(
      "Examples:\n  mkfs.weft --size 10G disk.img\n  mkfs.weft -L home /dev/sdb1\n\n"
      "Exit codes: 0 made, 1 could not, 2 wrong usage. See also mount.weft(8), fsck.weft(8).");
  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (const Status made = make(wish); !made) {
    complain(kProgram, made.error());
    return kFailure;
  }
  return 0;
}
