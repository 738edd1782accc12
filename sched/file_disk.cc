#include "sched/file_disk.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "sched/io.h"
#include "sched/offload.h"

namespace weft::sched {
// How far one request has come.
struct FileDisk::Progress {
  const BlockIo* io = nullptr;
  std::uint64_t done_bytes = 0;
  bool ended = false;
  Status status;
  std::vector<iovec> rest;  // the vectors that are left, once a transfer was short or had too many

  // The next request to the kernel.
  UringRequest next(int fd) {
    switch (io->op) {
      case BlockOp::kFlush: return uring::fdatasync(fd);
      case BlockOp::kDiscard:
        return uring::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, io->offset_bytes, io->length_bytes);
      case BlockOp::kRead:
      case BlockOp::kWrite: break;
    }
    std::span<const iovec> vectors = io->vectors;
    if (done_bytes != 0) {
      rest.clear();
      std::uint64_t skip = done_bytes;
      for (const iovec& vector : io->vectors) {
        const std::uint64_t skipped = std::min<std::uint64_t>(skip, vector.iov_len);
        skip -= skipped;
        if (skipped < vector.iov_len)
          rest.push_back({static_cast<std::byte*>(vector.iov_base) + skipped, vector.iov_len - skipped});
      }
      vectors = rest;
    }
    const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(vectors.size(), IOV_MAX));
    const std::uint64_t at = io->offset_bytes + done_bytes;
    const bool one = count == 1 && vectors[0].iov_len <= INT_MAX;
    if (io->op == BlockOp::kRead) {
      return one ? uring::read(fd, vectors[0].iov_base, static_cast<std::uint32_t>(vectors[0].iov_len), at)
                 : uring::readv(fd, vectors.data(), count, at);
    }
    return one ? uring::write(fd, vectors[0].iov_base, static_cast<std::uint32_t>(vectors[0].iov_len), at)
               : uring::writev(fd, vectors.data(), count, at);
  }
};

FileDisk::~FileDisk() {
  if (options_.owns_fd && options_.fd >= 0) close(options_.fd);
}

Error FileDisk::error_of(const Progress& progress, int os_errno) const {
  static constexpr const char* kVerbs[] = {"read", "write", "flush", "discard"};
  std::string what = options_.name + ": " + kVerbs[static_cast<std::size_t>(progress.io->op)];
  if (progress.io->op != BlockOp::kFlush)
    what += " of " + std::to_string(progress.io->length_bytes) + " bytes at offset " +
            std::to_string(progress.io->offset_bytes);
  if (os_errno == 0) return Error(Errc::kIo, what + ": the file ends before its time; was it cut while in use?");
  return Error::from_errno(os_errno, what);
}

Status FileDisk::discard_on_device(const BlockIo& io) const {
  std::uint64_t range[2] = {io.offset_bytes, io.length_bytes};
  const int os_errno = blocking([&] { return ioctl(options_.fd, BLKDISCARD, range) == 0 ? 0 : errno; });
  if (os_errno != 0)
    return fail(Error::from_errno(os_errno, options_.name + ": discard at offset " + std::to_string(io.offset_bytes)));
  return {};
}

Status FileDisk::run(std::span<const BlockIo> requests) {
  std::array<Progress, 8> few;
  std::array<io::Call, 8> few_calls;
  std::vector<Progress> many;
  std::vector<io::Call> many_calls;
  if (requests.size() > few.size()) {
    many.resize(requests.size());
    many_calls.resize(requests.size());
  }
  Progress* all = many.empty() ? few.data() : many.data();
  io::Call* calls = many_calls.empty() ? few_calls.data() : many_calls.data();

  std::size_t left = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Progress& progress = all[i];
    progress.io = &requests[i];
    progress.status = check_block_io(options_.geometry, requests[i], options_.name);
    if (progress.status && requests[i].op == BlockOp::kDiscard && options_.is_block_device)
      progress.status = discard_on_device(requests[i]);
    progress.ended = !progress.status || (requests[i].op != BlockOp::kFlush && requests[i].length_bytes == 0) ||
                     (requests[i].op == BlockOp::kDiscard && options_.is_block_device);
    if (!progress.ended) ++left;
  }

  while (left != 0) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < requests.size(); ++i)
      if (!all[i].ended) calls[count++].request = all[i].next(options_.fd);
    if (options_.memory_backed) {
      for (std::size_t i = 0; i < count; ++i) calls[i].result = io::perform_blocking(calls[i].request);
    } else {
      io::perform_all({calls, count});
    }
    count = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      Progress& progress = all[i];
      if (progress.ended) continue;
      const std::int32_t result = calls[count++].result;
      const bool transfer = progress.io->op == BlockOp::kRead || progress.io->op == BlockOp::kWrite;
      if (result == -EINTR || result == -EAGAIN) continue;
      if (result < 0 || (transfer && result == 0)) {
        progress.status = fail(error_of(progress, -result));
        progress.ended = true;
      } else if (transfer) {
        progress.done_bytes += static_cast<std::uint64_t>(result);
        progress.ended = progress.done_bytes == progress.io->length_bytes;
      } else {
        progress.ended = true;
      }
      if (progress.ended) --left;
    }
  }
  for (std::size_t i = 0; i < requests.size(); ++i)
    if (!all[i].status) return all[i].status;
  return {};
}

}  // namespace weft::sched
