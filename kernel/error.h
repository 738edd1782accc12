// kernel/error.h - what went wrong, as a value.
//
// An Error is a code from one closed list, the operating system's errno where there was one, and, off the hot
// path, a sentence for people that says what, where and what to do. An Error without a message never allocates, so
// that "no such file" costs nothing. errno itself exists only at the edges: from_errno() on the way in,
// fs/fuse/errno_map on the way out.
//
// Thread-safety: a value; share it as you would an int.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weft {

enum class Errc : std::uint8_t {
  kNotFound,       // no such name, inode or object
  kExists,         // the name is taken
  kNotDirectory,   // a path component is not a directory
  kIsDirectory,    // the operation wants a file
  kNotEmpty,       // the directory has entries
  kNotPermitted,   // needs ownership or a privilege (EPERM)
  kAccessDenied,   // permission bits or ACL say no (EACCES)
  kInvalid,        // an argument makes no sense
  kNameTooLong,    //
  kTooManyLinks,   //
  kFileTooBig,     // past the largest file size
  kNoSpace,        // volume or log is full
  kReadOnly,       // the volume or device does not take writes
  kIo,             // the device failed
  kChecksum,       // data came back other than it was written (EIO outside)
  kCorrupt,        // metadata that cannot be true (EUCLEAN outside)
  kNoData,         // no such attribute
  kOutOfRange,     // the caller's buffer is too small (ERANGE)
  kNoSuchOffset,   // SEEK_DATA or SEEK_HOLE past the end (ENXIO)
  kBusy,           // somebody else holds it
  kUnsupported,    // the operation is not offered here
  kCrossDevice,    //
  kLoop,           // a directory would become its own ancestor, or too many symlinks
  kStale,          // the handle's object is gone
  kTextBusy,       //
  kNoMemory,       //
  kAgain,          // try again later
  kTimedOut,       // the deadline passed first
  kCancelled,      // a stop was requested
  kClosed,         // the channel, connection, device or file system has been shut down (EPIPE)
  kRefused,        // nobody listens there (ECONNREFUSED)
  kReset,          // the other end has given the connection up (ECONNRESET, ECONNABORTED)
  kUnreachable,    // no way leads there (ENETUNREACH, EHOSTUNREACH ...)
  kAddressInUse,   // another socket has it (EADDRINUSE)
  kNoSuchAddress,  // not one of this machine's (EADDRNOTAVAIL)
  kTooManyFiles,   // open at once, of the process or the machine (EMFILE, ENFILE)
  kWrongFormat,    // the bytes are not what they should be an instance of
  kInternal,       // a bug of ours
};

// The name people and logs see, such as "no space left".
std::string_view describe(Errc code) noexcept;

class [[nodiscard]] Error {
 public:
  Error(Errc code) noexcept : code_(code) {}  // implicit: `return Errc::kNotFound;` reads well
  Error(Errc code, std::string message);
  Error(const Error& other);
  Error& operator=(const Error& other);
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  ~Error() = default;

  // `os_errno` is positive. `what` names the call and its object: "open /dev/sda".
  static Error from_errno(int os_errno, std::string_view what);

  [[nodiscard]] Errc code() const noexcept { return code_; }
  [[nodiscard]] int os_errno() const noexcept { return os_errno_; }  // 0 where no system call was behind it
  // The whole sentence: message if there is one, else the code's description.
  [[nodiscard]] std::string message() const;
  // The same error, its message led by "context: ".
  [[nodiscard]] Error with(std::string_view context) &&;

 private:
  Errc code_;
  std::int32_t os_errno_ = 0;
  std::unique_ptr<std::string> message_;
};

inline bool operator==(const Error& error, Errc code) noexcept { return error.code() == code; }

}  // namespace weft
