// fs/log_room.h - bytes of the log promised to one transaction, given back when dropped.
//
//   Volume::begin() -> Journal::reserve() -> [LogRoom] -> Transaction -> Journal::append()
//
// Moves, does not copy. Thread-safety: a value; the journal behind it is thread-safe.
#pragma once

#include <cstdint>
#include <utility>

namespace weft::fs {

class Journal;

class LogRoom {
 public:
  LogRoom() noexcept = default;
  LogRoom(LogRoom&& other) noexcept
      : journal_(std::exchange(other.journal_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  LogRoom& operator=(LogRoom&& other) noexcept {
    std::swap(journal_, other.journal_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~LogRoom() { release(); }
  void release() noexcept;  // in journal.cc
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  friend class Journal;
  LogRoom(Journal& journal, std::uint64_t bytes) noexcept : journal_(&journal), bytes_(bytes) {}

  Journal* journal_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace weft::fs
