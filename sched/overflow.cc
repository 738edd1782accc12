#include "sched/overflow.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <mutex>

#include "sched/backtrace.h"
#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/sanitizers.h"
#include "sched/scheduler.h"
#include "sched/worker.h"

namespace weft::sched {
namespace {

constexpr std::size_t kSignalStackBytes = 64 * 1024;  // room also for a program's handler that is called from ours
constexpr std::size_t kPageBytes = 4096;
constexpr int kSignals[] = {SIGSEGV, SIGBUS};

constinit std::mutex installing;
constinit int watches = 0;                                    // guarded by installing
constinit struct sigaction before[std::size(kSignals)] = {};  // written before the handler is installed

void report(const FiberState& fiber, const Stack& stack, const void* address, const void* ucontext) noexcept {
  SignalText text;
  // What was asked for; the room above it is the scheduler's (kJoinRoomBytes).
  const std::size_t promised = fiber.stack_pages == 0 ? fiber.scheduler->options().stack_bytes : stack.size_bytes;
  text << "weft: fiber \"" << fiber.name << "\" overflowed its " << std::uint64_t{promised / 1024}
       << " KiB stack (address ";
  text.hex(reinterpret_cast<std::uintptr_t>(address)) << ")\n";
  std::array<const void*, 12> places{};
  const std::size_t count =
      walk_frames(interrupted_frame(ucontext), stack.bottom, stack.bottom + stack.size_bytes, places);
  for (std::size_t i = 0; i < count; ++i) (text << "  ").place(places[i]) << "\n";
  text.write_to(STDERR_FILENO);
}

void report_overflow(const siginfo_t& info, const void* ucontext) noexcept {
  if (info.si_code <= 0) return;  // sent by somebody, not a fault
  const FiberState* fiber = current_fiber();
  if (fiber == nullptr || !fiber->stack) return;
  const auto* address = static_cast<const std::byte*>(info.si_addr);
  if (fiber->stack.guards(address)) report(*fiber, fiber->stack, address, ucontext);
}

// As if this handler were not there.
void pass_on(int signal, siginfo_t* info, void* ucontext) noexcept {
  const struct sigaction& next = before[signal == SIGSEGV ? 0 : 1];
  if ((next.sa_flags & SA_SIGINFO) != 0) {
    next.sa_sigaction(signal, info, ucontext);
  } else if (next.sa_handler != SIG_DFL && next.sa_handler != SIG_IGN) {
    next.sa_handler(signal);
  } else if (info->si_code > 0 || next.sa_handler == SIG_DFL) {
    // A fault comes again when this returns, and then finds the default action, with the registers of the fault in the core; the
    // kernel lets nobody ignore one. What was sent is sent once more.
    struct sigaction standard{};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    if (info->si_code <= 0) syscall(SYS_tgkill, getpid(), gettid(), signal);
  }
}

void on_fault(int signal, siginfo_t* info, void* ucontext) {
  const int kept_errno = errno;
  report_overflow(*info, ucontext);
  errno = kept_errno;
  pass_on(signal, info, ucontext);
}

bool is_ours(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &on_fault;
}

bool is_default(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL;
}

}  // namespace

OverflowWatch::OverflowWatch(OverflowReport wanted) noexcept {
  if (kSanitizerHandlesFaults || wanted == OverflowReport::kOff) return;
  const std::lock_guard guard(installing);
  std::array<struct sigaction, std::size(kSignals)> there{};
  for (std::size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], nullptr, &there[i]);
  const bool ours = is_ours(there[0]);
  if (!ours && wanted == OverflowReport::kUnlessHandled && !(is_default(there[0]) && is_default(there[1]))) return;
  installed_ = true;
  ++watches;
  if (ours) return;
  struct sigaction action{};
  action.sa_sigaction = &on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    if (is_ours(there[i])) continue;
    before[i] = there[i];
    sigaction(kSignals[i], &action, nullptr);
  }
}

OverflowWatch::~OverflowWatch() {
  if (!installed_) return;
  const std::lock_guard guard(installing);
  if (--watches != 0) return;
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    struct sigaction there{};
    sigaction(kSignals[i], nullptr, &there);
    if (is_ours(there)) sigaction(kSignals[i], &before[i], nullptr);
  }
}

SignalStack::SignalStack(bool wanted) noexcept {
  if (!wanted) return;
  void* mapped = mmap(nullptr, kPageBytes + kSignalStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return;
  mprotect(mapped, kPageBytes, PROT_NONE);
  stack_t stack{};
  stack.ss_sp = static_cast<std::byte*>(mapped) + kPageBytes;
  stack.ss_size = kSignalStackBytes;
  if (sigaltstack(&stack, nullptr) == 0) {
    mapped_ = mapped;
  } else {
    munmap(mapped, kPageBytes + kSignalStackBytes);
  }
}

SignalStack::~SignalStack() {
  if (mapped_ == nullptr) return;
  stack_t none{};
  none.ss_flags = SS_DISABLE;
  sigaltstack(&none, nullptr);
  munmap(mapped_, kPageBytes + kSignalStackBytes);
}

}  // namespace weft::sched
