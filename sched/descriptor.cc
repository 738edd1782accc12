#include "sched/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "sched/file_system.h"
#include "sched/io.h"

namespace weft::sched::io {

// An error of close(2) says nothing about the descriptor, which is gone in any case (Linux; EINTR included).
void Descriptor::reset() noexcept {
  if (fd_ < 0) return;
  const int fd = std::exchange(fd_, -1);
  if (fd >= FileSystem::kFirstFd) [[unlikely]] {
    (void)perform(uring::close(fd));
  } else {
    ::close(fd);
  }
}

Result<Descriptor> Descriptor::duplicate() const {
  const int copy = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return fail(Error::from_errno(errno, "duplicate a descriptor"));
  return Descriptor(copy);
}

Result<PipeEnds> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(Error::from_errno(errno, "pipe"));
  return PipeEnds{Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace weft::sched::io
