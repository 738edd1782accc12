#include "sched/simulated_files.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <vector>

#include "sched/current.h"
#include "sched/io.h"
#include "sched/simulation.h"
#include "sched/waiter.h"

namespace weft::sched {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kMostBytes = 1ULL << 40;  // of one file

struct Inode {
  Inode(std::uint64_t seed, std::string name, std::uint64_t inode_number, mode_t inode_mode)
      : disk(kMostBytes, {.seed = seed, .name = std::move(name), .shuffle = false}),
        number(inode_number),
        mode(inode_mode) {}
  SimDisk disk;
  const std::uint64_t number;
  const mode_t mode;
  std::uint64_t size = 0;
  std::uint64_t synced_size = 0;
};
using File = std::shared_ptr<Inode>;
using Names = std::map<std::string, File>;

// What one call did to names: each then leads there, or nowhere.
using NameChange = std::vector<std::pair<std::string, File>>;

struct Handle {
  File file;  // null: a directory
  std::string path;
  int flags = 0;
};

void carry_out(Names& names, const NameChange& change) {
  for (const auto& [name, file] : change) {
    if (file != nullptr) {
      names[name] = file;
    } else {
      names.erase(name);
    }
  }
}

const char* path_of(const UringRequest& request) { return reinterpret_cast<const char*>(request.address); }

// One vector or several.
std::vector<iovec> vectors_of(const UringRequest& request) {
  if (request.opcode == UringOp::kRead || request.opcode == UringOp::kWrite)
    return {{reinterpret_cast<void*>(request.address), request.length}};
  const auto* first = reinterpret_cast<const iovec*>(request.address);
  return {first, first + request.length};
}

// Cut to `limit`; the length of all.
std::uint64_t cut_to(std::vector<iovec>& vectors, std::uint64_t limit) {
  std::uint64_t left = limit;
  for (iovec& vector : vectors) {
    vector.iov_len = std::min<std::uint64_t>(vector.iov_len, left);
    left -= vector.iov_len;
  }
  return limit - left;
}

// The sectors that a range of bytes touches, and room for what is in them, as a disk wants it aligned.
class Sectors {
 public:
  Sectors(std::uint64_t offset, std::uint64_t length)
      : begin(offset / kSector * kSector),
        end((offset + length + kSector - 1) / kSector * kSector),
        room_((end - begin) / kSector) {}
  const std::uint64_t begin;
  const std::uint64_t end;
  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {room_.data()->bytes, end - begin}; }

 private:
  struct alignas(kSector) Sector {
    std::byte bytes[kSector];
  };
  std::vector<Sector> room_;
};

}  // namespace

struct SimulatedFiles::Impl {
  explicit Impl(const Options& wanted) : options(wanted), random(wanted.seed) {}

  Options options;
  Random random;
  Names names;
  Names synced_names;
  std::vector<NameChange> unsynced;  // what leads from the one to the other, oldest first
  std::map<int, Handle> handles;
  int next_fd = io::FileSystem::kFirstFd;
  std::uint64_t made = 0;
  std::uint64_t crashes = 0;

  bool draw(std::uint32_t permille) { return permille != 0 && random.below(1000) < permille; }
  [[nodiscard]] File find(const std::string& path) const {
    const auto found = names.find(path);
    return found != names.end() ? found->second : nullptr;
  }
  Handle* handle(int fd) {
    const auto found = handles.find(fd);
    return found != handles.end() ? &found->second : nullptr;
  }
  void change(NameChange what) {
    carry_out(names, what);
    unsynced.push_back(std::move(what));
  }
  [[nodiscard]] std::uint64_t used() const {
    return std::accumulate(names.begin(), names.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& entry) { return sum + entry.second->size; });
  }
  // False: there is no room for so long a file.
  bool grow(Inode& file, std::uint64_t size) {
    if (size <= file.size) return true;
    if (options.capacity_bytes != SimDisk::kForEver && used() + (size - file.size) > options.capacity_bytes)
      return false;
    file.size = size;
    return true;
  }

  void pass_time(std::span<const io::Call> calls);
  std::int32_t act(const UringRequest& request);
  std::int32_t open(const UringRequest& request);
  std::int32_t look(const UringRequest& request);
  std::int32_t read(const Handle& from, const UringRequest& request);
  std::int32_t write(const Handle& to, const UringRequest& request);
  std::int32_t sync(const Handle& what);
  std::int32_t allocate(const Handle& in, const UringRequest& request);
  std::int32_t rename(const UringRequest& request);
  std::int32_t unlink(const UringRequest& request);
  Status put(Inode& file, std::uint64_t offset, std::span<const iovec> vectors, std::uint64_t length);
  std::string describe(const UringRequest& request);
};

SimulatedFiles::SimulatedFiles(const Options& options) : impl_(std::make_unique<Impl>(options)) {}
SimulatedFiles::~SimulatedFiles() = default;
SimulatedFiles::Options& SimulatedFiles::options() noexcept { return impl_->options; }

SimDisk* SimulatedFiles::disk(const std::string& path) {
  const File file = impl_->find(path);
  return file != nullptr ? &file->disk : nullptr;
}

void SimulatedFiles::crash(Crash crash) {
  ++impl_->crashes;
  impl_->handles.clear();
  if (crash == Crash::kProcess) return;
  const std::uint64_t happened = impl_->random.below(impl_->unsynced.size() + 1);
  for (std::uint64_t i = 0; i < happened; ++i) carry_out(impl_->synced_names, impl_->unsynced[i]);
  impl_->unsynced.clear();
  impl_->names = impl_->synced_names;
  for (const auto& [name, file] : impl_->names) {
    file->disk.crash();
    const auto [least, most] = std::minmax(file->size, file->synced_size);
    file->size = impl_->random.one_in(3) ? least : impl_->random.one_in(2) ? most : impl_->random.between(least, most);
    file->synced_size = file->size;
    Simulation::note(impl_->options.name + " has " + name + " of " + std::to_string(file->size) + " bytes");
  }
}

void SimulatedFiles::perform(std::span<io::Call> calls) noexcept {
  Impl& files = *impl_;
  if (calls.size() == 1 && calls[0].request.opcode == UringOp::kClose) {
    calls[0].result = files.act(calls[0].request);
    return;
  }
  simulation_point();
  // A crash on the way comes before or after the effect; who asked does not live to hear which.
  const bool early = files.random.one_in(2);
  const std::uint64_t crashes = files.crashes;
  if (!early) files.pass_time(calls);
  if (crashes == files.crashes) {
    std::vector<std::size_t> order(calls.size());
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[files.random.below(i)]);
    for (const std::size_t index : order) {
      io::Call& call = calls[index];
      const std::string what = files.describe(call.request);
      call.result = files.act(call.request);
      Simulation::note(files.options.name + " " + what + ": " + std::to_string(call.result));
    }
    if (early) files.pass_time(calls);
  }
  if (crashes != files.crashes)
    for (io::Call& call : calls) call.result = -ECANCELED;
}

void SimulatedFiles::Impl::pass_time(std::span<const io::Call> calls) {
  const bool syncs = std::any_of(calls.begin(), calls.end(),
                                 [](const io::Call& call) { return call.request.opcode == UringOp::kFsync; });
  const auto low = static_cast<std::uint64_t>(syncs ? options.sync_min.count() : 0);
  const auto high = static_cast<std::uint64_t>((syncs ? options.sync_max : options.latency_max).count());
  const Deadline until = Deadline::after(std::chrono::nanoseconds(random.between(low, std::max(low, high))));
  Waiter waiter;
  if (!until.passed()) waiter.park("file", until);
}

std::string SimulatedFiles::Impl::describe(const UringRequest& request) {
  const auto named = [&](const char* what) {
    const Handle* at = handle(request.fd);
    return std::string(what) + " " + (at != nullptr ? at->path : "?");
  };
  switch (request.opcode) {
    case UringOp::kOpenat: return std::string("open ") + path_of(request);
    case UringOp::kStatx: return "stat";
    case UringOp::kRenameat: return std::string("rename ") + path_of(request);
    case UringOp::kUnlinkat: return std::string("unlink ") + path_of(request);
    case UringOp::kRead:
    case UringOp::kReadv: return named("read") + " at " + std::to_string(request.offset);
    case UringOp::kWrite:
    case UringOp::kWritev: return named("write") + " at " + std::to_string(request.offset);
    case UringOp::kFsync: return named("fsync");
    case UringOp::kFallocate: return named("fallocate");
    default: return "call";
  }
}

std::int32_t SimulatedFiles::Impl::act(const UringRequest& request) {
  switch (request.opcode) {
    case UringOp::kOpenat: return open(request);
    case UringOp::kStatx: return look(request);
    case UringOp::kRenameat: return rename(request);
    case UringOp::kUnlinkat: return unlink(request);
    case UringOp::kClose: return handles.erase(request.fd) != 0 ? 0 : -EBADF;
    default: break;
  }
  const Handle* found = handle(request.fd);
  if (found == nullptr) return -EBADF;
  if (request.opcode == UringOp::kFsync) return sync(*found);
  if (found->file == nullptr) return -EISDIR;
  switch (request.opcode) {
    case UringOp::kRead:
    case UringOp::kReadv: return read(*found, request);
    case UringOp::kWrite:
    case UringOp::kWritev: return write(*found, request);
    case UringOp::kFallocate: return allocate(*found, request);
    default: return -EOPNOTSUPP;
  }
}

std::int32_t SimulatedFiles::Impl::open(const UringRequest& request) {
  const std::string path = path_of(request);
  const int flags = static_cast<int>(request.op_flags);
  if (request.fd != AT_FDCWD) return -EOPNOTSUPP;
  File file;
  if ((flags & O_DIRECTORY) == 0) {
    file = find(path);
    if (file != nullptr && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return -EEXIST;
    if (file == nullptr) {
      if ((flags & O_CREAT) == 0) return -ENOENT;
      file =
          std::make_shared<Inode>(random.next(), options.name + ":" + path, ++made, S_IFREG | (request.length & 07777));
      change({{path, file}});
    } else if ((flags & O_TRUNC) != 0) {
      if (file->size != 0 && !file->disk.discard(0, (file->size + kSector - 1) / kSector * kSector)) return -EIO;
      file->size = 0;
    }
  }
  handles[next_fd] = {.file = std::move(file), .path = path, .flags = flags};
  return next_fd++;
}

std::int32_t SimulatedFiles::Impl::look(const UringRequest& request) {
  const std::string path = path_of(request);
  const Handle* at = path.empty() ? handle(request.fd) : nullptr;
  if (path.empty() && at == nullptr) return -EBADF;
  const File file = at != nullptr ? at->file : find(path);
  if (at == nullptr && file == nullptr) return -ENOENT;
  struct ::statx& into = *reinterpret_cast<struct ::statx*>(request.offset);
  into = {};
  into.stx_mask = STATX_TYPE | STATX_MODE | STATX_SIZE | STATX_INO;
  into.stx_mode = static_cast<std::uint16_t>(file != nullptr ? file->mode : S_IFDIR | 0700);
  into.stx_size = file != nullptr ? file->size : 0;
  into.stx_ino = file != nullptr ? file->number : 0;
  return 0;
}

std::int32_t SimulatedFiles::Impl::read(const Handle& from, const UringRequest& request) {
  Inode& file = *from.file;
  if ((from.flags & O_ACCMODE) == O_WRONLY) return -EBADF;
  if (request.offset == uring::kCurrentPosition) return -EOPNOTSUPP;
  if (request.offset >= file.size) return 0;
  std::vector<iovec> vectors = vectors_of(request);
  std::uint64_t length = cut_to(vectors, std::min<std::uint64_t>(file.size - request.offset, 0x7FFFF000));
  if (draw(options.read_error_permille)) return -EIO;
  if (length > 1 && draw(options.short_permille)) length = cut_to(vectors, random.between(1, length - 1));
  Sectors sectors(request.offset, length);
  if (!file.disk.read(sectors.begin, sectors.bytes())) return -EIO;
  const std::byte* next = &sectors.bytes()[request.offset - sectors.begin];
  for (const iovec& vector : vectors) {
    if (vector.iov_len == 0) continue;
    std::memcpy(vector.iov_base, next, vector.iov_len);
    next += vector.iov_len;
  }
  return static_cast<std::int32_t>(length);
}

// Null vectors: zeros. What else lies in the sectors is written again, from what is there: no read that could fail.
Status SimulatedFiles::Impl::put(Inode& file, std::uint64_t offset, std::span<const iovec> vectors,
                                 std::uint64_t length) {
  Sectors sectors(offset, length);
  file.disk.copy().read(sectors.begin, sectors.bytes());
  std::byte* next = &sectors.bytes()[offset - sectors.begin];
  if (vectors.empty()) std::fill_n(next, length, std::byte{});
  for (const iovec& vector : vectors) {
    if (vector.iov_len == 0) continue;
    std::memcpy(next, vector.iov_base, vector.iov_len);
    next += vector.iov_len;
  }
  return file.disk.write(sectors.begin, sectors.bytes());
}

std::int32_t SimulatedFiles::Impl::write(const Handle& to, const UringRequest& request) {
  Inode& file = *to.file;
  if ((to.flags & O_ACCMODE) == O_RDONLY) return -EBADF;
  const bool appends = (to.flags & O_APPEND) != 0;
  if (!appends && request.offset == uring::kCurrentPosition) return -EOPNOTSUPP;
  const std::uint64_t offset = appends ? file.size : request.offset;
  std::vector<iovec> vectors = vectors_of(request);
  std::uint64_t length = cut_to(vectors, 0x7FFFF000);
  if (offset >= kMostBytes || length > kMostBytes - offset) return -EFBIG;
  if (draw(options.write_error_permille)) return -EIO;
  if (length > 1 && draw(options.short_permille)) length = cut_to(vectors, random.between(1, length - 1));
  if (length == 0) return 0;
  const std::uint64_t before = file.size;
  if (!grow(file, offset + length)) return -ENOSPC;
  if (put(file, offset, vectors, length)) return static_cast<std::int32_t>(length);
  file.size = before;
  return -EIO;
}

std::int32_t SimulatedFiles::Impl::sync(const Handle& what) {
  if (what.file == nullptr) {
    if (draw(options.sync_error_permille)) return -EIO;
    synced_names = names;
    unsynced.clear();
    return 0;
  }
  Inode& file = *what.file;
  if (draw(options.sync_error_permille)) file.disk.inject({.op = BlockOp::kFlush, .kind = SimDisk::FaultKind::kError});
  if (!file.disk.flush()) return -EIO;
  if (file.disk.unflushed_writes() == 0) file.synced_size = file.size;  // unless it lied
  return 0;
}

std::int32_t SimulatedFiles::Impl::allocate(const Handle& in, const UringRequest& request) {
  Inode& file = *in.file;
  const std::uint64_t offset = request.offset;
  const std::uint64_t length = request.address;
  const std::uint32_t mode = request.length;
  if (length == 0) return -EINVAL;
  if (offset >= kMostBytes || length > kMostBytes - offset) return -EFBIG;
  const bool clears = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  if ((mode & ~static_cast<std::uint32_t>(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)) != 0)
    return -EOPNOTSUPP;
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && !grow(file, offset + length)) return -ENOSPC;
  if (!clears) return 0;
  // Whole sectors give their memory back, the edges are written.
  const std::uint64_t first = std::min((offset + kSector - 1) / kSector * kSector, offset + length);
  const std::uint64_t last = std::max((offset + length) / kSector * kSector, first);
  if (first > offset && !put(file, offset, {}, first - offset)) return -EIO;
  if (last > first && !file.disk.discard(first, last - first)) return -EIO;
  if (offset + length > last && !put(file, last, {}, offset + length - last)) return -EIO;
  return 0;
}

std::int32_t SimulatedFiles::Impl::rename(const UringRequest& request) {
  const std::string from = path_of(request);
  const std::string to = reinterpret_cast<const char*>(request.offset);
  const File file = find(from);
  if (file == nullptr) return -ENOENT;
  if (from != to) change({{to, file}, {from, nullptr}});
  return 0;
}

std::int32_t SimulatedFiles::Impl::unlink(const UringRequest& request) {
  const std::string path = path_of(request);
  if (find(path) == nullptr) return -ENOENT;
  change({{path, nullptr}});
  return 0;
}

}  // namespace weft::sched
