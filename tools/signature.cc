#include "tools/signature.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string_view>

#include "fs/aligned_buffer.h"
#include "fs/superblock.h"
#include "fs/types.h"

namespace weft::tools {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// One slot that is whole is enough to call it a volume of ours, however damaged the rest.
bool holds_weft(BlockDevice& device) {
  const auto found = fs::find_superblock(device);
  return found || found.error().code() == Errc::kCorrupt;
}

std::optional<std::string> ask_blkid(int fd) {
  const std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)> probe(blkid_new_probe(), blkid_free_probe);
  if (!probe || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) return {};
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
  blkid_probe_enable_partitions(probe.get(), 1);
  if (blkid_do_fullprobe(probe.get()) != 0) return {};
  const char* text = nullptr;
  if (blkid_probe_lookup_value(probe.get(), "TYPE", &text, nullptr) == 0) {
    const std::string type = text;
    const bool is_file_system =
        blkid_probe_lookup_value(probe.get(), "USAGE", &text, nullptr) == 0 && std::string_view(text) == "filesystem";
    return is_file_system ? "a file system of type " + type : "content of type " + type;
  }
  if (blkid_probe_lookup_value(probe.get(), "PTTYPE", &text, nullptr) == 0) {
    return "a partition table of type " + std::string(text);
  }
  return {};
}

Result<bool> begins_with_zeros(BlockDevice& device) {
  constexpr std::uint64_t kLookedAt = 64 * std::uint64_t{1024};
  const std::uint64_t bytes = std::min(kLookedAt, device.geometry().size_bytes / fs::kBlockBytes * fs::kBlockBytes);
  fs::AlignedBuffer buffer(bytes);
  TRY(device.read(0, buffer.bytes()));
  return std::ranges::all_of(buffer.bytes(), [](std::byte one) { return one == std::byte{0}; });
}

}  // namespace

Result<std::optional<std::string>> find_content(BlockDevice& device, const std::string& path, bool is_block_device) {
  if (holds_weft(device)) return "a weft file system";
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return fail(Error::from_errno(errno, "open " + path));
  if (auto known = ask_blkid(file.get())) return known;
  // Old blocks on a disk mean nothing, but a file that is not blank is likely somebody's work, named by mistake.
  if (!is_block_device && !TRY(begins_with_zeros(device))) return "data of no known kind";
  return std::optional<std::string>();
}

}  // namespace weft::tools
