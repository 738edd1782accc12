// sched/probes.h - static probes for bpftrace, perf and SystemTap, where <sys/sdt.h> was there to compile with; else nothing. Internal.
//
//   bpftrace -e 'usdt:./server:weft_sched:park { @[str(arg1)] = count(); }'
//
// A probe that nobody watches is one no-operation. Arguments: numbers of fibers and workers, and a park's reason.
//   switch(worker, fiber)   park(fiber, reason)   wake(fiber)   steal(worker, fiber)
#pragma once

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define WEFT_PROBE1(name, a) DTRACE_PROBE1(weft_sched, name, a)
#define WEFT_PROBE2(name, a, b) DTRACE_PROBE2(weft_sched, name, a, b)
#else
#define WEFT_PROBE1(name, a) ((void)sizeof(a))
#define WEFT_PROBE2(name, a, b) ((void)sizeof(a), (void)sizeof(b))
#endif
