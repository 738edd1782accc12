// fs/fuse/init.cc - the first request: what kernel and server agree to use.
#include <algorithm>
#include <cstring>

#include "fs/fuse/handlers.h"

namespace weft::fs::fuse {

namespace {

// What we take of what the kernel offers. Left out on purpose: POSIX_LOCKS and FLOCK_LOCKS (the kernel keeps locks itself
// and better), ATOMIC_O_TRUNC (it needs OPEN, which we may do without), AUTO_INVAL_DATA (nobody else changes files), SPLICE_*.
constexpr std::uint64_t kWanted =
    FUSE_ASYNC_READ | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_HAS_IOCTL_DIR |
    FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_NO_OPEN_SUPPORT | FUSE_PARALLEL_DIROPS |
    FUSE_POSIX_ACL | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT | FUSE_EXPLICIT_INVAL_DATA |
    FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT | kCreateSuppGroup | kDirectIoAllowMmap | kAllowIdmap;

}  // namespace

Status on_init(Session& session, Exchange& exchange) {
  // Older kernels send a shorter structure; what is missing reads as zero.
  fuse_init_in in{};
  constexpr std::size_t kOldBytes = offsetof(fuse_init_in, flags2);
  std::memcpy(&in, TRY(exchange.take_bytes(kOldBytes)).data(), kOldBytes);
  if ((in.flags & FUSE_INIT_EXT) != 0) {
    const auto flags2 = TRY(exchange.take<std::uint32_t>());
    in.flags2 = flags2;
  }
  fuse_init_out out{};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = std::min(in.minor, kMinorVersion);
  if (in.major < FUSE_KERNEL_VERSION || (in.major == FUSE_KERNEL_VERSION && in.minor < kOldestMinorVersion)) {
    session.log("this kernel's FUSE is too old: 7.31 (Linux 5.4) or later is needed");
    return fail(Errc::kInvalid);
  }
  if (in.major > FUSE_KERNEL_VERSION) {
    // The kernel asks again in our version.
    exchange.reply(out);
    return {};
  }
  std::uint64_t wanted = kWanted;
  if (session.options().writeback) wanted |= FUSE_WRITEBACK_CACHE;
  if (session.options().handover != nullptr) wanted |= kHasResend;
  const std::uint64_t offered = (in.flags & FUSE_INIT_EXT) != 0 ? in.flags | std::uint64_t{in.flags2} << 32 : in.flags;
  const std::uint64_t agreed = wanted & offered;
  out.flags = static_cast<std::uint32_t>(agreed);
  out.flags2 = static_cast<std::uint32_t>(agreed >> 32);
  out.max_readahead = in.max_readahead;
  out.max_background = static_cast<std::uint16_t>(std::min(session.options().max_background, 65535U));
  out.congestion_threshold = static_cast<std::uint16_t>(out.max_background / 4 * 3);
  out.max_write = kMaxTransferBytes;
  out.max_pages = kMaxPages;
  out.time_gran = 1;
  if ((agreed & FUSE_WRITEBACK_CACHE) != 0) session.file_system().leave_data_times_to_caller();
  if ((wanted & ~offered & kHasResend) != 0) {
    session.log(
        "this kernel does not send requests again (Linux 6.9 and later do): when the server dies, the mount dies with "
        "it");
  }
  session.start_serving(out.minor, agreed);
  exchange.reply(out);
  return {};
}

}  // namespace weft::fs::fuse
