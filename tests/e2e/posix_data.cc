// posix_data.cc - file content on a mounted file system: read, write, map, cut, copy, sync.
#include "posix_check.h"

#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <algorithm>
#include <memory>

using namespace posix_check;

namespace {
constexpr std::size_t kPage = 4096;

struct Aligned {
  explicit Aligned(std::size_t size_bytes) : bytes(static_cast<char*>(std::aligned_alloc(kPage, size_bytes))) {}
  ~Aligned() { std::free(bytes); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  char* bytes;
};
// Random calls on one file, each mirrored in memory and compared: every way to change content, mixed.
void random_calls(int open_flags, int calls) {
  constexpr std::size_t kLimit = 1 << 20;
  const bool direct = (open_flags & O_DIRECT) != 0;
  const std::size_t grain = direct ? kPage : 1;
  const Fd fd("f", O_RDWR | O_CREAT | open_flags);
  REQUIRE(fd >= 0);
  std::string model;
  Random random;
  const Aligned buffer(kLimit);
  const auto place = [&](std::uint64_t limit) { return random.below(limit / grain + 1) * grain; };
  for (int call = 0; call < calls; ++call) {
    const std::uint64_t at = place(kLimit / 2);
    const std::uint64_t size = std::max<std::uint64_t>(grain, place(random.below(3) == 0 ? kLimit / 4 : 16384));
    const std::uint64_t what = random.below(10);
    switch (what) {
      case 0:
      case 1:
      case 2: {
        const std::string text = pattern(random.next(), size);
        std::memcpy(buffer.bytes, text.data(), size);
        REQUIRE(pwrite(fd, buffer.bytes, size, static_cast<off_t>(at)) == static_cast<ssize_t>(size));
        if (model.size() < at + size) model.resize(at + size);
        model.replace(at, size, text);
        break;
      }
      case 3: {
        REQUIRE(ftruncate(fd, static_cast<off_t>(at)) == 0);
        model.resize(at);
        break;
      }
      case 4: {
        REQUIRE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                          static_cast<off_t>(size)) == 0);
        if (at < model.size())
          std::fill(model.begin() + static_cast<std::ptrdiff_t>(at),
                    model.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(model.size(), at + size)), '\0');
        break;
      }
      case 5: {
        const bool keep = random.below(2) != 0;
        const int mode = FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0);
        REQUIRE(fallocate(fd, mode, static_cast<off_t>(at), static_cast<off_t>(size)) == 0);
        if (!keep && model.size() < at + size) model.resize(at + size);
        if (at < model.size())
          std::fill(model.begin() + static_cast<std::ptrdiff_t>(at),
                    model.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(model.size(), at + size)), '\0');
        break;
      }
      case 6: {
        const bool keep = random.below(2) != 0;
        REQUIRE(fallocate(fd, keep ? FALLOC_FL_KEEP_SIZE : 0, static_cast<off_t>(at), static_cast<off_t>(size)) == 0);
        if (!keep && model.size() < at + size) model.resize(at + size);
        break;
      }
      case 7: {
        if (model.empty()) break;
        void* map = mmap(nullptr, model.size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        REQUIRE(map != MAP_FAILED);
        const std::size_t from = random.below(model.size()),
                          length = std::min<std::size_t>(model.size() - from, 1 + random.below(9000));
        const std::string text = pattern(random.next(), length);
        std::memcpy(static_cast<char*>(map) + from, text.data(), length);
        model.replace(from, length, text);
        if (direct || random.below(2) != 0) REQUIRE(msync(map, model.size(), MS_SYNC) == 0);
        REQUIRE(munmap(map, model.size()) == 0);
        break;
      }
      case 8: {
        // Within the one file; ranges that overlap are refused.
        if (at + size > model.size()) break;
        off_t from = static_cast<off_t>(at), to = static_cast<off_t>(at + size + place(65536));
        const ssize_t done = copy_file_range(fd, &from, fd, &to, size, 0);
        REQUIRE(done > 0 && static_cast<std::size_t>(done) <= size);
        const std::size_t end = static_cast<std::size_t>(to);
        if (model.size() < end) model.resize(end);
        model.replace(end - static_cast<std::size_t>(done), static_cast<std::size_t>(done),
                      model.substr(at, static_cast<std::size_t>(done)));
        break;
      }
      default: REQUIRE((random.below(2) != 0 ? fsync(fd) : fdatasync(fd)) == 0);
    }
    EXPECT_EQUAL(size_of(fd), static_cast<off_t>(model.size()));
    if (call % 8 == 7 || call + 1 == calls) {
      const ssize_t got = pread(fd, buffer.bytes, kLimit, 0);
      const std::size_t compared = std::min(model.size(), kLimit);
      if (got != static_cast<ssize_t>(compared) || std::memcmp(buffer.bytes, model.data(), compared) != 0) {
        std::size_t where = 0;
        while (where < compared && buffer.bytes[where] == model[where]) ++where;
        std::printf(
            "    after call %d (kind %d, at %llu, %llu bytes; --seed %llu): read %zd of %zu, first difference at %zu: "
            "%d, should be %d\n",
            call, static_cast<int>(what), static_cast<unsigned long long>(at), static_cast<unsigned long long>(size),
            static_cast<unsigned long long>(g_seed), got, model.size(), where, buffer.bytes[where],
            where < model.size() ? model[where] : -1);
        ++g_failures;
        return;
      }
    }
  }
}
}  // namespace

CASE(random_buffered, "400 random calls on a file agree with a model in memory, buffered") { random_calls(0, 400); }
CASE(random_direct, "400 random calls on a file agree with a model in memory, O_DIRECT") {
  random_calls(O_DIRECT, 400);
}
CASE(random_sync, "100 random calls on a file agree with a model in memory, O_SYNC") { random_calls(O_SYNC, 100); }

CASE(beyond_limit, "writing and growing beyond the largest file is EFBIG, and harms nothing") {
  const Fd fd("f", O_RDWR | O_CREAT);
  REQUIRE(write(fd, "kept", 4) == 4);
  EXPECT(pwrite(fd, "xxxxxxxx", 8, INT64_MAX - 4) == -1 && (errno == EFBIG || errno == EINVAL));
  EXPECT(ftruncate(fd, INT64_MAX) == 0 || errno == EFBIG || errno == EINVAL);
  EXPECT(ftruncate(fd, 4) == 0);
  EXPECT(read_at(fd, 0, 10) == "kept");
}
CASE(append, "O_APPEND writes of several processes all arrive whole") {
  constexpr int kProcesses = 4, kRecords = 250, kBytes = 100;
  std::fflush(stdout);
  for (int p = 0; p < kProcesses; ++p) {
    if (fork() != 0) continue;
    const Fd fd("log", O_WRONLY | O_CREAT | O_APPEND);
    for (int i = 0; i < kRecords; ++i)
      if (write(fd, std::string(kBytes, static_cast<char>('a' + p)).data(), kBytes) != kBytes) _exit(1);
    _exit(0);
  }
  int status = 0;
  while (wait(&status) > 0) EXPECT_EQUAL(status, 0);
  const std::string text = read_file("log");
  REQUIRE(text.size() == kProcesses * kRecords * kBytes);
  int counts[kProcesses] = {};
  for (std::size_t i = 0; i < text.size(); i += kBytes) {
    EXPECT(text.substr(i, kBytes) == std::string(kBytes, text[i]));
    ++counts[text[i] - 'a'];
  }
  for (const int count : counts) EXPECT_EQUAL(count, kRecords);
}
CASE(append_two_handles, "O_APPEND follows what another handle appended") {
  const Fd a("f", O_WRONLY | O_CREAT | O_APPEND), b("f", O_WRONLY | O_APPEND), c("f", O_RDWR);
  EXPECT(write(a, "1", 1) == 1 && write(b, "2", 1) == 1 && write(a, "3", 1) == 1 && pwrite(c, "0", 1, 0) == 1 &&
         write(b, "4", 1) == 1);
  EXPECT(read_file("f") == "0234");
}
CASE(truncate_, "what truncation cut off reads as zeros when the file grows again") {
  const Fd fd("f", O_RDWR | O_CREAT);
  const std::string text = pattern(1, 20000);
  REQUIRE(write(fd, text.data(), text.size()) == 20000);
  EXPECT(ftruncate(fd, 5001) == 0 && ftruncate(fd, 30000) == 0);
  EXPECT(read_at(fd, 0, 5001) == text.substr(0, 5001));
  const std::string rest = read_at(fd, 5001, 40000);
  EXPECT(rest.size() == 24999 && all_zero(rest));
  EXPECT(truncate("f", 0) == 0 && size_of(fd) == 0 && used_bytes(fd) == 0);
  EXPECT_ERRNO(truncate("missing", 0), ENOENT);
  EXPECT_ERRNO(truncate(".", 0), EISDIR);
  const Fd read_only("f", O_RDONLY);
  EXPECT_ERRNO(ftruncate(read_only, 0), EINVAL);
  EXPECT_ERRNO(ftruncate(fd, -1), EINVAL);
}
CASE(read_ends, "reads stop at the end of the file") {
  REQUIRE(write_file("f", "0123456789"));
  const Fd fd("f", O_RDWR);
  EXPECT(read_at(fd, 5, 100) == "56789");
  EXPECT(read_at(fd, 10, 100).empty() && read_at(fd, 1 << 30, 100).empty());
  char byte = 0;
  const Fd dir(".", O_RDONLY | O_DIRECTORY);
  EXPECT_ERRNO(read(dir, &byte, 1), EISDIR);
}
CASE(copy_range, "copy_file_range copies exactly, and the copies then live apart") {
  const std::string text = pattern(5, 3 << 20);
  REQUIRE(write_file("a", text));
  const Fd a("a", O_RDWR), b("b", O_RDWR | O_CREAT);
  off_t left = 3 << 20;
  while (left > 0) {
    const ssize_t done = copy_file_range(a, nullptr, b, nullptr, static_cast<std::size_t>(left), 0);
    REQUIRE(done > 0);
    left -= done;
  }
  EXPECT(read_file("b") == text);
  EXPECT(pwrite(a, "changed", 7, 1000000) == 7 && ftruncate(a, 2000000) == 0);
  EXPECT(read_file("b") == text);
  EXPECT(pwrite(b, "other", 5, 5) == 5 && read_at(a, 0, 5000) == text.substr(0, 5000));
  off_t from = 12345, to = 777;
  EXPECT(copy_file_range(a, &from, b, &to, 54321, 0) == 54321 && from == 66666 && to == 55098);
  EXPECT(read_at(b, 777, 54321) == text.substr(12345, 54321));
  from = 0, to = 100;
  EXPECT_ERRNO(copy_file_range(a, &from, a, &to, 4096, 0), EINVAL);
  from = 5000000;
  EXPECT(copy_file_range(a, &from, b, &to, 4096, 0) == 0);
  const Fd read_only("b", O_RDONLY);
  EXPECT_ERRNO(copy_file_range(a, nullptr, read_only, nullptr, 10, 0), EBADF);
}
CASE(mmap_shared, "a shared mapping and read and write see one another, and msync keeps it") {
  const Fd fd("f", O_RDWR | O_CREAT);
  REQUIRE(ftruncate(fd, 3 * kPage) == 0);
  auto* map = static_cast<char*>(mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  REQUIRE(map != MAP_FAILED);
  std::memcpy(map + 4000, "across pages, through the map", 29);
  EXPECT(read_at(fd, 4000, 29) == "across pages, through the map");
  EXPECT(pwrite(fd, "written", 7, 9000) == 7 && std::memcmp(map + 9000, "written", 7) == 0);
  std::fflush(stdout);
  if (fork() == 0) {
    map[100] = 'c';
    _exit(0);
  }
  wait(nullptr);
  EXPECT(map[100] == 'c' && read_at(fd, 100, 1) == "c");
  EXPECT(msync(map, 3 * kPage, MS_SYNC) == 0 && munmap(map, 3 * kPage) == 0);
  auto* again = static_cast<char*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  REQUIRE(again != MAP_FAILED && again[100] == 'c');
  again[100] = 'p';
  EXPECT(read_at(fd, 100, 1) == "c");
  munmap(again, kPage);
}
CASE(mmap_beyond, "a page of a mapping that truncation took away is SIGBUS") {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const Fd fd("f", O_RDWR | O_CREAT);
    if (ftruncate(fd, 2 * kPage) != 0) _exit(1);
    volatile char* map = static_cast<char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    map[kPage] = 1;
    if (ftruncate(fd, 10) != 0) _exit(2);
    map[0] = 2;
    map[kPage] = 3;
    _exit(3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}
CASE(direct, "O_DIRECT and the page cache see the same bytes") {
  const Fd cached("f", O_RDWR | O_CREAT), direct("f", O_RDWR | O_DIRECT);
  REQUIRE(cached >= 0 && direct >= 0);
  const Aligned buffer(1 << 20);
  const std::string one = pattern(6, 1 << 20), two = pattern(7, 65536);
  REQUIRE(write(cached, one.data(), one.size()) == 1 << 20);
  EXPECT(pread(direct, buffer.bytes, 1 << 20, 0) == 1 << 20 && std::memcmp(buffer.bytes, one.data(), 1 << 20) == 0);
  std::memcpy(buffer.bytes, two.data(), two.size());
  EXPECT(pwrite(direct, buffer.bytes, 65536, 131072) == 65536);
  EXPECT(read_at(cached, 131072, 65536) == two);
  EXPECT(read_at(cached, 0, 131072) == one.substr(0, 131072));
  // The unaligned end of a file comes short, not wrong.
  EXPECT(ftruncate(cached, 10001) == 0 && pread(direct, buffer.bytes, 1 << 20, 0) == 10001);
}
CASE(direct_edges, "O_DIRECT at odd places, lengths and addresses is refused or right, never wrong") {
  const Fd cached("f", O_RDWR | O_CREAT), direct("f", O_RDWR | O_DIRECT);
  const Aligned buffer(1 << 20);
  std::string model = pattern(11, 300000);
  REQUIRE(direct >= 0 && write(cached, model.data(), model.size()) == 300000);
  Random random;
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    // Every grain from a byte to a page, for place, length and address.
    const auto grain = [&] { return std::uint64_t{1} << random.below(13); };
    const std::uint64_t place = grain(), unit = grain(), shift = grain() % kPage;
    const std::uint64_t at = random.below(310000) / place * place;
    const std::uint64_t size = std::max(unit, random.below(70000) / unit * unit);
    char* memory = buffer.bytes + shift;
    const std::string text = pattern(random.next(), size);
    std::memcpy(memory, text.data(), size);
    errno = 0;
    const ssize_t wrote = pwrite(direct, memory, size, static_cast<off_t>(at));
    if (wrote < 0) {
      EXPECT_EQUAL(errno, EINVAL);
      ++refused;
      // ext4 may have written a part of it by then.
      const std::string now = read_file("f");
      bool mixed = now.size() >= model.size();
      for (std::size_t k = 0; mixed && k < now.size(); ++k)
        mixed = (k < model.size() && now[k] == model[k]) || (k >= at && k < at + size && now[k] == text[k - at]);
      EXPECT(mixed);
      model = now;
    } else {
      const std::size_t done = static_cast<std::size_t>(wrote);
      if (model.size() < at + done) model.resize(at + done);
      model.replace(at, done, text.substr(0, done));
    }
    std::memset(memory, 'z', size);
    const ssize_t got = pread(direct, memory, size, static_cast<off_t>(at));
    if (got < 0) {
      EXPECT_EQUAL(errno, EINVAL);
    } else {
      const std::size_t there = at < model.size() ? std::min<std::size_t>(size, model.size() - at) : 0;
      EXPECT(static_cast<std::size_t>(got) <= there && (got > 0 || there == 0));
      EXPECT(std::memcmp(memory, model.data() + std::min(at, model.size()), static_cast<std::size_t>(got)) == 0);
    }
    if (g_failures > 5) return;
  }
  EXPECT(read_file("f") == model);
  EXPECT(refused < 300);
}
CASE(many_clients, "what one process wrote every other sees at once: written, mapped, direct, appended, renamed") {
  constexpr int kProcesses = 6;
  constexpr int kTurns = 40;
  constexpr std::size_t kEach = 3 * kPage;
  // Each has pages of its own in one file, writes them in every way, and then looks at all the others' through another
  // way; versions only grow, so what is seen is never older than what was seen before.
  {
    const Fd fd("f", O_RDWR | O_CREAT);
    REQUIRE(ftruncate(fd, kProcesses * kEach) == 0);
  }
  std::fflush(stdout);
  for (int p = 0; p < kProcesses; ++p) {
    if (fork() != 0) continue;
    g_failures = 0;
    Random random{g_seed * 99 + static_cast<unsigned>(p) + 1};
    const Fd fd("f", O_RDWR), direct("f", O_RDWR | O_DIRECT);
    auto* map = static_cast<char*>(mmap(nullptr, kProcesses * kEach, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (map == MAP_FAILED || direct < 0) _exit(1);
    const Aligned buffer(kEach);
    std::uint32_t newest[kProcesses] = {};
    for (std::uint32_t turn = 1; turn <= kTurns; ++turn) {
      const off_t at = static_cast<off_t>(p * kEach);
      for (std::size_t i = 0; i < kEach / 4; ++i) std::memcpy(buffer.bytes + i * 4, &turn, 4);
      switch (random.below(3)) {
        case 0: EXPECT(pwrite(fd, buffer.bytes, kEach, at) == kEach); break;
        case 1: EXPECT(pwrite(direct, buffer.bytes, kEach, at) == kEach); break;
        default: std::memcpy(map + at, buffer.bytes, kEach);
      }
      if (random.below(8) == 0) EXPECT(fsync(fd) == 0);
      for (int other = 0; other < kProcesses; ++other) {
        std::uint32_t word = 0;
        const off_t where = static_cast<off_t>(other * kEach + random.below(kEach / 4) * 4);
        switch (random.below(3)) {
          case 0: EXPECT(pread(fd, &word, 4, where) == 4); break;
          case 1:
            EXPECT(pread(direct, buffer.bytes, kPage, where / static_cast<off_t>(kPage) * static_cast<off_t>(kPage)) ==
                   kPage);
            std::memcpy(&word, buffer.bytes + where % static_cast<off_t>(kPage), 4);
            break;
          default: std::memcpy(&word, map + where, 4);
        }
        if (other == p) EXPECT_EQUAL(word, turn);
        EXPECT(word <= kTurns);
        newest[other] = std::max(newest[other], word);
      }
      const std::string name = "p" + std::to_string(p) + "." + std::to_string(turn);
      EXPECT(write_file("temporary." + std::to_string(p), name) &&
             rename(("temporary." + std::to_string(p)).c_str(), ("published." + std::to_string(p)).c_str()) == 0);
      for (int other = 0; other < kProcesses; ++other) {
        const std::string text = read_file("published." + std::to_string(other));
        if (!text.empty()) EXPECT(text.rfind("p" + std::to_string(other) + ".", 0) == 0);
      }
    }
    std::fflush(stdout);
    _exit(g_failures == 0 ? 0 : 1);
  }
  int status = 0;
  while (wait(&status) > 0) EXPECT_EQUAL(status, 0);
  const std::string text = read_file("f");
  REQUIRE(text.size() == kProcesses * kEach);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, text.data() + i, 4);
    if (word != kTurns) {
      EXPECT_EQUAL(word, static_cast<std::uint32_t>(kTurns));
      return;
    }
  }
}
CASE(vectors, "readv and writev, pwritev2 with RWF_APPEND and RWF_DSYNC") {
  const Fd fd("f", O_RDWR | O_CREAT);
  char a[] = "vec", b[] = "tored ", c[] = "write";
  const iovec out[] = {{a, 3}, {b, 6}, {c, 5}};
  EXPECT(writev(fd, out, 3) == 14 && read_file("f") == "vectored write");
  EXPECT(pwritev2(fd, out, 1, 0, RWF_DSYNC) == 3);
  EXPECT(pwritev2(fd, out, 1, 0, RWF_APPEND) == 3 && read_file("f") == "vectored writevec");
  char x[5], y[100];
  const iovec in[] = {{x, 5}, {y, 100}};
  EXPECT(preadv(fd, in, 2, 0) == 17 && std::memcmp(y, "red writevec", 12) == 0);
}
CASE(large_calls, "one call may move 64 MiB") {
  const std::string text = pattern(8, 64 << 20);
  const Fd fd("f", O_RDWR | O_CREAT);
  REQUIRE(write(fd, text.data(), text.size()) == 64 << 20);
  EXPECT(fsync(fd) == 0);
  EXPECT(read_at(fd, 0, 64 << 20) == text);
  const Fd copy("g", O_RDWR | O_CREAT);
  off_t at = 0;
  EXPECT(sendfile(copy, fd, &at, 1 << 20) == 1 << 20 && read_file("g") == text.substr(0, 1 << 20));
}
CASE(sync_calls, "every way to sync succeeds, on files and folders") {
  const Fd fd("f", O_RDWR | O_CREAT), dir(".", O_RDONLY | O_DIRECTORY);
  REQUIRE(write(fd, "x", 1) == 1);
  EXPECT(fsync(fd) == 0);
  EXPECT(fdatasync(fd) == 0);
  EXPECT(fsync(dir) == 0);
  EXPECT(fdatasync(dir) == 0);
  EXPECT(syncfs(fd) == 0);
  EXPECT(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0);
  const Fd read_only("f", O_RDONLY);
  EXPECT(fsync(read_only) == 0);
  const Fd sync("f", O_WRONLY | O_SYNC), dsync("f", O_WRONLY | O_DSYNC);
  EXPECT(write(sync, "y", 1) == 1 && write(dsync, "z", 1) == 1);
  EXPECT(read_file("f") == "z");
}
CASE(size_limit, "RLIMIT_FSIZE stops a file at its limit") {
  const rlimit limit{100000, 100000};
  signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const Fd fd("f", O_RDWR | O_CREAT);
  const std::string text = pattern(10, 200000);
  EXPECT(write(fd, text.data(), text.size()) == 100000);
  EXPECT_ERRNO(write(fd, "x", 1), EFBIG);
  EXPECT_EQUAL(size_of(fd), 100000);
}

int main(int argc, char** argv) { return run_all(argc, argv); }
