// soak_verify.h - compares what a mount has with the model (soak_model.h), and ends the process where they differ.
#pragma once

#include "soak_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <set>

namespace soak {

// Shared with soak_watch.
struct Counters {
  std::atomic<std::uint64_t> operations, made, removed, live, verified;
};
inline Counters* counters = nullptr;

inline const char* doing = "";  // for messages
[[noreturn]] inline void broken(const char* format, ...) {
  const int error = errno;
  char text[1000];
  va_list list;
  va_start(list, format);
  std::vsnprintf(text, sizeof text, format, list);
  va_end(list);
  std::fprintf(stderr, "soak_load %d, %s: %s (errno: %s)\n", static_cast<int>(getpid()), doing, text,
               error == 0 ? "none" : std::strerror(error));
  std::_Exit(1);
}
#define MUST(condition, ...) ((condition) ? void() : broken(__VA_ARGS__))

inline constexpr const char* kAttribute = "user.soak";

struct File {
  int fd;
  File(const std::string& path, int flags) : fd(open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    MUST(fd >= 0, "open %s", path.c_str());
  }
  explicit File(int open_fd) : fd(open_fd) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { close(fd); }
};

inline void read_all(int fd, char* into, std::size_t bytes, std::uint64_t offset, const std::string& path) {
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t got = pread(fd, into + done, bytes - done, static_cast<off_t>(offset + done));
    MUST(got > 0, "%s: read %zu at %lu gives %zd", path.c_str(), bytes, static_cast<unsigned long>(offset), got);
    done += static_cast<std::size_t>(got);
  }
}

inline void verify_chunks(int fd, std::uint32_t first, std::uint32_t count, std::uint32_t stamp,
                          const std::string& path) {
  static thread_local std::vector<char> buffer(256 * kChunkBytes);
  char expected[kChunkBytes];
  for (std::uint32_t at = first; at < first + count;) {
    const std::uint32_t now = std::min<std::uint32_t>(first + count - at, 256);
    read_all(fd, buffer.data(), now * kChunkBytes, std::uint64_t{at} * kChunkBytes, path);
    for (std::uint32_t i = 0; i < now; ++i, ++at) {
      fill_chunk(expected, stamp, at);
      errno = 0;
      MUST(std::memcmp(expected, buffer.data() + i * kChunkBytes, kChunkBytes) == 0, "%s: bytes at %lu are not %s",
           path.c_str(), static_cast<unsigned long>(at) * kChunkBytes, stamp == 0 ? "zero" : "what was written");
    }
  }
}

inline void verify_open(int fd, const Inode& inode, const std::string& path, std::uint32_t links) {
  struct stat facts{};
  MUST(fstat(fd, &facts) == 0, "fstat %s", path.c_str());
  errno = 0;
  MUST(facts.st_size == static_cast<off_t>(std::uint64_t{inode.chunks} * kChunkBytes),
       "%s: has %ld bytes instead of %lu", path.c_str(), static_cast<long>(facts.st_size),
       static_cast<unsigned long>(inode.chunks) * kChunkBytes);
  MUST(facts.st_nlink == links, "%s: has %lu links instead of %u", path.c_str(),
       static_cast<unsigned long>(facts.st_nlink), links);
  std::uint32_t behind = 0;
  // Of a hole its edges.
  const auto hole = [&](std::uint32_t from, std::uint32_t to) {
    if (from >= to) return;
    verify_chunks(fd, from, std::min<std::uint32_t>(to - from, 8), 0, path);
    if (to - from > 8) verify_chunks(fd, to - 8, 8, 0, path);
  };
  for (const Run& run : inode.runs) {
    hole(behind, run.first);
    verify_chunks(fd, run.first, run.count, run.stamp, path);
    behind = run.end();
  }
  hole(behind, inode.chunks);
}

inline std::string attribute_of(std::uint32_t stamp, std::uint32_t bytes) {
  std::string value(bytes, '\0');
  for (std::uint32_t i = 0; i < bytes; ++i)
    value[i] = static_cast<char>(mix(std::uint64_t{stamp} << 16 | i / 8) >> (i % 8 * 8));
  return value;
}

inline void verify(const Name& name) {
  const std::string path = path_of(name);
  const File file(path, O_RDONLY);
  verify_open(file.fd, *name.inode, path, name.inode->links);
  char value[8192];
  const ssize_t bytes = fgetxattr(file.fd, kAttribute, value, sizeof value);
  if (name.inode->attribute == 0) {
    MUST(bytes < 0 && errno == ENODATA, "%s: an attribute that was not set, %zd bytes", path.c_str(), bytes);
  } else {
    MUST(bytes >= 0, "%s: its attribute is gone", path.c_str());
    MUST(std::string(value, static_cast<std::size_t>(bytes)) ==
             attribute_of(name.inode->attribute, name.inode->attribute_bytes),
         "%s: its attribute has another value", path.c_str());
  }
  ++counters->verified;
}

// All entries of a folder, each once.
inline std::set<std::string> list(const std::string& path) {
  DIR* dir = opendir(path.c_str());
  MUST(dir != nullptr, "opendir %s", path.c_str());
  std::set<std::string> found;
  errno = 0;
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name == "lost+found") continue;
    MUST(found.insert(name).second, "%s lists %s twice", path.c_str(), name.c_str());
  }
  MUST(errno == 0, "readdir %s", path.c_str());
  closedir(dir);
  return found;
}

inline void verify_listing(const Directory& directory) {
  const std::string path = directory.path();
  const auto found = list(path);
  errno = 0;
  MUST(found.size() == directory.names.size() + directory.directories.size(), "%s lists %zu entries instead of %zu",
       path.c_str(), found.size(), directory.names.size() + directory.directories.size());
  for (const Name* name : directory.names)
    MUST(found.contains("f" + std::to_string(name->number)), "%s does not list f%u", path.c_str(), name->number);
  for (const Directory* each : directory.directories)
    MUST(found.contains("d" + std::to_string(each->number)), "%s does not list d%u", path.c_str(), each->number);
}

inline void verify_everything(const Model& model) {
  doing = "verifying everything";
  for (const Directory* directory : model.directories) verify_listing(*directory);
  for (const Name* name : model.names) verify(*name);
}

}  // namespace soak
