// mem/symbols.h - the name of the function an address lies in, without allocating. Internal.
//
// Of a program's own symbol table, where it was not stripped, which has functions that are not exported, too; else of the dynamic one.
// Names are as the linker knows them (mangled). Files are mapped one at a time and only while this exists.
// Not thread-safe. Takes no lock, of the dynamic linker's neither: it is asked when a process is about to end, whoever has them.
// Tests: tests/mem/stack_trace_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace weft::mem {

struct Symbol {
  const char* function = nullptr;  // nullptr: not known; until the next call
  std::size_t offset = 0;          // of the address in the function
  const char* file = "";           // program or library
  std::size_t file_offset = 0;     // the address as addr2line -e FILE wants it
};

class Symbols {
 public:
  Symbols() noexcept = default;
  Symbols(const Symbols&) = delete;
  Symbols& operator=(const Symbols&) = delete;
  ~Symbols() { close(); }

  Symbol of(const void* address) noexcept;

 private:
  void open(const char* path) noexcept;
  void close() noexcept;
  void find(std::uintptr_t address, Symbol& into) const noexcept;

  std::array<char, 4096> path_{};
  const std::byte* file_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace weft::mem
