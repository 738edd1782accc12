// mem/symbols.cc - see symbols.h.
#include "mem/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string_view>

namespace weft::mem {

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
  for (std::size_t i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB || sections[i].sh_link >= header->e_shnum) continue;
    const Elf64_Shdr& names = sections[sections[i].sh_link];
    const std::size_t count = sections[i].sh_size / sizeof(Elf64_Sym);
    if (!within(sections[i].sh_offset, count, sizeof(Elf64_Sym)) || names.sh_offset > bytes_ ||
        names.sh_size > bytes_ - names.sh_offset) {
      continue;
    }
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(file_ + sections[i].sh_offset);
    const auto* texts = reinterpret_cast<const char*>(file_ + names.sh_offset);
    for (std::size_t s = 0; s < count; ++s) {
      const Elf64_Sym& each = symbols[s];
      if (ELF64_ST_TYPE(each.st_info) != STT_FUNC || address < each.st_value ||
          address - each.st_value >= each.st_size || each.st_name >= names.sh_size ||
          std::memchr(texts + each.st_name, '\0', names.sh_size - each.st_name) == nullptr) {
        continue;
      }
      into.function = texts + each.st_name;
      into.offset = address - each.st_value;
      return;
    }
  }
}

Symbol Symbols::of(const void* address) noexcept {
  Symbol found;
  Dl_info info{};
  link_map* map = nullptr;
  if (dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 || map == nullptr) return found;
  if (info.dli_sname != nullptr) {
    found.function = info.dli_sname;
    found.offset = static_cast<std::size_t>(static_cast<const std::byte*>(address) -
                                            static_cast<const std::byte*>(info.dli_saddr));
  }
  // The program's own name may be a relative one, from elsewhere.
  const bool is_program = map->l_name == nullptr || *map->l_name == '\0';
  found.file = info.dli_fname != nullptr ? info.dli_fname : "";
  found.file_offset = reinterpret_cast<std::uintptr_t>(address) - map->l_addr;
  open(is_program ? "/proc/self/exe" : found.file);
  find(found.file_offset, found);
  return found;
}

}  // namespace weft::mem
