#include "fs/fuse/errno_map.h"

#include <cerrno>

namespace weft::fs::fuse {

int errno_of(const Error& error) noexcept {
  switch (error.code()) {
    case Errc::kNotFound: return ENOENT;
    case Errc::kExists: return EEXIST;
    case Errc::kNotDirectory: return ENOTDIR;
    case Errc::kIsDirectory: return EISDIR;
    case Errc::kNotEmpty: return ENOTEMPTY;
    case Errc::kNotPermitted: return EPERM;
    case Errc::kAccessDenied: return EACCES;
    case Errc::kInvalid: return EINVAL;
    case Errc::kNameTooLong: return ENAMETOOLONG;
    case Errc::kTooManyLinks: return EMLINK;
    case Errc::kFileTooBig: return EFBIG;
    case Errc::kNoSpace: return ENOSPC;
    case Errc::kReadOnly: return EROFS;
    case Errc::kIo: return EIO;
    case Errc::kChecksum: return EIO;
    case Errc::kCorrupt: return EUCLEAN;
    case Errc::kWrongFormat: return EUCLEAN;
    case Errc::kNoData: return ENODATA;
    case Errc::kOutOfRange: return ERANGE;
    case Errc::kNoSuchOffset: return ENXIO;
    case Errc::kBusy: return EBUSY;
    // Not ENOSYS: the kernel would never send that kind of request again.
    case Errc::kUnsupported: return EOPNOTSUPP;
    case Errc::kCrossDevice: return EXDEV;
    case Errc::kLoop: return ELOOP;
    case Errc::kStale: return ESTALE;
    case Errc::kTextBusy: return ETXTBSY;
    case Errc::kNoMemory: return ENOMEM;
    case Errc::kAgain: return EAGAIN;
    case Errc::kTimedOut: return ETIMEDOUT;
    case Errc::kCancelled: return EINTR;
    case Errc::kClosed: return EIO;
    case Errc::kInternal: return EIO;
    // Of the network that a volume lies behind: nothing that a program which reads and writes files knows how to take.
    case Errc::kRefused:
    case Errc::kReset:
    case Errc::kUnreachable:
    case Errc::kAddressInUse:
    case Errc::kNoSuchAddress: return EIO;
    case Errc::kTooManyFiles: return ENFILE;
  }
  return EIO;
}

bool is_failure_of_ours(Errc code) noexcept {
  return code == Errc::kIo || code == Errc::kChecksum || code == Errc::kCorrupt || code == Errc::kWrongFormat ||
         code == Errc::kInternal || code == Errc::kClosed;
}

}  // namespace weft::fs::fuse
