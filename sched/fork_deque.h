// sched/fork_deque.h - the forks that a fiber has made and not joined, newest at the bottom. Internal.
//
// A fiber's and not a worker's: so the newest is always the one to be joined next, wherever the fiber is, and a frame on its stack
// is in no other list. A fiber gets one with its first fork and gives it back at its end. Thieves find it by the fiber that a
// worker runs (Worker::current()); neither goes away while the scheduler lives, so it does no harm if it is another's by then.
// What is in it when the fiber parks is made fibers (Worker::promote_forks()): nothing runs late because its parent waits.
#pragma once

#include "sched/work_deque.h"

namespace weft::sched {

struct ForkFrame;

class ForkDeque : public WorkDeque<ForkFrame> {
 public:
  ForkDeque* next = nullptr;  // in a list of free ones
};

}  // namespace weft::sched
