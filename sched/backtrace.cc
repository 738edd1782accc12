#include "sched/backtrace.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace weft::sched {
namespace {

// What a file holds may be anything; it is looked at only where it is.
template <typename T>
const T* at(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t count = 1) noexcept {
  if (offset > file.size() || offset % alignof(T) != 0 || count > (file.size() - offset) / sizeof(T)) return nullptr;
  return reinterpret_cast<const T*>(file.data() + offset);
}

std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = text != nullptr ? text : name;
  std::free(text);
  return result;
}

std::string in_hex(std::uintptr_t number) {
  std::string digits;
  do digits.insert(digits.begin(), "0123456789abcdef"[number % 16]);
  while ((number /= 16) != 0);
  return "0x" + digits;
}

}  // namespace

// --- The walk -------------------------------------------------------------------------------------------------------

// Reads words that another thread may be about to write: the caller drops what it got if the fiber has moved.
__attribute__((no_sanitize("address", "thread"), noinline)) std::size_t walk_frames(
    FramePlace from, const void* low, const void* high, std::span<const void*> into) noexcept {
  std::size_t count = 0;
  if (from.pc == nullptr || into.empty()) return 0;
  into[count++] = from.pc;
  auto frame = reinterpret_cast<std::uintptr_t>(from.frame_pointer);
  auto lowest = reinterpret_cast<std::uintptr_t>(low);
  const auto end = reinterpret_cast<std::uintptr_t>(high);
  while (count < into.size() && frame >= lowest && frame % sizeof(void*) == 0 && frame < end &&
         end - frame >= 2 * sizeof(void*)) {
    const volatile std::uintptr_t* words = reinterpret_cast<const volatile std::uintptr_t*>(frame);
    const std::uintptr_t next = words[0];
    const std::uintptr_t return_address = words[1];
    if (return_address < 4096) break;
    into[count++] = reinterpret_cast<const void*>(return_address);
    lowest = frame + 2 * sizeof(void*);  // callers lie above
    frame = next;
  }
  return count;
}

FramePlace interrupted_frame(const void* ucontext) noexcept {
  const auto* context = static_cast<const ucontext_t*>(ucontext);
#if defined(__x86_64__)
  return {reinterpret_cast<const void*>(context->uc_mcontext.gregs[REG_RIP]),
          reinterpret_cast<const void*>(context->uc_mcontext.gregs[REG_RBP])};
#elif defined(__aarch64__)
  return {reinterpret_cast<const void*>(context->uc_mcontext.pc),
          reinterpret_cast<const void*>(context->uc_mcontext.regs[29])};
#else
  (void)context;
  return {};
#endif
}

// --- Within a handler -----------------------------------------------------------------------------------------------

SignalText& SignalText::operator<<(const char* text) noexcept {
  const std::size_t length = std::min(std::strlen(text), sizeof text_ - length_);
  std::memcpy(text_ + length_, text, length);
  length_ += length;
  return *this;
}

SignalText& SignalText::operator<<(std::uint64_t number) noexcept {
  char digits[24];
  char* first = digits + sizeof digits;
  *--first = 0;
  do *--first = static_cast<char>('0' + number % 10);
  while ((number /= 10) != 0);
  return *this << first;
}

SignalText& SignalText::hex(std::uintptr_t number) noexcept {
  char digits[24];
  char* first = digits + sizeof digits;
  *--first = 0;
  do *--first = "0123456789abcdef"[number % 16];
  while ((number /= 16) != 0);
  return *this << "0x" << first;
}

SignalText& SignalText::place(const void* pc) noexcept {
  // Takes no lock, unlike dladdr().
  dl_find_object found{};
  if (_dl_find_object(const_cast<void*>(pc), &found) != 0) return hex(reinterpret_cast<std::uintptr_t>(pc));
  const char* name = found.dlfo_link_map->l_name;
  *this << (name != nullptr && name[0] != 0 ? name : "program") << "+";
  return hex(reinterpret_cast<std::uintptr_t>(pc) - found.dlfo_link_map->l_addr);
}

void SignalText::write_to(int fd) noexcept {
  const char* from = text_;
  while (length_ > 0) {
    const ssize_t written = write(fd, from, length_);
    if (written <= 0) break;
    from += written;
    length_ -= static_cast<std::size_t>(written);
  }
  length_ = 0;
}

// --- Names ----------------------------------------------------------------------------------------------------------

struct Symbolizer::Module {
  struct Function {
    std::uintptr_t start = 0;
    std::uintptr_t size = 0;
    const char* name = nullptr;  // in the mapped file
  };
  std::string path;
  std::span<const std::byte> file;
  std::vector<Function> functions;  // by start

  explicit Module(std::string from) : path(std::move(from)) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat info{};
    if (fstat(fd, &info) == 0 && info.st_size > 0) {
      const auto size = static_cast<std::size_t>(info.st_size);
      void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
      if (mapped != MAP_FAILED) file = {static_cast<const std::byte*>(mapped), size};
    }
    close(fd);
    if (!read_table(SHT_SYMTAB)) (void)read_table(SHT_DYNSYM);
    std::sort(functions.begin(), functions.end(),
              [](const Function& a, const Function& b) { return a.start < b.start; });
  }
  ~Module() {
    if (!file.empty()) munmap(const_cast<std::byte*>(file.data()), file.size());
  }
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  bool read_table(std::uint32_t type) {
    const auto* header = at<ElfW(Ehdr)>(file, 0);
    if (header == nullptr || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return false;
    const auto* sections = at<ElfW(Shdr)>(file, header->e_shoff, header->e_shnum);
    if (sections == nullptr) return false;
    for (unsigned i = 0; i < header->e_shnum; ++i) {
      const ElfW(Shdr)& table = sections[i];
      if (table.sh_type != type || table.sh_link >= header->e_shnum) continue;
      const ElfW(Shdr)& strings = sections[table.sh_link];
      const std::size_t count = table.sh_size / sizeof(ElfW(Sym));
      const auto* symbols = at<ElfW(Sym)>(file, table.sh_offset, count);
      const char* names = at<char>(file, strings.sh_offset, strings.sh_size);
      if (symbols == nullptr || names == nullptr || strings.sh_size == 0 || names[strings.sh_size - 1] != 0) continue;
      for (std::size_t k = 0; k < count; ++k) {
        const ElfW(Sym)& symbol = symbols[k];
        if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_value == 0 || symbol.st_name >= strings.sh_size)
          continue;
        functions.push_back({symbol.st_value, symbol.st_size, names + symbol.st_name});
      }
      if (!functions.empty()) return true;
    }
    return false;
  }

  [[nodiscard]] const Function* find(std::uintptr_t offset) const noexcept {
    auto after = std::upper_bound(functions.begin(), functions.end(), offset,
                                  [](std::uintptr_t value, const Function& f) { return value < f.start; });
    if (after == functions.begin()) return nullptr;
    const Function& candidate = *std::prev(after);
    return offset - candidate.start < std::max<std::uintptr_t>(candidate.size, 1) ? &candidate : nullptr;
  }
};

struct Symbolizer::Parts {
  std::map<const link_map*, std::unique_ptr<Module>> modules;
};

Symbolizer::Symbolizer() : parts_(std::make_unique<Parts>()) {}
Symbolizer::~Symbolizer() = default;

std::string Symbolizer::describe(const void* pc) {
  const auto address = reinterpret_cast<std::uintptr_t>(pc);
  Dl_info info{};
  void* found = nullptr;
  if (dladdr1(pc, &info, &found, RTLD_DL_LINKMAP) == 0 || found == nullptr) return in_hex(address);
  const auto* map = static_cast<const link_map*>(found);
  std::unique_ptr<Module>& module = parts_->modules[map];
  if (module == nullptr)
    module = std::make_unique<Module>(map->l_name != nullptr && map->l_name[0] != 0 ? map->l_name : "/proc/self/exe");
  const std::uintptr_t offset = address - map->l_addr;
  // A return address may be the first byte after a function that does not return.
  if (const Module::Function* function = module->find(offset - 1))
    return demangled(function->name) + "+" + in_hex(offset - function->start);
  return std::string(info.dli_fname != nullptr ? info.dli_fname : "?") + "+" + in_hex(offset);
}

}  // namespace weft::sched
