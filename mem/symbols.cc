// mem/symbols.cc - see symbols.h.
#include "mem/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string_view>

namespace weft::mem {
namespace {

void find_in(std::span<const Elf64_Sym> symbols, std::span<const char> names, std::uintptr_t address,
             Symbol& into) noexcept {
  for (const Elf64_Sym& each : symbols) {
    if (ELF64_ST_TYPE(each.st_info) != STT_FUNC || each.st_shndx == SHN_UNDEF || address < each.st_value ||
        address - each.st_value >= each.st_size || each.st_name >= names.size()) {
      continue;
    }
    const char* name = names.data() + each.st_name;
    if (std::memchr(name, '\0', names.size() - each.st_name) == nullptr) continue;
    into.function = name;
    into.offset = address - each.st_value;
    return;
  }
}

}  // namespace

void Symbols::close() noexcept {
  if (file_ != nullptr) munmap(const_cast<std::byte*>(file_), bytes_);
  file_ = nullptr;
  bytes_ = 0;
}

void Symbols::open(const char* path) noexcept {
  if (std::string_view(path_.data()) == path) return;
  close();
  if (std::strlen(path) >= path_.size()) return;
  std::strcpy(path_.data(), path);  // NOLINT(clang-analyzer-security.insecureAPI.strcpy): it fits
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  struct stat facts{};
  if (fstat(file, &facts) == 0 && facts.st_size >= static_cast<off_t>(sizeof(Elf64_Ehdr))) {
    void* mapped = mmap(nullptr, static_cast<std::size_t>(facts.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    if (mapped != MAP_FAILED) {
      file_ = static_cast<const std::byte*>(mapped);
      bytes_ = static_cast<std::size_t>(facts.st_size);
    }
  }
  ::close(file);
}

// The file is somebody else's: nothing in it is believed.
void Symbols::find(std::uintptr_t address, Symbol& into) const noexcept {
  const auto within = [&](std::size_t at, std::size_t count, std::size_t each) {
    return at <= bytes_ && at % alignof(std::uint64_t) == 0 && count <= (bytes_ - at) / each;
  };
  if (file_ == nullptr) return;
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file_);
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
      !within(header->e_shoff, header->e_shnum, sizeof(Elf64_Shdr))) {
    return;
  }
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(file_ + header->e_shoff);
  for (const Elf64_Word type : {SHT_SYMTAB, SHT_DYNSYM}) {
    for (std::size_t i = 0; i < header->e_shnum && into.function == nullptr; ++i) {
      if (sections[i].sh_type != type || sections[i].sh_link >= header->e_shnum) continue;
      const Elf64_Shdr& names = sections[sections[i].sh_link];
      const std::size_t count = sections[i].sh_size / sizeof(Elf64_Sym);
      if (!within(sections[i].sh_offset, count, sizeof(Elf64_Sym)) || names.sh_offset > bytes_ ||
          names.sh_size > bytes_ - names.sh_offset) {
        continue;
      }
      find_in({reinterpret_cast<const Elf64_Sym*>(file_ + sections[i].sh_offset), count},
              {reinterpret_cast<const char*>(file_ + names.sh_offset), names.sh_size}, address, into);
    }
  }
}

Symbol Symbols::of(const void* address) noexcept {
  Symbol found;
  dl_find_object object{};
  if (_dl_find_object(const_cast<void*>(address), &object) != 0 || object.dlfo_link_map == nullptr) return found;
  const link_map& map = *object.dlfo_link_map;
  const bool is_program = map.l_name == nullptr || *map.l_name == '\0';
  found.file = is_program ? program_invocation_name : map.l_name;
  found.file_offset = reinterpret_cast<std::uintptr_t>(address) - map.l_addr;
  // The program's own name may be a relative one, from elsewhere.
  open(is_program ? "/proc/self/exe" : found.file);
  find(found.file_offset, found);
  return found;
}

}  // namespace weft::mem
