#include "kernel/uring.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "kernel/check.h"

namespace weft {
namespace {

// A UringRequest is copied over the kernel's entry, so the two must agree to the byte.
static_assert(sizeof(UringRequest) == sizeof(io_uring_sqe));
static_assert(offsetof(UringRequest, flags) == offsetof(io_uring_sqe, flags));
static_assert(offsetof(UringRequest, priority) == offsetof(io_uring_sqe, ioprio));
static_assert(offsetof(UringRequest, fd) == offsetof(io_uring_sqe, fd));
static_assert(offsetof(UringRequest, offset) == offsetof(io_uring_sqe, off));
static_assert(offsetof(UringRequest, address) == offsetof(io_uring_sqe, addr));
static_assert(offsetof(UringRequest, length) == offsetof(io_uring_sqe, len));
static_assert(offsetof(UringRequest, op_flags) == offsetof(io_uring_sqe, rw_flags));
static_assert(offsetof(UringRequest, user_data) == offsetof(io_uring_sqe, user_data));
static_assert(offsetof(UringRequest, buffer_index) == offsetof(io_uring_sqe, buf_index));
static_assert(offsetof(UringRequest, personality) == offsetof(io_uring_sqe, personality));
static_assert(offsetof(UringRequest, file_index) == offsetof(io_uring_sqe, file_index));
static_assert(offsetof(UringRequest, address3) == offsetof(io_uring_sqe, addr3));
static_assert(sizeof(UringCompletion) == sizeof(io_uring_cqe));
static_assert(offsetof(UringCompletion, result) == offsetof(io_uring_cqe, res));
static_assert(offsetof(UringCompletion, flags) == offsetof(io_uring_cqe, flags));
static_assert(static_cast<int>(UringOp::kSendZeroCopy) == IORING_OP_SEND_ZC);
static_assert(static_cast<int>(UringOp::kUringCmd) == IORING_OP_URING_CMD);
static_assert(static_cast<int>(UringOp::kMsgRing) == IORING_OP_MSG_RING);
static_assert(static_cast<int>(UringOp::kStatx) == IORING_OP_STATX);
static_assert(static_cast<int>(UringOp::kShutdown) == IORING_OP_SHUTDOWN);
static_assert(static_cast<int>(UringOp::kRenameat) == IORING_OP_RENAMEAT);
static_assert(static_cast<int>(UringOp::kUnlinkat) == IORING_OP_UNLINKAT);
static_assert(static_cast<int>(UringOp::kFallocate) == IORING_OP_FALLOCATE);
static_assert(UringCompletion::kMore == IORING_CQE_F_MORE);
static_assert(UringRequest::kSilentSuccess == IOSQE_CQE_SKIP_SUCCESS);

// A ring with open_descriptors_only.
constexpr std::uint8_t kOpenDescriptorOps[] = {IORING_OP_NOP,         IORING_OP_READ,        IORING_OP_WRITE,
                                               IORING_OP_READV,       IORING_OP_WRITEV,      IORING_OP_READ_FIXED,
                                               IORING_OP_WRITE_FIXED, IORING_OP_FSYNC,       IORING_OP_FALLOCATE,
                                               IORING_OP_POLL_ADD,    IORING_OP_POLL_REMOVE, IORING_OP_ASYNC_CANCEL};
// What the calls of this file ask of it, but for its restrictions.
constexpr std::uint8_t kRestrictedRegistrations[] = {
    IORING_REGISTER_PROBE,      IORING_REGISTER_BUFFERS,          IORING_UNREGISTER_BUFFERS,  IORING_REGISTER_RING_FDS,
    IORING_UNREGISTER_RING_FDS, IORING_REGISTER_IOWQ_MAX_WORKERS, IORING_REGISTER_SYNC_CANCEL};

constexpr unsigned kRegisterSendMsgRing = 31;  // IORING_REGISTER_SEND_MSG_RING, younger than liburing 2.3
constexpr std::uint8_t kRingFdRegistered = 1;  // liburing's own INT_FLAG_REG_RING in io_uring::int_flags
constexpr std::size_t kCommandOffset = offsetof(io_uring_sqe, cmd);

bool switched_off_by_sysctl() {
  std::ifstream file("/proc/sys/kernel/io_uring_disabled");
  int value = 0;
  return static_cast<bool>(file >> value) && value != 0;
}

Error creation_error(int os_errno) {
  switch (os_errno) {
    case ENOSYS: return {Errc::kUnsupported, "this kernel has no io_uring: Linux 5.19 or newer is needed"};
    case EPERM:
    case EACCES:
      if (switched_off_by_sysctl())
        return {Errc::kUnsupported,
                "io_uring is switched off on this machine: run \"sysctl kernel.io_uring_disabled=0\" as root"};
      return {Errc::kUnsupported,
              "io_uring is forbidden here, likely by a container's seccomp profile: allow io_uring_setup, "
              "io_uring_enter and io_uring_register in it"};
    case ENOMEM: return {Errc::kNoMemory, "no memory for an io_uring: raise the locked-memory limit (ulimit -l)"};
    case EMFILE:
    case ENFILE: return Error::from_errno(os_errno, "io_uring_setup: raise the limit of open files (ulimit -n)");
    default: return Error::from_errno(os_errno, "io_uring_setup");
  }
}

// Only while the ring is disabled.
Status restrict_ring(int ring_fd) {
  std::vector<io_uring_restriction> rules;
  for (const std::uint8_t op : kOpenDescriptorOps)
    rules.push_back({.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = op, .resv = 0, .resv2 = {}});
  for (const std::uint8_t op : kRestrictedRegistrations)
    rules.push_back({.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = op, .resv = 0, .resv2 = {}});
  constexpr std::uint8_t kFlags =
      IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC | IOSQE_CQE_SKIP_SUCCESS;
  rules.push_back({.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = kFlags, .resv = 0, .resv2 = {}});
  if (syscall(__NR_io_uring_register, ring_fd, IORING_REGISTER_RESTRICTIONS, rules.data(), rules.size()) < 0)
    return fail(Errc::kUnsupported, Error::from_errno(errno, "io_uring restrictions").message());
  return {};
}

// `result` is liburing's: negative errno or success.
Status to_status(int result, const char* what) {
  if (result < 0) return fail(Error::from_errno(-result, what));
  return {};
}

}  // namespace

struct Uring::Impl {
  io_uring ring{};
  pid_t owner_tid = 0;

  ~Impl() {
    if (ring.ring_fd < 0) return;
    // The registered descriptor is an index into the owner thread's own table: from another thread the same index
    // may be another ring. The owner's end has dropped it already.
    if (owner_tid != gettid()) {
      ring.int_flags = static_cast<std::uint8_t>(ring.int_flags & ~kRingFdRegistered);
      ring.enter_ring_fd = ring.ring_fd;
    }
    io_uring_queue_exit(&ring);
  }
};

Uring::Uring(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Uring::Uring(Uring&& other) noexcept = default;
Uring& Uring::operator=(Uring&& other) noexcept = default;
Uring::~Uring() = default;

Result<Uring> Uring::create(const Options& options) {
  WEFT_CHECK(options.entries > 0);
  const unsigned basic = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | (options.wide_entries ? IORING_SETUP_SQE128 : 0U) |
                         (options.start_disabled || options.open_descriptors_only ? IORING_SETUP_R_DISABLED : 0U);
  const unsigned cooperative = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  const unsigned single = IORING_SETUP_SINGLE_ISSUER;
  // Linux 6.1, 6.0, 5.19, older.
  const unsigned wishes[] = {
      cooperative | single | (options.deferred_task_work ? IORING_SETUP_DEFER_TASKRUN : 0U),
      cooperative | single,
      cooperative,
      0U,
  };

  auto impl = std::make_unique<Impl>();
  io_uring_params params{};
  int result = -EINVAL;
  for (const unsigned wish : wishes) {
    std::memset(&params, 0, sizeof params);
    params.flags = basic | wish;
    params.cq_entries = options.completion_entries != 0 ? options.completion_entries : options.entries * 4;
    impl->ring = io_uring{};
    result = io_uring_queue_init_params(options.entries, &impl->ring, &params);
    if (result != -EINVAL) break;
  }
  if (result < 0) {
    impl->ring.ring_fd = -1;
    return fail(creation_error(-result));
  }
  // Waiting with a timeout and never losing a completion are not optional for us.
  if ((params.features & IORING_FEAT_EXT_ARG) == 0 || (params.features & IORING_FEAT_NODROP) == 0)
    return fail(Errc::kUnsupported, "this kernel's io_uring is too old: Linux 5.19 or newer is needed");

  Uring made(std::move(impl));
  io_uring& ring = made.impl_->ring;
  for (unsigned i = 0; i < params.sq_entries; ++i) ring.sq.array[i] = i;  // slot i is always entry i
  made.slots_ = reinterpret_cast<std::byte*>(ring.sq.sqes);
  made.sq_head_ = ring.sq.khead;
  made.sq_flags_ = ring.sq.kflags;
  made.sq_tail_ = *ring.sq.ktail;
  made.sq_mask_ = params.sq_entries - 1;
  made.slot_shift_ = options.wide_entries ? 7 : 6;
  made.task_work_mask_ = IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN;
  made.completions_ = reinterpret_cast<std::byte*>(ring.cq.cqes);
  made.cq_head_ = ring.cq.khead;
  made.cq_tail_ = ring.cq.ktail;
  made.cq_mask_ = params.cq_entries - 1;
  made.facts_ = {.entries = params.sq_entries,
                 .completion_entries = params.cq_entries,
                 .single_issuer = (params.flags & IORING_SETUP_SINGLE_ISSUER) != 0,
                 .deferred_task_work = (params.flags & IORING_SETUP_DEFER_TASKRUN) != 0,
                 .task_work_flagged = (params.flags & IORING_SETUP_TASKRUN_FLAG) != 0,
                 .wide_entries = options.wide_entries,
                 .registered_fd = false};

  if (options.open_descriptors_only) TRY(restrict_ring(ring.ring_fd));
  if (!options.start_disabled) TRY(options.open_descriptors_only ? made.enable() : made.adopt());
  return made;
}

// What only the owner thread may do: probing (a single-issuer ring refuses others) and registering its descriptor.
Status Uring::adopt() {
  impl_->owner_tid = gettid();
  io_uring_probe* probe = io_uring_get_probe_ring(&impl_->ring);
  if (probe == nullptr) return fail(Errc::kUnsupported, "io_uring cannot be asked for its operations");
  for (unsigned i = 0; i < probe->ops_len; ++i)
    opcodes_[probe->ops[i].op] = (probe->ops[i].flags & IO_URING_OP_SUPPORTED) != 0;
  io_uring_free_probe(probe);
  // Saves a descriptor lookup on each enter. Refused (too many rings on this thread, old kernel): then not.
  facts_.registered_fd = io_uring_register_ring_fd(&impl_->ring) == 1;
  return {};
}

Status Uring::enable() {
  // Debian 12's liburing declares io_uring_enable_rings() and does not export it.
  if (syscall(__NR_io_uring_register, impl_->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) < 0)
    return fail(Error::from_errno(errno, "io_uring enable"));
  return adopt();
}

int Uring::fd() const noexcept { return impl_->ring.ring_fd; }

Status Uring::prepare_command(const UringRequest& request, std::span<const std::byte> payload) {
  const std::size_t room = (std::size_t{1} << slot_shift_) - kCommandOffset;
  if (payload.size() > room) return fail(Errc::kInvalid, "command payload does not fit this ring's entries");
  if (auto queued = prepare(request); !queued) return queued;
  std::byte* slot = slots_ + (std::size_t{(sq_tail_ - 1) & sq_mask_} << slot_shift_);
  std::memset(slot + kCommandOffset, 0, room);
  if (!payload.empty()) std::memcpy(slot + kCommandOffset, payload.data(), payload.size());
  return {};
}

Status Uring::enter(std::uint32_t min_completions, bool fetch, std::optional<std::chrono::nanoseconds> timeout) {
  io_uring& ring = impl_->ring;
  std::atomic_ref(*ring.sq.ktail).store(sq_tail_, std::memory_order_release);

  unsigned flags = 0;
  if (fetch) flags |= IORING_ENTER_GETEVENTS;
  if (facts_.registered_fd) flags |= IORING_ENTER_REGISTERED_RING;

  __kernel_timespec limit{};
  io_uring_getevents_arg argument{};
  void* extra = nullptr;
  std::size_t extra_size = _NSIG / 8;
  if (timeout) {
    const auto clamped = *timeout < std::chrono::nanoseconds::zero() ? std::chrono::nanoseconds::zero() : *timeout;
    limit.tv_sec = clamped.count() / 1'000'000'000;
    limit.tv_nsec = clamped.count() % 1'000'000'000;
    argument.sigmask_sz = _NSIG / 8;
    argument.ts = reinterpret_cast<std::uintptr_t>(&limit);
    flags |= IORING_ENTER_EXT_ARG;
    extra = &argument;
    extra_size = sizeof argument;
  }

  const std::uint32_t to_submit = sq_tail_ - load_acquire(sq_head_);
  const int result = io_uring_enter2(static_cast<unsigned>(ring.enter_ring_fd), to_submit, min_completions, flags,
                                     static_cast<sigset_t*>(extra), extra_size);
  if (result >= 0) return {};
  switch (-result) {
    case ETIME:
    case EINTR: return {};
    case EAGAIN:
    case EBUSY: return fail(Errc::kAgain);
    default: return fail(Error::from_errno(-result, "io_uring_enter"));
  }
}

Status Uring::submit() {
  if (unsubmitted() == 0) return {};
  return enter(0, false, std::nullopt);
}

Status Uring::run_task_work() {
  const bool fetch = has_task_work();
  if (!fetch && unsubmitted() == 0) return {};
  return enter(0, true, std::nullopt);
}

Status Uring::submit_and_wait(std::uint32_t min_completions, std::optional<std::chrono::nanoseconds> timeout) {
  const std::uint32_t wanted =
      min_completions < facts_.completion_entries ? min_completions : facts_.completion_entries;
  if (reapable() >= wanted) return run_task_work();
  auto entered = enter(wanted, true, timeout);
  if (!entered && entered.error() == Errc::kAgain) return {};
  return entered;
}

Status Uring::post(int ring_fd, std::uint64_t tag, std::uint32_t result) {
  UringRequest request = uring::message(ring_fd, tag, result);
  if (syscall(__NR_io_uring_register, -1, kRegisterSendMsgRing, &request, 1) >= 0) return {};
  const int os_errno = errno;
  // Kernels before 6.13 refuse a register call without a ring: EBADF, or EINVAL where they know -1 but not this call.
  if (os_errno == EINVAL || os_errno == EBADF || os_errno == ENOSYS)
    return fail(Errc::kUnsupported,
                "io_uring cannot post to a ring without a ring here: Linux 6.13 or newer is needed");
  if (os_errno == EOVERFLOW || os_errno == EAGAIN) return fail(Errc::kAgain);
  return fail(Error::from_errno(os_errno, "io_uring message"));
}

Status Uring::register_buffers(std::span<const iovec> buffers) {
  return to_status(io_uring_register_buffers(&impl_->ring, buffers.data(), static_cast<unsigned>(buffers.size())),
                   "io_uring register buffers");
}

Status Uring::unregister_buffers() {
  return to_status(io_uring_unregister_buffers(&impl_->ring), "io_uring unregister buffers");
}

Status Uring::register_files(std::uint32_t count) {
  return to_status(io_uring_register_files_sparse(&impl_->ring, count), "io_uring register files");
}

Status Uring::update_file(std::uint32_t index, int file) {
  return to_status(io_uring_register_files_update(&impl_->ring, index, &file, 1), "io_uring update file");
}

Status Uring::limit_kernel_workers(std::uint32_t bounded, std::uint32_t unbounded) {
  unsigned values[2] = {bounded, unbounded};
  return to_status(io_uring_register_iowq_max_workers(&impl_->ring, values), "io_uring limit workers");
}

Status Uring::cancel_all(std::chrono::nanoseconds timeout) {
  if (auto handed_over = submit(); !handed_over) return handed_over;
  io_uring_sync_cancel_reg what{};
  what.fd = -1;
  what.flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
  what.timeout.tv_sec = timeout.count() / 1'000'000'000;
  what.timeout.tv_nsec = timeout.count() % 1'000'000'000;
  const int result = io_uring_register_sync_cancel(&impl_->ring, &what);
  if (result >= 0 || result == -ENOENT) return {};
  if (result == -ETIME) return fail(Errc::kTimedOut, "io_uring: requests in flight would not be cancelled in time");
  if (result == -EINVAL) return fail(Errc::kUnsupported, "io_uring cannot cancel all: Linux 6.0 or newer is needed");
  return fail(Error::from_errno(-result, "io_uring cancel"));
}

}  // namespace weft
