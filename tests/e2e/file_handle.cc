// file_handle.cc - a file's handle as an NFS server keeps it: taken now, opened later, perhaps after another mount.
//
//   mount.sh -> [file_handle take PATH] -> hexadecimal text
//            -> [file_handle cat MOUNT TEXT]    the file's content, or the path of a folder below MOUNT
//
// Exit: 0 well, 3 the handle is stale, 1 any other error.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

struct Handle {
  alignas(file_handle) char bytes[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes); }
};

int failed(const char* what) {
  const int error = errno;
  std::perror(what);
  return error == ESTALE ? 3 : 1;
}

int take(const char* path) {
  Handle handle;
  int mount_id = 0;
  handle.get()->handle_bytes = MAX_HANDLE_SZ;
  if (name_to_handle_at(AT_FDCWD, path, handle.get(), &mount_id, 0) != 0) return failed("name_to_handle_at");
  for (std::size_t i = 0; i < sizeof(file_handle) + handle.get()->handle_bytes; ++i)
    std::printf("%02x", static_cast<unsigned>(static_cast<unsigned char>(handle.bytes[i])));
  std::puts("");
  return 0;
}

int cat(const char* mount, const std::string& text) {
  Handle handle;
  for (std::size_t i = 0; i * 2 + 1 < text.size() && i < sizeof handle.bytes; ++i)
    handle.bytes[i] = static_cast<char>(std::stoi(text.substr(i * 2, 2), nullptr, 16));
  const int root = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return failed(mount);
  const int fd = open_by_handle_at(root, handle.get(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed("open_by_handle_at");
  struct stat info{};
  if (fstat(fd, &info) != 0) return failed("fstat");
  if (S_ISDIR(info.st_mode)) {
    // The kernel has found the way up to the root by asking for "..".
    char path[PATH_MAX];
    const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
    if (length < 0) return failed("readlink");
    std::printf("%.*s\n", static_cast<int>(length), path);
    return 0;
  }
  char piece[65536];
  ssize_t got = 0;
  while ((got = read(fd, piece, sizeof piece)) > 0) std::fwrite(piece, 1, static_cast<std::size_t>(got), stdout);
  return got < 0 ? failed("read") : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "take" && argc == 3) return take(argv[2]);
  if (what == "cat" && argc == 4) return cat(argv[2], argv[3]);
  std::fprintf(stderr, "usage: file_handle take PATH | cat MOUNT TEXT\n");
  return 2;
}
