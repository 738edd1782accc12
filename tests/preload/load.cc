// tests/preload/load.cc - loads of malloc in the manner of the literature, each a few tenths of a second to a few seconds. Measured by
// tests/bench/mem.sh, in turn on every heap.
//
//   load NAME [SCALE]     runs one; load alone lists them. The same seeds each time.
//
// Stand-alone: built against nothing of Weft.
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ % bound;
  }

 private:
  std::uint64_t state_;
};

void* get(std::size_t size) {
  void* block = std::malloc(size);
  *static_cast<volatile char*>(block) = 1;
  return block;
}

template <typename Body>
void in_threads(int count, const Body& body) {
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (int t = 0; t < count; ++t) threads.emplace_back([&, t] { body(t); });
  for (std::thread& thread : threads) thread.join();
}

// Random sizes over a table of live blocks, as larson's, espresso's and alloc-test's inner loops.
void churn(std::uint64_t seed, std::size_t live, std::size_t most, long rounds) {
  Random random(seed);
  std::vector<void*> blocks(live);
  for (long i = 0; i < rounds; ++i) {
    void*& block = blocks[random.below(live)];
    std::free(block);
    block = get(1 + random.below(most));
  }
  for (void* block : blocks) std::free(block);
}

// cfrac: tiny blocks of short life.
void tiny(long scale) {
  Random random(1);
  std::array<void*, 64> blocks{};
  for (long i = 0; i < scale * 20000000; ++i) {
    void*& block = blocks[random.below(64)];
    std::free(block);
    block = get(8 + random.below(40));
  }
  for (void* block : blocks) std::free(block);
}

// glibc-simple: many of a size, freed in order, in reverse, and at random.
void simple(long scale) {
  std::vector<void*> blocks(1600);
  for (long round = 0; round < scale * 600; ++round) {
    for (const std::size_t size : {16UL, 24UL, 40UL, 96UL, 256UL, 700UL}) {
      for (void*& block : blocks) block = get(size);
      if (round % 2 == 0) std::reverse(blocks.begin(), blocks.end());
      for (void* block : blocks) std::free(block);
    }
  }
}

// larson: threads take over tables of blocks that others have filled.
void larson(long scale) {
  constexpr int kTables = 4;
  constexpr std::size_t kLive = 5000;
  std::vector<std::vector<void*>> tables(kTables, std::vector<void*>(kLive));
  for (long era = 0; era < scale * 10; ++era) {
    in_threads(2, [&](int t) {
      Random random(era * 2 + t);
      for (int half = 0; half < 2; ++half) {
        auto& table = tables[(t * 2 + half + era) % kTables];
        for (int i = 0; i < 300000; ++i) {
          void*& block = table[random.below(kLive)];
          std::free(block);
          block = get(10 + random.below(490));
        }
      }
    });
  }
  for (auto& table : tables) {
    for (void* block : table) std::free(block);
  }
}

// xmalloc: some make batches, others free them. Who has nothing to do sleeps: in a loop that yields, the processor time would be that of
// the yields, and differ eightfold between runs.
void handover(long scale) {
  struct Batch {
    std::array<void*, 100> blocks;
  };
  constexpr int kSlots = 64;
  std::array<Batch*, kSlots> slots{};
  std::counting_semaphore<kSlots> empty(kSlots);
  std::counting_semaphore<kSlots> full(0);
  const long batches = scale * 60000;
  in_threads(2, [&](int t) {
    Random random(t);
    for (long i = 0; i < batches; ++i) {
      Batch*& slot = slots[i % kSlots];
      if (t == 0) {
        auto* batch = static_cast<Batch*>(get(sizeof(Batch)));
        for (void*& block : batch->blocks) block = get(16 + random.below(200));
        empty.acquire();
        slot = batch;
        full.release();
      } else {
        full.acquire();
        Batch* batch = slot;
        empty.release();
        for (void* block : batch->blocks) std::free(block);
        std::free(batch);
      }
    }
  });
}

// sh6/sh8bench, mstress: every thread makes and frees, and a part of it is others'.
void exchange(long scale) {
  constexpr std::size_t kShared = 2000;
  std::vector<std::atomic<void*>> shared(kShared);
  in_threads(4, [&](int t) {
    Random random(t);
    std::vector<void*> mine(2000);
    for (long i = 0; i < scale * 1500000; ++i) {
      const std::size_t size = random.below(100) < 97 ? 16 + random.below(800) : 1 + random.below(30000);
      if (random.below(4) == 0) {
        std::free(shared[random.below(kShared)].exchange(get(size)));
      } else {
        void*& block = mine[random.below(mine.size())];
        std::free(block);
        block = get(size);
      }
    }
    for (void* block : mine) std::free(block);
  });
  for (auto& each : shared) std::free(each);
}

// malloc-large: twenty blocks of five to 25 MB.
void large(long scale) {
  Random random(7);
  std::array<char*, 20> blocks{};
  for (long i = 0; i < scale * 500; ++i) {
    char*& block = blocks[random.below(blocks.size())];
    std::free(block);
    const std::size_t size = (5 << 20) + random.below(20 << 20);
    block = static_cast<char*>(std::malloc(size));
    for (std::size_t at = 0; at < size; at += 4096) block[at] = 1;
  }
  for (char* block : blocks) std::free(block);
}

// mleak: threads that live for a few blocks.
void short_threads(long scale) {
  for (long i = 0; i < scale * 3000; ++i) {
    in_threads(2, [&](int t) {
      std::array<void*, 100> blocks{};
      for (std::size_t k = 0; k < blocks.size(); ++k) blocks[k] = get(10 + (k * 37 + t) % 1000);
      for (void* block : blocks) std::free(block);
    });
  }
}

// rptest: all sizes to 16 KiB, in loops that grow and shrink.
void waves(long scale) {
  in_threads(2, [&](int t) {
    Random random(t);
    std::vector<void*> blocks;
    blocks.reserve(20000);
    for (long i = 0; i < scale * 60; ++i) {
      const std::size_t up = 1000 + random.below(9000);
      for (std::size_t k = 0; k < up; ++k) blocks.push_back(get(16 + random.below(random.below(8) == 0 ? 16000 : 500)));
      for (std::size_t k = random.below(blocks.size()); k > 0; --k) {
        std::swap(blocks[random.below(blocks.size())], blocks.back());
        std::free(blocks.back());
        blocks.pop_back();
      }
    }
    for (void* block : blocks) std::free(block);
  });
}

// Vectors and texts that grow.
void growing(long scale) {
  Random random(9);
  std::array<char*, 50> blocks{};
  std::array<std::size_t, 50> sizes{};
  for (long i = 0; i < scale * 300000; ++i) {
    const std::size_t k = random.below(blocks.size());
    sizes[k] = sizes[k] > 3000000 || random.below(60) == 0 ? 16 : sizes[k] + sizes[k] / 2 + 16;
    blocks[k] = static_cast<char*>(std::realloc(blocks[k], sizes[k]));
    blocks[k][sizes[k] - 1] = 1;
  }
  for (char* block : blocks) std::free(block);
}

// What C++ programs do: maps of texts, made and dropped.
void containers(long scale) {
  for (long round = 0; round < scale * 6; ++round) {
    std::map<std::string, std::vector<int>> map;
    Random random(round);
    for (int i = 0; i < 60000; ++i) {
      auto& list = map[std::to_string(random.below(40000)) + "-a-key-that-is-not-short"];
      list.push_back(i);
      if (random.below(10) == 0) map.erase(map.begin());
    }
  }
}

// cache-scratch and cache-thrash: each thread writes to its little block all the time, and takes another now and then. In the first
// the main thread has made those they begin with, in one line of the cache.
void little_blocks(long scale, bool from_main) {
  constexpr int kThreads = 2;
  std::array<void*, kThreads> first{};
  for (void*& block : first) block = from_main ? get(8) : nullptr;
  in_threads(kThreads, [&](int t) {
    std::free(first[t]);
    for (long i = 0; i < scale * 100000; ++i) {
      auto* block = static_cast<volatile char*>(std::malloc(8));
      for (int k = 0; k < 400; ++k) block[k % 8] = static_cast<char>(block[k % 8] + 1);
      std::free(const_cast<char*>(block));
    }
  });
}

// barnes: a tree of cells is made, walked and dropped, step by step.
struct Cell {
  std::array<Cell*, 8> children{};
  std::array<double, 12> body{};
};

void put(Cell& cell, Random& random, int depth) {
  cell.body[0] += 1;
  if (depth == 0) return;
  Cell*& child = cell.children[random.below(8)];
  if (child == nullptr) child = new Cell;
  put(*child, random, depth - 1);
}
double mass(const Cell* cell) {
  if (cell == nullptr) return 0;
  double sum = cell->body[0];
  for (const Cell* child : cell->children) sum += mass(child);
  return sum;
}
void drop(Cell* cell) {
  if (cell == nullptr) return;
  for (Cell* child : cell->children) drop(child);
  delete cell;
}
void tree(long scale) {
  Random random(11);
  for (long step = 0; step < scale * 12; ++step) {
    auto* root = new Cell;
    for (int i = 0; i < 20000; ++i) put(*root, random, 7);
    if (mass(root) < 20000) std::abort();
    drop(root);
  }
}

// sh6bench: batches of one size each, of which the last stay for a while; freed in order, or in reverse.
void batches(long scale) {
  constexpr std::size_t kKept = 40;
  std::vector<std::vector<void*>> kept(kKept);
  Random random(13);
  for (long i = 0; i < scale * 30000; ++i) {
    std::vector<void*>& batch = kept[random.below(kKept)];
    if (i % 2 == 0) std::reverse(batch.begin(), batch.end());
    for (void* block : batch) std::free(block);
    batch.resize(20 + random.below(300));
    const std::size_t size = 1 + random.below(random.below(20) == 0 ? 1000 : 100);
    for (void*& block : batch) block = get(size);
  }
  for (const auto& batch : kept) {
    for (void* block : batch) std::free(block);
  }
}

// alloc-test: many small, few large, each twice as large half as often.
void halves(long scale) {
  Random random(17);
  std::vector<void*> blocks(20000);
  for (long i = 0; i < scale * 3000000; ++i) {
    void*& block = blocks[random.below(blocks.size())];
    std::free(block);
    std::size_t most = 16;
    while (most < 100000 && random.below(2) == 0) most *= 2;
    block = get(1 + random.below(most));
  }
  for (void* block : blocks) std::free(block);
}

// Everything is made, a part is freed, other sizes come: what fragmentation does.
void phases(long scale) {
  for (long round = 0; round < scale; ++round) {
    std::vector<void*> kept;
    for (const std::size_t size : {40UL, 90UL, 200UL, 450UL, 1000UL, 2300UL, 60UL}) {
      std::vector<void*> blocks;
      for (std::size_t bytes = 0; bytes < 20000000; bytes += size) blocks.push_back(get(size));
      Random random(size);
      for (void* block : blocks) {
        if (random.below(40) == 0) {
          kept.push_back(block);
        } else {
          std::free(block);
        }
      }
    }
    for (void* block : kept) std::free(block);
  }
}

struct Load {
  const char* name;
  void (*run)(long);
};
constexpr std::array kLoads{
    Load{"tiny", tiny},
    Load{"simple", simple},
    Load{"small-set", [](long scale) { churn(1, 1000, 500, scale * 10000000); }},
    Load{"medium-set", [](long scale) { churn(2, 50000, 1000, scale * 5000000); }},
    Load{"large-set", [](long scale) { churn(3, 500000, 300, scale * 3000000); }},
    Load{"pages", [](long scale) { churn(4, 500, 60000, scale * 2000000); }},
    Load{"two-threads", [](long scale) { in_threads(2, [&](int t) { churn(t, 20000, 400, scale * 4000000); }); }},
    Load{"larson", larson},
    Load{"handover", handover},
    Load{"exchange", exchange},
    Load{"large", large},
    Load{"short-threads", short_threads},
    Load{"waves", waves},
    Load{"growing", growing},
    Load{"containers", containers},
    Load{"phases", phases},
    Load{"scratch", [](long scale) { little_blocks(scale, true); }},
    Load{"thrash", [](long scale) { little_blocks(scale, false); }},
    Load{"tree", tree},
    Load{"batches", batches},
    Load{"halves", halves},
};

}  // namespace

int main(int count, char** arguments) {
  for (const Load& load : kLoads) {
    if (count < 2) {
      std::puts(load.name);
    } else if (std::strcmp(load.name, arguments[1]) == 0) {
      load.run(count > 2 ? std::atol(arguments[2]) : 1);
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      std::printf(
          "%.3f %ld\n",
          usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6,
          usage.ru_maxrss);
      return 0;
    }
  }
  return count < 2 ? 0 : 2;
}
