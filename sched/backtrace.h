// sched/backtrace.h - where a stack stands: return addresses by frame pointers, and their names. Internal to sched/.
//
//   saved context or signal's registers  ->  walk_frames()  ->  Symbolizer (for people), write_place() (within a handler)
//
// Frame pointers are followed, not unwind tables: a walk reads some words of the stack, takes no lock and allocates nothing,
// so a signal handler may do it, and so may one thread to the stack of a fiber that is parked on none. It ends where code was
// built without -fno-omit-frame-pointer; gdb's `weft bt` (sched/weft-gdb.py) unwinds such code, too.
//
// Invariants   B1  nothing outside of [low, high) is read, whatever is found there
// Thread-safe. Nothing parks. Tests: tests/sched/backtrace_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace weft::sched {

// The machine's words of which a walk begins.
struct FramePlace {
  const void* pc = nullptr;
  const void* frame_pointer = nullptr;
};

// Fills `into` with `from.pc` and the return addresses above it, innermost first; how many. Async-signal-safe.
std::size_t walk_frames(FramePlace from, const void* low, const void* high, std::span<const void*> into) noexcept;

// The registers a signal handler has interrupted: its third argument.
FramePlace interrupted_frame(const void* ucontext) noexcept;

// Text gathered without malloc or stdio, for signal handlers. What does not fit is cut.
class SignalText {
 public:
  SignalText& operator<<(const char* text) noexcept;
  SignalText& operator<<(std::uint64_t number) noexcept;
  SignalText& hex(std::uintptr_t number) noexcept;
  // "/usr/bin/program+0x1234", which addr2line takes.
  SignalText& place(const void* pc) noexcept;
  void write_to(int fd) noexcept;  // and empties it

 private:
  char text_[1024];
  std::size_t length_ = 0;
};

// Names of functions, from the symbol tables of the files that are mapped: also of those that a program does not export.
// Reads each file once. Not for signal handlers. Not thread-safe: one for each use.
class Symbolizer {
 public:
  Symbolizer();
  ~Symbolizer();
  Symbolizer(const Symbolizer&) = delete;
  Symbolizer& operator=(const Symbolizer&) = delete;

  // "weft::fs::Journal::commit()+0x12", or file and offset where there is no symbol.
  std::string describe(const void* pc);

 private:
  struct Module;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace weft::sched
