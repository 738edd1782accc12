// tests/trace/replay.cc - makes a trace of what record.so wrote, and calls malloc as the program did.
//
//   replay convert RAW TRACE     prints how many calls, threads and blocks it has
//   replay run TRACE [TIMES]     so many times in one process (1): prints "SECONDS KIB": user + system time, and the most that was resident
//
// Each thread of the program is one here, from the beginning on. Who frees or resizes a block of another waits until it is there; the
// order of the trace has no circles, so nobody waits for ever. Of each block the first byte of every page is written. What the program
// never freed is freed at the end of each time.
// Stand-alone: the heap is preloaded into it. What replaying needs itself comes from mmap() and read(), not from malloc.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tests/trace/trace.h"

namespace {

using namespace weft::trace;

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(2);
}

int open_or_give_up(const char* path, int flags) {
  const int file = open(path, flags | O_CLOEXEC, 0644);
  if (file < 0) give_up(path);
  return file;
}

// --- Convert

class Converter {
 public:
  // With one thread an index is used again once its block is gone; with several that would be an order between threads.
  explicit Converter(bool reuse) : reuse_(reuse) {}

  void add(const RawEvent& event) {
    const std::uint64_t address = event.address_operation >> 16;
    const std::uint64_t size = event.size_thread >> 16;
    auto& words = stream(event.size_thread & 0xffff);
    const auto operation = static_cast<Operation>(event.address_operation & 0xff);
    switch (operation) {
      case Operation::kAligned: {
        begin(words, operation, new_index(address));
        const std::uint64_t log2 = event.address_operation >> 8 & 0xff;
        words.push_back(static_cast<std::uint32_t>(log2 << kAlignedSizeBits |
                                                   std::min<std::uint64_t>(size, (1U << kAlignedSizeBits) - 1)));
        break;
      }
      case Operation::kRelease: {
        const auto found = blocks_.find(address);
        if (found == blocks_.end()) return;  // from before the recording
        begin(words, operation, found->second);
        forget(found->second);
        blocks_.erase(found);
        break;
      }
      case Operation::kResize: return resize(words, event.size_thread & 0xffff, address, size);
      case Operation::kResized: return resized(words, event.size_thread & 0xffff, address, size);
      default:
        begin(words, operation, new_index(address));
        words.push_back(cut(size));
        break;
    }
  }

  void write(const char* path) {
    Header header{.magic = {}, .threads = static_cast<std::uint32_t>(streams_.size()), .indices = indices_};
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    std::FILE* out = std::fopen(path, "wb");
    if (out == nullptr) give_up(path);
    bool good = std::fwrite(&header, sizeof header, 1, out) == 1;
    std::uint64_t offset = sizeof header + streams_.size() * sizeof(Stream);
    for (const auto& words : streams_) {
      const Stream stream{.offset_bytes = offset, .words = words.size()};
      good = good && std::fwrite(&stream, sizeof stream, 1, out) == 1;
      offset += words.size() * sizeof(std::uint32_t);
    }
    for (const auto& words : streams_)
      good = good && std::fwrite(words.data(), sizeof(std::uint32_t), words.size(), out) == words.size();
    if (std::fclose(out) != 0 || !good) give_up(path);
    std::printf("%zu calls, %zu threads, %u blocks at most known at once, %.1f MB\n", calls_, streams_.size(), indices_,
                static_cast<double>(offset) / 1e6);
  }

 private:
  struct Pending {
    std::size_t at;  // of the word for the new index; 0: of a block from before the recording
    std::uint64_t address;
    std::uint32_t index;
  };

  std::vector<std::uint32_t>& stream(std::size_t thread) {
    if (thread >= streams_.size()) {
      streams_.resize(thread + 1);
      pending_.resize(thread + 1);
    }
    return streams_[thread];
  }
  static std::uint32_t cut(std::uint64_t size) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(size, UINT32_MAX));
  }
  void begin(std::vector<std::uint32_t>& words, Operation operation, std::uint32_t index) {
    words.push_back(static_cast<std::uint32_t>(operation) << kIndexBits | index);
    ++calls_;
  }
  std::uint32_t new_index(std::uint64_t address) {
    std::uint32_t index = indices_;
    if (free_.empty()) {
      if (++indices_ >> kIndexBits != 0) give_up("more blocks than a trace has indices");
    } else {
      index = free_.back();
      free_.pop_back();
    }
    blocks_[address] = index;
    return index;
  }
  void forget(std::uint32_t index) {
    if (reuse_) free_.push_back(index);
  }

  // What comes out is known only when it is over; until then others may do anything but touch the old block.
  void resize(std::vector<std::uint32_t>& words, std::size_t thread, std::uint64_t address, std::uint64_t size) {
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) {
      pending_[thread] = {};
      return;
    }
    begin(words, Operation::kResize, found->second);
    words.push_back(cut(size));
    words.push_back(0);
    pending_[thread] = {.at = words.size() - 1, .address = address, .index = found->second};
    blocks_.erase(found);
  }
  void resized(std::vector<std::uint32_t>& words, std::size_t thread, std::uint64_t address, std::uint64_t size) {
    const Pending pending = pending_[thread];
    if (pending.at == 0) {
      if (address == 0) return;
      begin(words, Operation::kAllocate, new_index(address));
      words.push_back(cut(size));
    } else if (address != 0) {
      forget(pending.index);
      words[pending.at] = new_index(address);
    } else if (size != 0) {
      // It failed: the old one stays.
      words.resize(pending.at - 2);
      blocks_[pending.address] = pending.index;
    } else {
      words.resize(pending.at - 2);
      begin(words, Operation::kRelease, pending.index);
      forget(pending.index);
    }
  }

  const bool reuse_;
  std::vector<std::vector<std::uint32_t>> streams_;
  std::vector<Pending> pending_;
  std::unordered_map<std::uint64_t, std::uint32_t> blocks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t indices_ = 0;
  std::size_t calls_ = 0;
};

int convert(const char* raw_path, const char* trace_path) {
  const int file = open_or_give_up(raw_path, O_RDONLY);
  const off_t bytes = lseek(file, 0, SEEK_END);
  void* mapped = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ, MAP_SHARED, file, 0);
  if (bytes <= 0 || mapped == MAP_FAILED) give_up(raw_path);
  const auto* first = static_cast<const RawEvent*>(mapped);
  const RawEvent* end = std::find_if(first, first + static_cast<std::size_t>(bytes) / sizeof(RawEvent),
                                     [](const RawEvent& event) { return event.address_operation == 0; });
  Converter converter(std::all_of(first, end, [](const RawEvent& event) { return (event.size_thread & 0xffff) == 0; }));
  std::for_each(first, end, [&](const RawEvent& event) { converter.add(event); });
  converter.write(trace_path);
  return 0;
}

// --- Run

std::atomic<void*>* blocks;

void* wait_for(std::uint32_t index) {
  for (;;) {
    if (void* block = blocks[index].exchange(nullptr, std::memory_order_acquire); block != nullptr) return block;
    std::this_thread::yield();
  }
}

void keep(std::uint32_t index, void* block, std::size_t size) {
  if (block == nullptr) give_up("the heap has no memory");
  for (std::size_t at = 0; at < size; at += 4096) static_cast<volatile char*>(block)[at] = 1;
  blocks[index].store(block, std::memory_order_release);
}

class Reader {
 public:
  Reader(int file, const Stream& stream) : file_(file), offset_(stream.offset_bytes), left_(stream.words) {}
  [[nodiscard]] bool more() const { return next_ < have_ || left_ > 0; }
  std::uint32_t take() {
    if (next_ == have_) refill();
    return words_[next_++];
  }

 private:
  void refill() {
    have_ = std::min<std::uint64_t>(left_, words_.size());
    const std::size_t bytes = have_ * sizeof(std::uint32_t);
    if (have_ == 0 || pread(file_, words_.data(), bytes, static_cast<off_t>(offset_)) != static_cast<ssize_t>(bytes))
      give_up("the trace is cut off");
    offset_ += bytes;
    left_ -= have_;
    next_ = 0;
  }
  const int file_;
  std::uint64_t offset_, left_;
  std::size_t next_ = 0, have_ = 0;
  std::array<std::uint32_t, 8192> words_;
};

void replay(int file, const Stream& stream) {
  constexpr std::uint32_t kIndexMask = (1U << kIndexBits) - 1;
  for (Reader reader(file, stream); reader.more();) {
    const std::uint32_t word = reader.take();
    const std::uint32_t index = word & kIndexMask;
    switch (static_cast<Operation>(word >> kIndexBits)) {
      case Operation::kAllocate: {
        const std::size_t size = reader.take();
        keep(index, std::malloc(size), size);
        break;
      }
      case Operation::kZeroed: {
        const std::size_t size = reader.take();
        keep(index, std::calloc(1, size), size);
        break;
      }
      case Operation::kAligned: {
        const std::uint32_t how = reader.take();
        const std::size_t size = how & ((1U << kAlignedSizeBits) - 1);
        keep(index, std::aligned_alloc(std::size_t{1} << (how >> kAlignedSizeBits), size), size);
        break;
      }
      case Operation::kRelease: std::free(wait_for(index)); break;
      case Operation::kResize: {
        const std::size_t size = reader.take();
        const std::uint32_t to = reader.take();
        keep(to, std::realloc(wait_for(index), size), size);
        break;
      }
      default: give_up("no trace, or a damaged one");
    }
  }
}

void replay_all(int file, const std::vector<Stream>& streams) {
  std::vector<std::thread> others;
  others.reserve(streams.size());
  for (std::size_t i = 1; i < streams.size(); ++i) others.emplace_back([&, i] { replay(file, streams[i]); });
  replay(file, streams[0]);
  for (std::thread& other : others) other.join();
}

int run(const char* path, long times) {
  const int file = open_or_give_up(path, O_RDONLY);
  Header header{};
  if (read(file, &header, sizeof header) != sizeof header || std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 ||
      header.threads > kMostThreads)
    give_up("no trace");
  std::vector<Stream> streams(header.threads);
  const std::size_t bytes = streams.size() * sizeof(Stream);
  if (streams.empty() || read(file, streams.data(), bytes) != static_cast<ssize_t>(bytes))
    give_up("the trace is cut off");
  void* table = mmap(nullptr, (std::size_t{header.indices} + 1) * sizeof(void*), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (table == MAP_FAILED) give_up("no memory for the table of blocks");
  blocks = static_cast<std::atomic<void*>*>(table);
  for (; times > 0; --times) {
    replay_all(file, streams);
    for (std::uint32_t i = 0; i < header.indices; ++i)
      std::free(blocks[i].exchange(nullptr, std::memory_order_relaxed));
  }
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  std::printf("%.3f %ld\n", seconds(used.ru_utime) + seconds(used.ru_stime), used.ru_maxrss);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string_view verb = count > 2 ? arguments[1] : "";
  if (verb == "convert" && count == 4) return convert(arguments[2], arguments[3]);
  if (verb == "run") return run(arguments[2], count > 3 ? std::atol(arguments[3]) : 1);
  std::fprintf(stderr, "usage: replay convert RAW TRACE | replay run TRACE [TIMES]\n");
  return 2;
}
