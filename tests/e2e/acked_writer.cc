// acked_writer.cc - does a file system keep what it said it has?
//
//   e2e script -> [acked_writer write] -> the mount under test, whose server is killed meanwhile
//              -> [acked_writer verify] on the recovered mount
//
// Threads write (by write(2) with every kind of sync, O_DIRECT, or a shared map), append, replace, rename and remove files
// of their own, each change followed by a sync call. Before
// a change its intent goes to a log outside the mount ("B"), and after the sync has returned the acknowledgement ("A").
// The machine itself does not crash, so the log needs no sync. Verify replays the log and asks of every object:
//
//   V1  an acknowledged change is there, or a later one that was begun
//   V2  a change that was begun and not acknowledged is there or not: per 4 KiB block for writes in place, whole for
//       replacements by rename, a prefix of records for appends
//   V3  content is what some version wrote; never a mixture within a block, never another file's
//
// Usage: acked_writer write DIR LOG [--seed N] [--threads N] [--ops N]      until the mount dies, or N changes a thread
//        acked_writer verify DIR LOG
// Exit: 0 well, 1 a promise was broken, 2 usage or an error that no dead server explains.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "seeded.h"

namespace {

constexpr std::size_t kBlockBytes = 4096;
constexpr std::size_t kRecordBytes = 512;
constexpr int kMaxBlocks = 64;

// The bytes of piece `index` of object `id` in `version`: incompressible, and different for any other triple.
std::vector<char> content(std::uint64_t id, std::uint64_t version, std::uint64_t index, std::size_t bytes) {
  std::vector<char> out(bytes);
  std::uint64_t word = mix(mix(mix(id) ^ version) ^ index);
  for (std::size_t i = 0; i < bytes; i += 8) {
    word = mix(word);
    std::memcpy(out.data() + i, &word, std::min<std::size_t>(8, bytes - i));
  }
  return out;
}
std::size_t replaced_bytes(std::uint64_t id, std::uint64_t version) { return 1 + mix(id * 31 + version) % 20000; }

enum class Kind : char { kBlocks = 'F', kReplaced = 'R', kAppended = 'L', kFolder = 'D', kSymlink = 'S' };

// ---------------------------------------------------------------- writing

std::atomic<bool> g_stop{false};

class Writer {
 public:
  Writer(std::string dir, int log, int thread, std::uint64_t seed)
      : dir_(std::move(dir)), log_(log), thread_(thread), random_{mix(seed * 1000 + static_cast<unsigned>(thread))} {}

  void run(std::uint64_t ops) {
    if (mkdir(dir_.c_str(), 0755) != 0 && errno != EEXIST) return failed("mkdir");
    for (std::uint64_t op = 0; op < ops && !g_stop && !dead_; ++op) step();
  }

 private:
  struct Object {
    std::uint64_t id;
    Kind kind;
    std::uint64_t version = 0;
    std::uint64_t count = 0;  // blocks or records
    std::string name;
  };

  void line(char what, const std::string& rest) {
    const std::string text = std::string(1, what) + ' ' + std::to_string(thread_) + ' ' + rest + '\n';
    if (write(log_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();
  }
  void failed(const char* where) {
    const int error = errno;
    dead_ = true;
    if (error == ENOTCONN || error == ECONNABORTED || error == ESHUTDOWN || error == EIO || error == ENOSPC ||
        error == ENODEV || error == EROFS || error == EINTR)
      return;
    // Unmounted under our feet: the path now leads to the bare mount point.
    struct stat info{};
    if (error == ENOENT && stat(dir_.c_str(), &info) != 0) return;
    line('E', std::string(where) + ' ' + std::strerror(error));
  }
  std::string path(const std::string& name) const { return dir_ + '/' + name; }

  bool put(int fd, const std::vector<char>& bytes, off_t at) {
    const ssize_t done = at < 0 ? write(fd, bytes.data(), bytes.size()) : pwrite(fd, bytes.data(), bytes.size(), at);
    if (done == static_cast<ssize_t>(bytes.size())) return true;
    if (done >= 0) errno = ENOSPC;
    return false;
  }
  bool sync_dir() {
    const int fd = open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool good = fsync(fd) == 0;
    const int error = errno;
    close(fd);
    errno = error;
    return good;
  }
  // Runs one change between its two lines of the log.
  template <typename Change>
  bool change(const std::string& text, const char* where, Change&& body) {
    line('B', text);
    if (!body()) {
      failed(where);
      return false;
    }
    line('A', text);
    return true;
  }
  Object* pick(Kind kind) {
    std::vector<Object*> fit;
    for (auto& [id, object] : objects_)
      if (object.kind == kind) fit.push_back(&object);
    return fit.empty() ? nullptr : fit[random_.below(static_cast<unsigned>(fit.size()))];
  }
  Object* make(Kind kind) {
    const std::uint64_t id = ++last_id_;
    Object object{id + static_cast<std::uint64_t>(thread_) * 1000000, kind, 0, 0, {}};
    object.name = std::string(1, static_cast<char>(kind)) + std::to_string(object.id);
    return &objects_.emplace(object.id, object).first->second;
  }

  void step() {
    switch (random_.below(10)) {
      case 0: return write_blocks(make(Kind::kBlocks));
      case 1:
      case 2: {
        Object* object = pick(Kind::kBlocks);
        return write_blocks(object != nullptr ? object : make(Kind::kBlocks));
      }
      case 3:
      case 4: {
        Object* object = random_.below(3) != 0 ? pick(Kind::kReplaced) : nullptr;
        return replace(object != nullptr ? object : make(Kind::kReplaced));
      }
      case 5:
      case 6: {
        Object* object = random_.below(8) != 0 ? pick(Kind::kAppended) : nullptr;
        return append(object != nullptr ? object : make(Kind::kAppended));
      }
      case 7: return move_or_remove();
      case 8: return make_folder_or_symlink();
      default: return write_blocks(make(Kind::kBlocks));
    }
  }

  // Writes in place, in pieces of random size; a new file is not followed by an fsync of its folder, as our promise is
  // that fsync of the file carries the name with it.
  void write_blocks(Object* object) {
    const std::uint64_t version = object->version + 1;
    const unsigned first = random_.below(kMaxBlocks);
    const unsigned count = 1 + random_.below(std::min<unsigned>(16, kMaxBlocks - first));
    const unsigned how = random_.below(6);
    std::ostringstream text;
    text << "F " << object->id << ' ' << object->name << ' ' << version << ' ' << first << ' ' << count;
    change(text.str(), "write", [&] {
      const int sync_flag = how == 3 ? O_DSYNC : how == 5 ? O_DIRECT : 0;
      const int fd = open(path(object->name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | sync_flag, 0644);
      if (fd < 0) return false;
      bool good = true;
      if (how >= 4) {
        good =
            how == 4 ? put_by_map(fd, *object, version, first, count) : put_direct(fd, *object, version, first, count);
      } else {
        for (unsigned i = first; good && i < first + count; ++i)
          good = put(fd, content(object->id, version, i, kBlockBytes), static_cast<off_t>(i * kBlockBytes));
      }
      if (good && how != 3) good = (how == 0 ? fdatasync(fd) : fsync(fd)) == 0;
      const int error = errno;
      close(fd);
      errno = error;
      object->version = version;
      return good;
    });
  }
  // The size first; pages that are not there when the server dies are SIGBUS, which ends the process as EIO would.
  static bool put_by_map(int fd, const Object& object, std::uint64_t version, unsigned first, unsigned count) {
    const std::size_t end_bytes = (first + count) * kBlockBytes;
    struct stat info{};
    if (fstat(fd, &info) != 0) return false;
    if (info.st_size < static_cast<off_t>(end_bytes) && ftruncate(fd, static_cast<off_t>(end_bytes)) != 0) return false;
    void* map = mmap(nullptr, end_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return false;
    for (unsigned i = first; i < first + count; ++i)
      std::memcpy(static_cast<char*>(map) + i * kBlockBytes, content(object.id, version, i, kBlockBytes).data(),
                  kBlockBytes);
    const bool good = msync(map, end_bytes, MS_SYNC) == 0;
    const int error = errno;
    munmap(map, end_bytes);
    errno = error;
    return good;
  }
  static bool put_direct(int fd, const Object& object, std::uint64_t version, unsigned first, unsigned count) {
    const std::size_t bytes = count * kBlockBytes;
    const std::unique_ptr<char, decltype(&std::free)> buffer(static_cast<char*>(std::aligned_alloc(kBlockBytes, bytes)),
                                                             &std::free);
    for (unsigned i = 0; i < count; ++i)
      std::memcpy(buffer.get() + i * kBlockBytes, content(object.id, version, first + i, kBlockBytes).data(),
                  kBlockBytes);
    const ssize_t done = pwrite(fd, buffer.get(), bytes, static_cast<off_t>(first * kBlockBytes));
    if (done >= 0 && done != static_cast<ssize_t>(bytes)) errno = ENOSPC;
    return done == static_cast<ssize_t>(bytes);
  }

  void replace(Object* object) {
    const std::uint64_t version = object->version + 1;
    std::ostringstream text;
    text << "R " << object->id << ' ' << object->name << ' ' << version;
    change(text.str(), "replace", [&] {
      const std::string fresh = path(object->name + ".new");
      const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
      if (fd < 0) return false;
      bool good = put(fd, content(object->id, version, 0, replaced_bytes(object->id, version)), -1) && fsync(fd) == 0;
      const int error = errno;
      close(fd);
      errno = error;
      if (!good || rename(fresh.c_str(), path(object->name).c_str()) != 0) return false;
      object->version = version;
      return sync_dir();
    });
  }

  void append(Object* object) {
    const unsigned count = 1 + random_.below(12);
    std::ostringstream text;
    text << "L " << object->id << ' ' << object->name << ' ' << object->count + count;
    change(text.str(), "append", [&] {
      const int fd = open(path(object->name).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
      if (fd < 0) return false;
      bool good = true;
      for (unsigned i = 0; good && i < count; ++i)
        good = put(fd, content(object->id, 0, object->count + i, kRecordBytes), -1);
      if (good) good = (random_.below(2) != 0 ? fdatasync(fd) : fsync(fd)) == 0;
      const int error = errno;
      close(fd);
      errno = error;
      object->count += count;
      return good;
    });
  }

  void move_or_remove() {
    const Kind kind = random_.below(2) != 0 ? Kind::kBlocks : Kind::kReplaced;
    Object* object = pick(kind);
    if (object == nullptr) return;
    if (random_.below(2) != 0) {
      const std::string fresh = object->name + "m";
      change("M " + std::to_string(object->id) + ' ' + object->name + ' ' + fresh, "rename",
             [&] { return rename(path(object->name).c_str(), path(fresh).c_str()) == 0 && sync_dir(); });
      object->name = fresh;
      if (fresh.size() < 60) return;
    }
    change("U " + std::to_string(object->id) + ' ' + object->name, "unlink",
           [&] { return unlink(path(object->name).c_str()) == 0 && sync_dir(); });
    objects_.erase(object->id);
  }

  void make_folder_or_symlink() {
    const Kind kind = random_.below(2) != 0 ? Kind::kFolder : Kind::kSymlink;
    const Object* object = make(kind);
    change(std::string(1, static_cast<char>(kind)) + ' ' + std::to_string(object->id) + ' ' + object->name, "mkdir",
           [&] {
             const int status = kind == Kind::kFolder
                                    ? mkdir(path(object->name).c_str(), 0755)
                                    : symlink(("to/" + object->name).c_str(), path(object->name).c_str());
             return status == 0 && sync_dir();
           });
  }

  std::string dir_;
  int log_;
  int thread_;
  Random random_;
  bool dead_ = false;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, Object> objects_;
};

int write_mode(const std::string& dir, const std::string& log_path, std::uint64_t seed, int threads,
               std::uint64_t ops) {
  const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    std::perror(log_path.c_str());
    return 2;
  }
  if (mkdir(dir.c_str(), 0755) != 0 && errno != EEXIST) return 2;
  // A map whose server is gone. The log is complete as it stands: it has no buffer.
  std::signal(SIGBUS, [](int) { _exit(0); });
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] { Writer(dir + "/t" + std::to_string(t), log, t, seed).run(ops); });
  for (auto& each : pool) each.join();
  return 0;
}

// ---------------------------------------------------------------- verifying

struct Expected {
  Kind kind = Kind::kBlocks;
  std::string name, pending_name;
  bool created = false;  // some change of it was acknowledged
  bool removed = false, removing = false;
  std::uint64_t version = 0, pending_version = 0;  // of replacements
  std::uint64_t count = 0, pending_count = 0;      // of records
  std::vector<std::uint64_t> blocks, pending_blocks;
  int thread = 0;
  std::uint64_t id = 0;
};

int g_broken = 0;
void broken(const Expected& object, const std::string& what) {
  ++g_broken;
  if (g_broken <= 20) std::cout << "BROKEN t" << object.thread << '/' << object.name << ": " << what << '\n';
}

bool read_all(const std::string& path, std::vector<char>* out) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  out->clear();
  std::vector<char> piece(1 << 16);
  ssize_t got = 0;
  while ((got = read(fd, piece.data(), piece.size())) > 0) out->insert(out->end(), piece.begin(), piece.begin() + got);
  const int error = errno;
  close(fd);
  errno = error;
  return got == 0;
}

void check_blocks(const Expected& object, const std::vector<char>& bytes) {
  for (std::size_t i = 0; i < object.blocks.size(); ++i) {
    const std::uint64_t acked = object.blocks[i];
    const std::uint64_t pending = i < object.pending_blocks.size() ? object.pending_blocks[i] : 0;
    if (acked == 0 && pending == 0) continue;
    const bool whole = bytes.size() >= (i + 1) * kBlockBytes;
    const char* at = bytes.data() + i * kBlockBytes;
    const auto is = [&](std::uint64_t version) {
      return version != 0 && whole &&
             std::memcmp(at, content(object.id, version, i, kBlockBytes).data(), kBlockBytes) == 0;
    };
    if (is(acked) || is(pending)) continue;
    if (acked == 0) {
      bool zero = true;
      for (std::size_t k = i * kBlockBytes; k < std::min(bytes.size(), (i + 1) * kBlockBytes); ++k)
        zero = zero && bytes[k] == 0;
      if (zero) continue;
    }
    std::string found = whole ? "other bytes" : "beyond the end, size " + std::to_string(bytes.size());
    for (std::uint64_t v = 1; whole && v < acked; ++v)
      if (is(v)) found = "version " + std::to_string(v);
    broken(object, "block " + std::to_string(i) + ": acknowledged version " + std::to_string(acked) + ", begun " +
                       std::to_string(pending) + ", found " + found);
  }
}

void check(const std::string& root, const Expected& object) {
  const std::string dir = root + "/t" + std::to_string(object.thread) + '/';
  struct stat info{};
  const bool here = lstat((dir + object.name).c_str(), &info) == 0;
  if (object.removed) {
    if (here) broken(object, "was removed, and is back");
    return;
  }
  std::string name = object.name;
  if (!object.pending_name.empty()) {
    const bool there = lstat((dir + object.pending_name).c_str(), &info) == 0;
    if (here == there) return broken(object, here ? "rename left both names" : "rename left neither name");
    if (there) name = object.pending_name;
  } else if (!here) {
    if (object.created && !object.removing) broken(object, "acknowledged, and not there");
    return;
  }
  if (object.kind == Kind::kFolder) {
    if (lstat((dir + name).c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) broken(object, "is no folder");
    return;
  }
  if (object.kind == Kind::kSymlink) {
    char target[256];
    const ssize_t got = readlink((dir + name).c_str(), target, sizeof target);
    if (got < 0 || std::string(target, static_cast<std::size_t>(got)) != "to/" + object.name)
      broken(object, "symlink points elsewhere");
    return;
  }
  std::vector<char> bytes;
  if (!read_all(dir + name, &bytes)) return broken(object, std::string("cannot be read: ") + std::strerror(errno));
  if (object.kind == Kind::kBlocks) return check_blocks(object, bytes);
  if (object.kind == Kind::kReplaced) {
    for (const std::uint64_t version : {object.version, object.pending_version})
      if (version != 0 && bytes == content(object.id, version, 0, replaced_bytes(object.id, version))) return;
    return broken(object, "is neither version " + std::to_string(object.version) + " nor " +
                              std::to_string(object.pending_version) + ", " + std::to_string(bytes.size()) + " bytes");
  }
  const std::uint64_t limit = std::max(object.count, object.pending_count) * kRecordBytes;
  if (bytes.size() < object.count * kRecordBytes)
    return broken(object, std::to_string(object.count) + " records acknowledged, size " + std::to_string(bytes.size()));
  if (bytes.size() > limit) return broken(object, "longer than anything that was appended");
  for (std::uint64_t i = 0; (i + 1) * kRecordBytes <= bytes.size(); ++i) {
    const std::vector<char> want = content(object.id, 0, i, kRecordBytes);
    if (std::memcmp(bytes.data() + i * kRecordBytes, want.data(), kRecordBytes) == 0) continue;
    // Beyond the acknowledged end a size may be there before its data: then it reads as zeros.
    if (i >= object.count && std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(i * kRecordBytes), bytes.end(),
                                         [](char c) { return c == 0; }))
      break;
    return broken(object, "record " + std::to_string(i) + " of " + std::to_string(object.count) + " is damaged");
  }
}

int verify_mode(const std::string& dir, const std::string& log_path) {
  std::ifstream log(log_path);
  if (!log) {
    std::cout << "acked_writer: no log, so nothing was promised\n";
    return 0;
  }
  std::map<std::uint64_t, Expected> objects;
  std::uint64_t acknowledged = 0;
  std::string text;
  while (std::getline(log, text)) {
    std::istringstream in(text);
    char mark = 0;
    int thread = 0;
    in >> mark >> thread;
    if (mark == 'E') {
      std::cout << "BROKEN an error that no dead server explains: " << text << '\n';
      ++g_broken;
      continue;
    }
    char op = 0;
    std::uint64_t id = 0;
    std::string name;
    if (!(in >> op >> id >> name)) continue;
    const bool acked = mark == 'A';
    acknowledged += acked ? 1 : 0;
    Expected& object = objects[id];
    object.id = id;
    object.thread = thread;
    if (op != 'M' && op != 'U') object.kind = static_cast<Kind>(op);
    if (object.name.empty()) object.name = name;
    object.created = object.created || acked;
    if (op == 'F') {
      std::uint64_t version = 0;
      std::size_t first = 0, count = 0;
      in >> version >> first >> count;
      object.blocks.resize(kMaxBlocks);
      object.pending_blocks.resize(kMaxBlocks);
      for (std::size_t i = first; i < first + count && i < kMaxBlocks; ++i)
        (acked ? object.blocks : object.pending_blocks)[i] = version;
    } else if (op == 'R') {
      in >> (acked ? object.version : object.pending_version);
    } else if (op == 'L') {
      in >> (acked ? object.count : object.pending_count);
    } else if (op == 'M') {
      std::string fresh;
      in >> fresh;
      object.pending_name = acked ? "" : fresh;
      if (acked) object.name = fresh;
    } else if (op == 'U') {
      (acked ? object.removed : object.removing) = true;
    }
  }
  for (const auto& [id, object] : objects) check(dir, object);
  std::cout << "acked_writer: " << acknowledged << " acknowledged changes, " << objects.size() << " objects, "
            << g_broken << " broken\n";
  return g_broken == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: acked_writer write|verify DIR LOG [--seed N] [--threads N] [--ops N]\n";
    return 2;
  }
  const std::string mode = argv[1];
  std::uint64_t seed = 1, ops = ~0ULL;
  int threads = 4;
  for (int i = 4; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    const auto value = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--seed") seed = value;
    if (option == "--threads") threads = static_cast<int>(value);
    if (option == "--ops") ops = value;
  }
  if (mode == "write") return write_mode(argv[2], argv[3], seed, threads, ops);
  if (mode == "verify") return verify_mode(argv[2], argv[3]);
  return 2;
}
