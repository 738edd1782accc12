// posix_locks.cc - locks on the files of a mounted file system: flock(2) and fcntl(2).
#include "posix_check.h"

#include <sys/file.h>

using namespace posix_check;

CASE(flock_, "flock keeps other processes out until it is dropped") {
  const Fd fd("f", O_RDWR | O_CREAT), other("f", O_RDWR);
  EXPECT(flock(fd, LOCK_EX | LOCK_NB) == 0);
  EXPECT_ERRNO(flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  EXPECT_ERRNO(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
  EXPECT(flock(fd, LOCK_SH) == 0 && flock(other, LOCK_SH | LOCK_NB) == 0);
  EXPECT(flock(fd, LOCK_UN) == 0 && flock(other, LOCK_EX | LOCK_NB) == 0);
}
CASE(record_locks, "fcntl locks cover ranges, name their owner, and end with it") {
  const Fd fd("f", O_RDWR | O_CREAT);
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 100;
  lock.l_len = 50;
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  const pid_t parent = getpid();
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    g_failures = 0;
    const Fd mine("f", O_RDWR);
    EXPECT_ERRNO(fcntl(mine, F_SETLK, &lock), EAGAIN);
    struct flock seen = lock;
    EXPECT(fcntl(mine, F_GETLK, &seen) == 0 && seen.l_type == F_WRLCK && seen.l_pid == parent);
    lock.l_start = 200;
    EXPECT(fcntl(mine, F_SETLK, &lock) == 0);
    std::fflush(stdout);
    _exit(g_failures);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQUAL(status, 0);
  lock.l_start = 200;
  EXPECT(fcntl(fd, F_SETLK, &lock) == 0);
  const Fd a("f", O_RDWR), b("f", O_RDWR);
  struct flock open_lock{};
  open_lock.l_type = F_WRLCK;
  open_lock.l_start = 1000;
  open_lock.l_len = 1;
  EXPECT(fcntl(a, F_OFD_SETLK, &open_lock) == 0);
  EXPECT_ERRNO(fcntl(b, F_OFD_SETLK, &open_lock), EAGAIN);
}

int main(int argc, char** argv) { return run_all(argc, argv); }
