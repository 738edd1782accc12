// fs/housekeeper.h - the volume's own fiber: interval commits, and checkpoints that somebody asked for.
//
//   volume -> [housekeeper] -> checkpoint, journal
//
// So that nothing stays undurable for longer than the interval, and that a filling log is emptied before anybody waits
// for it. Thread- and fiber-safe but for start() and stop(), which are the owner's. stop() parks until the fiber has ended.
#pragma once

#include <chrono>
#include <mutex>

#include "fs/checkpoint.h"
#include "fs/journal.h"
#include "sched/condition_variable.h"
#include "sched/mutex.h"
#include "sched/spawn.h"

namespace weft::fs {

class Housekeeper {
 public:
  Housekeeper(Checkpointer& checkpointer, Journal& journal, std::chrono::milliseconds interval)
      : checkpointer_(checkpointer), journal_(journal), interval_(interval) {}
  ~Housekeeper() { stop(); }
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  void start();
  void stop();
  void request_checkpoint();

 private:
  void loop();

  Checkpointer& checkpointer_;
  Journal& journal_;
  const std::chrono::milliseconds interval_;
  sched::Mutex lock_;
  sched::ConditionVariable wake_;
  bool stopping_ = false;
  bool checkpoint_wanted_ = false;
  sched::Fiber fiber_;
};

}  // namespace weft::fs
