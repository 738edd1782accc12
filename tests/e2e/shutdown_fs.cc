// shutdown_fs.cc - stops a kernel file system without writing its log (FS_IOC_SHUTDOWN, NOLOGFLUSH).
//
// For end-to-end scripts that run over ext4 as a peer: it is to ext4 what kill -9 of the server is to ours.
// Usage: shutdown_fs DIR [FLAG], flag 0 with sync, 1 with log flush, 2 (default) with neither.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: shutdown_fs DIR [FLAG]\n");
    return 2;
  }
  std::uint32_t flag = argc > 2 ? static_cast<std::uint32_t>(std::atoi(argv[2])) : 2;
  const int fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    std::perror(argv[1]);
    return 1;
  }
  const int status = ioctl(fd, _IOR('X', 125, std::uint32_t), &flag);
  if (status < 0) std::perror("FS_IOC_SHUTDOWN");
  close(fd);
  return status < 0 ? 1 : 0;
}
