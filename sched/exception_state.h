// sched/exception_state.h - the C++ exceptions that are being handled: of the thread for the compiler, of the fiber for us. Internal.
//
// A fiber that parks in a catch block or while it unwinds must find there what it left; Boost before 1.88 leaves it behind, and
// a rethrow then throws another fiber's exception. The worker keeps the address of its thread's state (thread-local, so asked
// for once and never by a fiber), saves it when a fiber is left and puts it back when one is entered.
// Tests: tests/sched/context_test.cc.
#pragma once

namespace weft::sched {

// What __cxa_get_globals() points at, by the Itanium C++ ABI.
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

// The calling thread's; valid as long as the thread.
ExceptionState* exceptions_of_this_thread() noexcept;

}  // namespace weft::sched
