// mem/control_socket.h - a Unix socket at which a running process tells the numbers of its heap: what `weft heap` asks.
//
// One thread ("weft-heap", no signals, no heap) that waits in accept(2), and only where a path was given. A socket and no file that is
// rewritten, because numbers are then as of the question, nothing runs while nobody asks, a sleeping process answers, and one
// that hangs up with its heap locked is seen as such; and no signal, whose handler would belong to the program and could not take a lock.
//
// A question is one line, the answer what follows until the end of the connection: "ok" or "error: WORDS" in its first line.
//   text, json, prometheus   numbers (report.h)          profile, holders   profile.h
//   purge                    free pages go to the kernel; the answer says how many bytes
// The socket is for the process's own user (mode 0600). Where another process answers at the path already, it is left to that one. A forked
// child has no such thread: it opens its own socket if the path says "%p", else none. A program that closes descriptors
// it does not know (some daemons do) ends the service.
// Tests: tests/mem/control_socket_test.cc, tests/tools/weft_heap_test.cc.
#pragma once

namespace weft::mem {

// `path`: "%p" stands for the process id; it must stay. Not within an allocation. nullptr: it serves, now or somebody else; else why not.
[[gnu::visibility("default")]] const char* serve_numbers(const char* path) noexcept;
// At the end of the process: the path is free again.
void stop_serving() noexcept;

}  // namespace weft::mem
