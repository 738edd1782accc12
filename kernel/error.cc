#include "kernel/error.h"

#include <cerrno>
#include <system_error>

namespace weft {

std::string_view describe(Errc code) noexcept {
  switch (code) {
    case Errc::kNotFound: return "not found";
    case Errc::kExists: return "exists already";
    case Errc::kNotDirectory: return "not a directory";
    case Errc::kIsDirectory: return "is a directory";
    case Errc::kNotEmpty: return "directory not empty";
    case Errc::kNotPermitted: return "operation not permitted";
    case Errc::kAccessDenied: return "permission denied";
    case Errc::kInvalid: return "invalid argument";
    case Errc::kNameTooLong: return "name too long";
    case Errc::kTooManyLinks: return "too many links";
    case Errc::kFileTooBig: return "file too large";
    case Errc::kNoSpace: return "no space left";
    case Errc::kReadOnly: return "read-only";
    case Errc::kIo: return "input/output error";
    case Errc::kChecksum: return "checksum mismatch";
    case Errc::kCorrupt: return "metadata is damaged";
    case Errc::kNoData: return "no such attribute";
    case Errc::kOutOfRange: return "result too large for the buffer";
    case Errc::kNoSuchOffset: return "no data or hole past this offset";
    case Errc::kBusy: return "busy";
    case Errc::kUnsupported: return "not supported";
    case Errc::kCrossDevice: return "crosses devices";
    case Errc::kLoop: return "loop in path";
    case Errc::kStale: return "stale handle";
    case Errc::kTextBusy: return "text file busy";
    case Errc::kNoMemory: return "out of memory";
    case Errc::kAgain: return "try again";
    case Errc::kTimedOut: return "timed out";
    case Errc::kCancelled: return "cancelled";
    case Errc::kClosed: return "closed";
    case Errc::kRefused: return "connection refused";
    case Errc::kReset: return "connection reset";
    case Errc::kUnreachable: return "unreachable";
    case Errc::kAddressInUse: return "address in use";
    case Errc::kNoSuchAddress: return "no address of this machine";
    case Errc::kTooManyFiles: return "too many open files";
    case Errc::kWrongFormat: return "wrong format";
    case Errc::kInternal: return "internal error";
  }
  return "unknown error";
}

namespace {

Errc code_from_errno(int os_errno) noexcept {
  switch (os_errno) {
    case ENOENT: return Errc::kNotFound;
    case EEXIST: return Errc::kExists;
    case ENOTDIR: return Errc::kNotDirectory;
    case EISDIR: return Errc::kIsDirectory;
    case ENOTEMPTY: return Errc::kNotEmpty;
    case EPERM: return Errc::kNotPermitted;
    case EACCES: return Errc::kAccessDenied;
    case EINVAL: return Errc::kInvalid;
    case ENAMETOOLONG: return Errc::kNameTooLong;
    case EMLINK: return Errc::kTooManyLinks;
    case EFBIG: return Errc::kFileTooBig;
    case ENOSPC:
    case EDQUOT: return Errc::kNoSpace;
    case EROFS: return Errc::kReadOnly;
    case ENODATA: return Errc::kNoData;
    case ERANGE: return Errc::kOutOfRange;
    case ENXIO: return Errc::kNoSuchOffset;
    case EBUSY: return Errc::kBusy;
    case EOPNOTSUPP:
    case ENOSYS: return Errc::kUnsupported;
    case EXDEV: return Errc::kCrossDevice;
    case ELOOP: return Errc::kLoop;
    case ESTALE: return Errc::kStale;
    case ETXTBSY: return Errc::kTextBusy;
    case ENOMEM: return Errc::kNoMemory;
    case EAGAIN: return Errc::kAgain;
    case ETIMEDOUT: return Errc::kTimedOut;
    case ECANCELED: return Errc::kCancelled;
    case EPIPE:
    case ENOTCONN: return Errc::kClosed;
    case ECONNREFUSED: return Errc::kRefused;
    case ECONNRESET:
    case ECONNABORTED: return Errc::kReset;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN: return Errc::kUnreachable;
    case EADDRINUSE: return Errc::kAddressInUse;
    case EADDRNOTAVAIL: return Errc::kNoSuchAddress;
    case EMFILE:
    case ENFILE: return Errc::kTooManyFiles;
    default: return Errc::kIo;
  }
}

}  // namespace

Error::Error(Errc code, std::string message)
    : code_(code), message_(std::make_unique<std::string>(std::move(message))) {}

Error::Error(const Error& other)
    : code_(other.code_),
      os_errno_(other.os_errno_),
      message_(other.message_ ? std::make_unique<std::string>(*other.message_) : nullptr) {}

Error& Error::operator=(const Error& other) {
  if (this != &other) *this = Error(other);
  return *this;
}

Error Error::from_errno(int os_errno, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += std::generic_category().message(os_errno);
  Error error(code_from_errno(os_errno), std::move(message));
  error.os_errno_ = os_errno;
  return error;
}

std::string Error::message() const { return message_ ? *message_ : std::string(describe(code_)); }

Error Error::with(std::string_view context) && {
  std::string message(context);
  message += ": ";
  message += this->message();
  message_ = std::make_unique<std::string>(std::move(message));
  return std::move(*this);
}

}  // namespace weft
