#include "fs/fuse/handover.h"

#include <sys/mman.h>

#include <cerrno>
#include <new>

#include "fs/fuse/protocol.h"

namespace weft::fs::fuse {

bool Handover::can_go_on() const noexcept { return (flags.load() & kHasResend) != 0; }

void HandoverUnmap::operator()(Handover* handover) const noexcept { ::munmap(handover, sizeof(Handover)); }

Result<HandoverPtr> make_handover() {
  void* memory = ::mmap(nullptr, sizeof(Handover), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(Error::from_errno(errno, "memory shared with the server"));
  return HandoverPtr(new (memory) Handover{});
}

}  // namespace weft::fs::fuse
