#include "tools/system_call_filter.h"

#if __has_include(<seccomp.h>)

#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace weft::tools {

namespace {

// Whatever their arguments. Names that this libseccomp or machine does not know are passed over.
constexpr const char* kAllowed[] = {
    // Descriptors that are open, and /proc.
    "read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev", "fsync", "fdatasync", "fallocate",
    "ftruncate", "lseek", "close", "fstat", "newfstatat", "statx", "fcntl", "flock", "dup", "dup2", "dup3",
    "getdents64",
    // Waiting.
    "poll", "ppoll", "epoll_wait", "epoll_pwait", "io_uring_enter", "io_uring_register", "eventfd2", "futex",
    "sched_yield", "nanosleep", "clock_nanosleep", "restart_syscall", "wait4",
    // Memory.
    "brk", "munmap", "madvise", "mremap",
    // Threads and signals.
    "set_robust_list", "rseq", "set_tid_address", "sched_getaffinity", "getcpu", "membarrier", "rt_sigaction",
    "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "exit", "exit_group",
    // Questions.
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "clock_gettime", "clock_getres",
    "gettimeofday", "time", "getrandom", "uname", "sysinfo", "getrusage",
    // The log: syslog(3) connects anew when the log's daemon was restarted.
    "connect", "sendto", "recvfrom",
    // Whoever started it, over a socket that is open.
    "sendmsg", "recvmsg"};

// For a file that is replaced as a whole.
constexpr const char* kWritingFiles[] = {"rename", "renameat", "renameat2", "unlink", "unlinkat"};

constexpr const char* kDeadly[] = {"execve",
                                   "execveat",
                                   "fork",
                                   "vfork",
                                   "ptrace",
                                   "process_vm_readv",
                                   "process_vm_writev",
                                   "kcmp",
                                   "pidfd_getfd",
                                   "mount",
                                   "umount2",
                                   "fsopen",
                                   "fsconfig",
                                   "fsmount",
                                   "fspick",
                                   "open_tree",
                                   "move_mount",
                                   "mount_setattr",
                                   "pivot_root",
                                   "chroot",
                                   "setns",
                                   "unshare",
                                   "open_by_handle_at",
                                   "bpf",
                                   "perf_event_open",
                                   "userfaultfd",
                                   "init_module",
                                   "finit_module",
                                   "delete_module",
                                   "kexec_load",
                                   "kexec_file_load",
                                   "reboot",
                                   "swapon",
                                   "swapoff",
                                   "iopl",
                                   "ioperm",
                                   "modify_ldt",
                                   "io_uring_setup",
                                   "io_setup",
                                   "setuid",
                                   "setgid",
                                   "setreuid",
                                   "setregid",
                                   "setresuid",
                                   "setresgid",
                                   "setgroups",
                                   "setfsuid",
                                   "setfsgid",
                                   "add_key",
                                   "request_key",
                                   "keyctl",
                                   "acct",
                                   "quotactl",
                                   "settimeofday",
                                   "clock_settime",
                                   "clock_adjtime",
                                   "adjtimex",
                                   "mknod",
                                   "mknodat",
                                   "memfd_secret"};

class Filter {
 public:
  // EPERM for what has no rule.
  Filter() : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM)), ::seccomp_release) {}
  [[nodiscard]] bool usable() const noexcept { return context_ != nullptr; }

  // The first error is kept for load().
  void set(scmp_filter_attr attribute, std::uint32_t value) {
    keep(::seccomp_attr_set(context_.get(), attribute, value));
  }
  // Where the library or the kernel is too old for it, then without.
  void wish(scmp_filter_attr attribute, std::uint32_t value) {
    static_cast<void>(::seccomp_attr_set(context_.get(), attribute, value));
  }
  template <typename... Conditions>
  void add(std::uint32_t action, const char* name, Conditions... conditions) {
    const int number = ::seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) return;
    const scmp_arg_cmp all[] = {conditions..., scmp_arg_cmp{}};
    const int added = ::seccomp_rule_add_array(context_.get(), action, number, sizeof...(conditions), all);
    if (added != -EDOM) keep(added);  // EDOM: not a call of this machine
  }
  Status load() {
    if (error_ == 0) error_ = ::seccomp_load(context_.get());
    if (error_ == 0) return {};
    const Error why = Error::from_errno(-error_, "seccomp");
    return fail(Errc::kUnsupported, "no seccomp filter (" + why.message() + ")");
  }

 private:
  void keep(int error) {
    if (error_ == 0 && error < 0) error_ = error;
  }

  std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, decltype(&::seccomp_release)> context_;
  int error_ = 0;
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

void add_conditional(Filter& filter, bool writes_files) {
  const std::uint32_t allow = SCMP_ACT_ALLOW;
  // Files: to read, unless there is one to write.
  constexpr std::uint64_t kOpensToWrite = O_ACCMODE | O_CREAT | O_TRUNC;
  if (writes_files) {
    filter.add(allow, "openat");
    filter.add(allow, "open");
  } else {
    filter.add(allow, "openat", masked(2, kOpensToWrite, O_RDONLY));
    filter.add(allow, "open", masked(1, kOpensToWrite, O_RDONLY));
  }
  // Threads, not processes. clone3() hides its flags from filters; glibc takes clone() when it is not there.
  filter.add(allow, "clone", masked(0, CLONE_THREAD, CLONE_THREAD));
  filter.add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  // No memory that can be run.
  filter.add(allow, "mmap", masked(2, PROT_EXEC, 0));
  filter.add(allow, "mprotect", masked(2, PROT_EXEC, 0));
  // Memory given back, many ranges in one call: this process's (PIDFD_SELF, an int).
  filter.add(allow, "process_madvise", masked(0, 0xFFFFFFFF, static_cast<std::uint32_t>(-10000)));
  // Names of threads and of memory.
  constexpr int kSetVma = 0x53564d41;  // PR_SET_VMA
  filter.add(allow, "prctl", equals(0, PR_SET_NAME));
  filter.add(allow, "prctl", equals(0, kSetVma));
  // abort() and on_every_thread(): ourselves.
  filter.add(allow, "tgkill", equals(0, static_cast<std::uint64_t>(::getpid())));
  // Limits: to ask.
  filter.add(allow, "prlimit64", equals(2, 0));
  // Of devices: discard. Of standard output: whether it is a terminal.
  filter.add(allow, "ioctl", equals(1, BLKDISCARD));
  filter.add(allow, "ioctl", equals(1, TCGETS));
  constexpr std::uint64_t kSocketType = 0xFFFFFFFF & ~std::uint64_t{SOCK_CLOEXEC | SOCK_NONBLOCK};
  filter.add(allow, "socket", equals(0, AF_UNIX), masked(1, kSocketType, SOCK_DGRAM));
  // Of the heap's numbers (WEFT_HEAP=stats=): its socket listens already, or there is none.
  filter.add(allow, "accept4");
  filter.add(allow, "getsockopt", equals(1, SOL_SOCKET), equals(2, SO_COOKIE));
  for (const int patience : {SO_RCVTIMEO, SO_SNDTIMEO})
    filter.add(allow, "setsockopt", equals(1, SOL_SOCKET), equals(2, static_cast<std::uint64_t>(patience)));
}

}  // namespace

Status install_system_call_filter(bool writes_files) {
  Filter filter;
  if (!filter.usable()) return fail(Errc::kUnsupported, "no seccomp filter (libseccomp refuses)");
  filter.set(SCMP_FLTATR_CTL_TSYNC, 1);
  filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  filter.wish(SCMP_FLTATR_CTL_LOG, 1);
  // The kernel's guard against speculative stores costs every request, and keeps programs apart that share memory: there are none.
  filter.wish(SCMP_FLTATR_CTL_SSB, 1);
  filter.wish(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const char* name : kAllowed) filter.add(SCMP_ACT_ALLOW, name);
  add_conditional(filter, writes_files);
  if (writes_files) {
    for (const char* name : kWritingFiles) filter.add(SCMP_ACT_ALLOW, name);
  }
  for (const char* name : kDeadly) filter.add(SCMP_ACT_KILL_PROCESS, name);
  return filter.load();
}

std::string system_call_filter_library() {
  const scmp_version* version = ::seccomp_version();
  return "libseccomp " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->micro);
}

}  // namespace weft::tools

#else

namespace weft::tools {

Status install_system_call_filter(bool) {
  return fail(Errc::kUnsupported, "no seccomp filter (built without libseccomp)");
}

std::string system_call_filter_library() { return {}; }

}  // namespace weft::tools

#endif
