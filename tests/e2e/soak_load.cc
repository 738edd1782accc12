// soak_load.cc - everything that programs do to files, for as long as is asked, by processes that know what must be there.
//
//   soak.sh -> [soak_load run] -> the mount under test ; counters -> soak_watch
//           -> [soak_load verify] after another mount
//
// Each process has a tree of its own and a model of it (soak_model.h). Trees grow to about --files names, bushes of deep and wide
// folders come and go, and whatever is read is compared with the model; at the end all of it, and once more after a remount.
//
// Usage: soak_load run DIR STATE --seconds N [--processes N] [--files N] [--seed N]
//        soak_load verify DIR STATE
// STATE is a folder outside the mount: counters, and a model for each process. Exit: 0 well, 1 something is not as it must be.
#include "soak_verify.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <chrono>
#include <map>

using namespace soak;

namespace {

constexpr std::uint32_t kDeepest = 60;
constexpr std::uint32_t kFarChunk = 1u << 21;  // of sparse files: a gigabyte

class Load {
 public:
  Load(std::uint64_t seed, std::uint32_t files) : random_{seed}, files_(files), here_(model_.directories[0]) {}
  Model& model() { return model_; }

  void step() {
    ++counters->operations;
    // The tree swings around its size: it is planted until it is full, and felled until it is half empty.
    if (model_.names.size() > files_) shrinking_ = true;
    if (model_.names.size() < files_ / 2) shrinking_ = false;
    struct Kind {
      const char* name;
      unsigned growing, shrinking;
      void (Load::*run)();
    };
    static constexpr Kind kKinds[] = {
        {"create", 300, 100, &Load::create},
        {"unlink", 90, 260, &Load::unlink},
        {"append", 60, 60, &Load::append},
        {"rewrite", 60, 60, &Load::rewrite},
        {"truncate", 30, 30, &Load::truncate},
        {"write far", 6, 6, &Load::write_far},
        {"punch", 15, 15, &Load::punch},
        {"rename", 60, 60, &Load::rename_file},
        {"exchange", 10, 10, &Load::exchange},
        {"link", 25, 10, &Load::link},
        {"set attribute", 30, 30, &Load::set_attribute},
        {"temporary", 20, 20, &Load::temporary},
        {"open and unlinked", 10, 10, &Load::open_and_unlinked},
        {"fsync", 2, 2, &Load::fsync_one},
        {"map", 15, 15, &Load::map},
        {"mkdir", 20, 5, &Load::make_directory},
        {"rmdir", 5, 20, &Load::remove_directory},
        {"move folder", 4, 4, &Load::move_directory},
        {"read", 100, 100, &Load::read_one},
        {"list", 3, 3, &Load::list_while_changing},
        {"plant", 2, 0, &Load::plant},
        {"fell", 1, 6, &Load::fell},
    };
    unsigned total = 0;
    for (const Kind& kind : kKinds) total += shrinking_ ? kind.shrinking : kind.growing;
    unsigned pick = random_.below(total);
    for (const Kind& kind : kKinds) {
      const unsigned share = shrinking_ ? kind.shrinking : kind.growing;
      if (pick < share) {
        doing = kind.name;
        (this->*kind.run)();
        return;
      }
      pick -= share;
    }
  }

 private:
  std::uint32_t new_stamp() { return model_.next_stamp++; }
  std::uint32_t new_number() { return model_.next_number++; }
  Name* any_name() { return model_.names.empty() ? nullptr : model_.names[random_.below(model_.names.size())]; }
  Directory* any_directory() { return model_.directories[random_.below(model_.directories.size())]; }
  // Mostly where the last ones went, so that folders of thousands come about beside those of a few.
  Directory* place() {
    if (random_.below(2000) == 0 || random_.below(3) == 0)
      return random_.below(300) == 0 ? here_ = any_directory() : any_directory();
    return here_;
  }

  void write(int fd, Inode& inode, std::uint32_t first, std::uint32_t count, const std::string& path) {
    const std::uint32_t stamp = new_stamp();
    std::vector<char> bytes(count * kChunkBytes);
    for (std::uint32_t i = 0; i < count; ++i) fill_chunk(bytes.data() + i * kChunkBytes, stamp, first + i);
    const ssize_t written =
        pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(std::uint64_t{first} * kChunkBytes));
    MUST(written == static_cast<ssize_t>(bytes.size()), "%s: pwrite gives %zd", path.c_str(), written);
    inode.write(first, count, stamp);
  }
  std::uint32_t some_chunks() {
    const std::uint32_t kind = random_.below(100);
    return kind < 80 ? 1 + random_.below(12) : kind < 98 ? 1 + random_.below(100) : 1 + random_.below(2000);
  }
  void made() { ++counters->made, ++counters->live; }
  void removed() { ++counters->removed, --counters->live; }

  void create_in(Directory* in) {
    const std::uint32_t number = new_number();
    const std::string path = in->path() + "/f" + std::to_string(number);
    auto* inode = new Inode;
    if (random_.below(5) == 0) {
      MUST(mknod(path.c_str(), S_IFREG | 0644, 0) == 0, "mknod %s", path.c_str());
    } else {
      const File file(path, O_RDWR | O_CREAT | O_EXCL);
      if (random_.below(4) != 0) write(file.fd, *inode, 0, some_chunks(), path);
    }
    model_.add_name(in, number, inode);
    made();
  }
  void create() { create_in(place()); }
  void remove(Name* name) {
    MUST(::unlink(path_of(*name).c_str()) == 0, "unlink %s", path_of(*name).c_str());
    model_.remove_name(name);
    removed();
  }
  void unlink() {
    if (Name* name = any_name()) remove(name);
  }
  void append() {
    change([&](int fd, Inode& inode, const std::string& path) { write(fd, inode, inode.chunks, some_chunks(), path); });
  }
  void rewrite() {
    change([&](int fd, Inode& inode, const std::string& path) {
      if (inode.chunks == 0) return;
      const std::uint32_t first = random_.below(inode.chunks);
      write(fd, inode, first, std::min(some_chunks(), inode.chunks - first), path);
    });
  }
  void truncate() {
    change([&](int fd, Inode& inode, const std::string& path) {
      const std::uint32_t to = random_.below(inode.chunks + 9);
      MUST(ftruncate(fd, static_cast<off_t>(std::uint64_t{to} * kChunkBytes)) == 0, "truncate %s", path.c_str());
      inode.truncate(to);
    });
  }
  void write_far() {
    change([&](int fd, Inode& inode, const std::string& path) {
      write(fd, inode, random_.below(kFarChunk), 1 + random_.below(20), path);
    });
  }
  void punch() {
    change([&](int fd, Inode& inode, const std::string& path) {
      if (inode.chunks == 0) return;
      const std::uint32_t first = random_.below(inode.chunks);
      const std::uint32_t count = 1 + random_.below(inode.chunks - first);
      MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(std::uint64_t{first} * kChunkBytes),
                     static_cast<off_t>(std::uint64_t{count} * kChunkBytes)) == 0,
           "punch %s", path.c_str());
      inode.cut(first, first + count);
    });
  }
  template <typename F>
  void change(F&& how) {
    Name* const name = any_name();
    if (name == nullptr) return;
    const std::string path = path_of(*name);
    const File file(path, O_RDWR);
    how(file.fd, *name->inode, path);
  }

  void rename_file() {
    Name* const name = any_name();
    if (name == nullptr) return;
    Directory* const to = any_directory();
    Name* const replaced = random_.below(4) == 0 ? any_name() : nullptr;
    if (replaced != nullptr && replaced->inode == name->inode) return;  // two names of one file: nothing would happen
    Directory* const in = replaced != nullptr ? replaced->in : to;
    const std::uint32_t number = replaced != nullptr ? replaced->number : new_number();
    const std::string target = in->path() + "/f" + std::to_string(number);
    MUST(::rename(path_of(*name).c_str(), target.c_str()) == 0, "rename %s to %s", path_of(*name).c_str(),
         target.c_str());
    if (replaced != nullptr) {
      model_.remove_name(replaced);
      removed();
    }
    model_.move_name(name, in, number);
  }
  void exchange() {
    Name* const a = any_name();
    Name* const b = any_name();
    if (a == b || a == nullptr) return;
    MUST(renameat2(AT_FDCWD, path_of(*a).c_str(), AT_FDCWD, path_of(*b).c_str(), RENAME_EXCHANGE) == 0,
         "exchange %s and %s", path_of(*a).c_str(), path_of(*b).c_str());
    std::swap(a->inode, b->inode);
  }
  void link() {
    Name* const name = any_name();
    if (name == nullptr) return;
    Directory* const to = place();
    const std::uint32_t number = new_number();
    const std::string path = to->path() + "/f" + std::to_string(number);
    MUST(::link(path_of(*name).c_str(), path.c_str()) == 0, "link %s", path.c_str());
    model_.add_name(to, number, name->inode);
    made();
  }
  void set_attribute() {
    Name* const name = any_name();
    if (name == nullptr) return;
    Inode& inode = *name->inode;
    if (inode.attribute != 0 && random_.below(2) == 0) {
      MUST(removexattr(path_of(*name).c_str(), kAttribute) == 0, "removexattr %s", path_of(*name).c_str());
      inode.attribute = 0;
      return;
    }
    const std::uint32_t stamp = new_stamp();
    const std::string value =
        attribute_of(stamp, random_.below(20) == 0 ? 2000 + random_.below(1500) : random_.below(200));
    MUST(setxattr(path_of(*name).c_str(), kAttribute, value.data(), value.size(), 0) == 0, "setxattr %s",
         path_of(*name).c_str());
    inode.attribute = stamp;
    inode.attribute_bytes = static_cast<std::uint32_t>(value.size());
  }
  void temporary() {
    Directory* const in = place();
    const File file(in->path(), O_TMPFILE | O_RDWR);
    auto inode = std::make_unique<Inode>();
    write(file.fd, *inode, 0, some_chunks(), "a temporary file");
    verify_open(file.fd, *inode, "a temporary file", 0);
    if (random_.below(2) == 0) return;
    const std::uint32_t number = new_number();
    const std::string path = in->path() + "/f" + std::to_string(number);
    MUST(linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(file.fd)).c_str(), AT_FDCWD, path.c_str(),
                AT_SYMLINK_FOLLOW) == 0,
         "linkat %s", path.c_str());
    model_.add_name(in, number, inode.release());
    made();
  }
  void open_and_unlinked() {
    Name* const name = any_name();
    if (name == nullptr || name->inode->links > 1) return;
    const std::string path = path_of(*name);
    const File file(path, O_RDWR);
    Inode inode = *name->inode;
    remove(name);
    verify_open(file.fd, inode, path, 0);
    write(file.fd, inode, inode.chunks, some_chunks(), path);
    verify_open(file.fd, inode, path, 0);
  }
  void fsync_one() {
    change([&](int fd, Inode&, const std::string& path) { MUST(fsync(fd) == 0, "fsync %s", path.c_str()); });
  }
  void map() {
    change([&](int fd, Inode& inode, const std::string& path) {
      if (inode.chunks == 0) return;
      const std::uint32_t first = random_.below(inode.chunks);
      const std::uint32_t count = std::min(1 + random_.below(20), inode.chunks - first);
      const std::uint64_t page = std::uint64_t{first} * kChunkBytes / 4096 * 4096;
      const std::size_t bytes = (std::uint64_t{first} + count) * kChunkBytes - page;
      void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(page));
      MUST(mapped != MAP_FAILED, "mmap %s", path.c_str());
      const std::uint32_t stamp = new_stamp();
      char* at = static_cast<char*>(mapped) + (std::uint64_t{first} * kChunkBytes - page);
      for (std::uint32_t i = 0; i < count; ++i, at += kChunkBytes) fill_chunk(at, stamp, first + i);
      MUST(msync(mapped, bytes, random_.below(8) == 0 ? MS_SYNC : MS_ASYNC) == 0, "msync %s", path.c_str());
      munmap(mapped, bytes);
      inode.write(first, count, stamp);
    });
  }

  Directory* make_directory_in(Directory* in) {
    const std::uint32_t number = new_number();
    const std::string path = in->path() + "/d" + std::to_string(number);
    MUST(mkdir(path.c_str(), 0755) == 0, "mkdir %s", path.c_str());
    return model_.add_directory(in, number);
  }
  void make_directory() {
    Directory* in = any_directory();
    while (in->depth >= kDeepest) in = in->in;
    here_ = make_directory_in(in);
  }
  void rmdir_of(Directory* directory) {
    if (here_ == directory) here_ = model_.directories[0];
    MUST(rmdir(directory->path().c_str()) == 0, "rmdir %s", directory->path().c_str());
    model_.remove_directory(directory);
  }
  void remove_directory() {
    Directory* const directory = any_directory();
    if (directory->in == nullptr) return;
    if (directory->names.empty() && directory->directories.empty()) return rmdir_of(directory);
    MUST(rmdir(directory->path().c_str()) != 0 && errno == ENOTEMPTY, "rmdir %s, which is not empty",
         directory->path().c_str());
  }
  void move_directory() {
    Directory* const directory = any_directory();
    Directory* const to = any_directory();
    if (directory->in == nullptr || to->depth >= kDeepest || to->path().size() + directory->path().size() > 1500)
      return;
    const std::uint32_t number = new_number();
    const std::string path = to->path() + "/d" + std::to_string(number);
    const int result = ::rename(directory->path().c_str(), path.c_str());
    if (to->is_below(directory)) {
      MUST(result != 0 && errno == EINVAL, "rename of %s below itself", directory->path().c_str());
      return;
    }
    MUST(result == 0, "rename %s to %s", directory->path().c_str(), path.c_str());
    model_.move_directory(directory, to, number);
  }

  void read_one() {
    if (Name* const name = any_name()) verify(*name);
  }
  // What stays is seen once, what comes or goes at most once.
  void list_while_changing() {
    Directory* const directory = random_.below(2) == 0 ? here_ : any_directory();
    const std::string path = directory->path();
    std::map<std::uint32_t, int> seen;
    for (const Name* name : directory->names) seen[name->number] = 0;
    DIR* dir = opendir(path.c_str());
    MUST(dir != nullptr, "opendir %s", path.c_str());
    std::set<std::uint32_t> changed;
    std::size_t entries = 0;
    errno = 0;
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] == 'f') ++seen[static_cast<std::uint32_t>(std::strtoul(entry->d_name + 1, nullptr, 10))];
      if (++entries % 50 != 10) continue;
      changed.insert(model_.next_number);
      create_in(directory);
      Name* const victim = directory->names[random_.below(directory->names.size())];
      changed.insert(victim->number);
      remove(victim);
      errno = 0;
    }
    MUST(errno == 0, "readdir %s", path.c_str());
    closedir(dir);
    for (const auto& [number, times] : seen)
      MUST(times == 1 || (times == 0 && changed.contains(number)), "%s lists f%u %d times", path.c_str(), number,
           times);
    verify_listing(*directory);
  }
  // Folders below folders, and in each some files.
  void plant() {
    Directory* in = any_directory();
    while (in->depth >= kDeepest / 2) in = in->in;
    const std::uint32_t folders = 2 + random_.below(20);
    const std::uint32_t files = random_.below(20) == 0 ? 3000 : 1 + random_.below(60);
    const bool deep = random_.below(2) == 0;
    for (std::uint32_t i = 0; i < folders; ++i) {
      Directory* const made = make_directory_in(in);
      for (std::uint32_t file = 0; file < files / folders + 1; ++file) create_in(made);
      if (deep) in = made;
    }
  }
  void fell_below(Directory* directory) {
    while (!directory->directories.empty()) {
      Directory* const child = directory->directories.back();
      fell_below(child);
      rmdir_of(child);
    }
    while (!directory->names.empty()) remove(directory->names.back());
  }
  void fell() {
    Directory* const directory = any_directory();
    if (directory->in == nullptr) return;
    fell_below(directory);
    rmdir_of(directory);
  }

  Model model_;
  Random random_;
  const std::uint32_t files_;
  Directory* here_;
  bool shrinking_ = false;
};

std::string model_file(const std::string& state, unsigned process) {
  return state + "/model." + std::to_string(process);
}

void enter(const std::string& directory, unsigned process) {
  const std::string own = directory + "/p" + std::to_string(process);
  mkdir(own.c_str(), 0755);
  MUST(chdir(own.c_str()) == 0, "chdir %s", own.c_str());
}

void share_counters(const std::string& state) {
  const File file(state + "/counters", O_RDWR | O_CREAT);
  MUST(ftruncate(file.fd, sizeof(Counters)) == 0, "%s/counters", state.c_str());
  void* mapped = mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, file.fd, 0);
  MUST(mapped != MAP_FAILED, "mmap %s/counters", state.c_str());
  counters = static_cast<Counters*>(mapped);
}

// Runs `body` in so many processes; whether all ended well.
template <typename F>
bool in_processes(unsigned processes, F&& body) {
  for (unsigned process = 0; process < processes; ++process) {
    const pid_t child = fork();
    MUST(child >= 0, "fork");
    if (child == 0) {
      body(process);
      std::_Exit(0);
    }
  }
  bool well = true;
  for (unsigned process = 0; process < processes; ++process) {
    int status = 0;
    MUST(wait(&status) > 0, "wait");
    well = well && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return well;
}

}  // namespace

int main(int count, char** words) {
  if (count < 4) {
    std::fprintf(stderr,
                 "usage: soak_load run|verify DIR STATE [--seconds N] [--processes N] [--files N] [--seed N]\n");
    return 2;
  }
  const std::string what = words[1], directory = words[2], state = words[3];
  std::uint64_t seconds = 10, processes = 3, files = 100000, seed = 1;
  for (int i = 4; i + 1 < count; i += 2) {
    const std::string option = words[i];
    const std::uint64_t value = std::strtoull(words[i + 1], nullptr, 10);
    (option == "--seconds"     ? seconds
     : option == "--processes" ? processes
     : option == "--files"     ? files
                               : seed) = value;
  }
  share_counters(state);
  const auto load = [&](unsigned process) {
    enter(directory, process);
    Load own(mix(seed * 1000 + process), static_cast<std::uint32_t>(files / processes));
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (std::chrono::steady_clock::now() < end) own.step();
    verify_everything(own.model());
    MUST(own.model().save(model_file(state, process)), "%s", model_file(state, process).c_str());
  };
  const auto verify_again = [&](unsigned process) {
    enter(directory, process);
    Model model;
    doing = "reading the model";
    MUST(model.load(model_file(state, process)), "%s", model_file(state, process).c_str());
    verify_everything(model);
  };
  if (what == "verify") {
    unsigned models = 0;
    while (access(model_file(state, models).c_str(), R_OK) == 0) ++models;
    MUST(models != 0, "no model in %s", state.c_str());
    return in_processes(models, verify_again) ? 0 : 1;
  }
  std::printf("soak_load: seed %lu, %lu processes, %lu files\n", static_cast<unsigned long>(seed),
              static_cast<unsigned long>(processes), static_cast<unsigned long>(files));
  std::fflush(stdout);
  return in_processes(static_cast<unsigned>(processes), load) ? 0 : 1;
}
