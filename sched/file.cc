#include "sched/file.h"

#include <cerrno>

#include "sched/file_system.h"
#include "sched/io.h"
#include "sched/offload.h"

namespace weft::sched::io {
namespace {

std::int32_t perform_aside(const UringRequest& request) {
  for (;;) {
    const bool by_request = ring_takes(request.opcode) || file_system_for(request) != nullptr;
    const std::int32_t result = by_request ? perform(request) : blocking([&] { return perform_blocking(request); });
    if (result != -EINTR || request.opcode == UringOp::kClose) return result;
  }
}

Result<struct ::statx> looked_at(int directory_fd, const char* path, std::uint32_t mask, int flags,
                                 const std::string& what) {
  struct ::statx into{};
  const std::int32_t result = perform_aside(uring::statx(directory_fd, path, flags, mask, &into));
  if (result < 0) return fail(Error::from_errno(-result, what));
  return into;
}

}  // namespace

Result<Descriptor> open(const std::string& path, int flags, mode_t mode) {
  return open_at(AT_FDCWD, path, flags, mode);
}

Result<Descriptor> open_at(int directory_fd, const std::string& path, int flags, mode_t mode) {
  const std::int32_t result = perform_aside(uring::openat(directory_fd, path.c_str(), flags | O_CLOEXEC, mode));
  if (result < 0) return fail(Error::from_errno(-result, "open " + path));
  return Descriptor(result);
}

Result<struct ::statx> stat(const std::string& path, std::uint32_t mask, int flags) {
  return stat_at(AT_FDCWD, path, mask, flags);
}

Result<struct ::statx> stat_at(int directory_fd, const std::string& path, std::uint32_t mask, int flags) {
  return looked_at(directory_fd, path.c_str(), mask, flags, "stat " + path);
}

Result<struct ::statx> stat(int fd, std::uint32_t mask) { return looked_at(fd, "", mask, AT_EMPTY_PATH, "stat"); }

Status rename(const std::string& from, const std::string& to) {
  const std::int32_t result = perform_aside(uring::renameat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0));
  if (result < 0) return fail(Error::from_errno(-result, "rename " + from + " to " + to));
  return {};
}

Status unlink(const std::string& path) {
  const std::int32_t result = perform_aside(uring::unlinkat(AT_FDCWD, path.c_str(), 0));
  if (result < 0) return fail(Error::from_errno(-result, "unlink " + path));
  return {};
}

Status close(Descriptor descriptor) {
  const std::int32_t result = perform_aside(uring::close(descriptor.release()));
  if (result < 0 && result != -EINTR) return fail(Error::from_errno(-result, "close"));
  return {};
}

}  // namespace weft::sched::io
