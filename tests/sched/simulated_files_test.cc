#include "sched/simulated_files.h"

#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <vector>

#include "sched/file.h"
#include "sched/file_disk.h"
#include "sched/io.h"
#include "sched/simulation.h"
#include "sched/spawn.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {
namespace {

void simulate(std::uint64_t seed, SimulatedFiles& files, std::function<void()> test) {
  Simulation simulation(seed);
  simulation.use_files(files);
  const auto ended = simulation.run(std::move(test));
  EXPECT_TRUE(ended.has_value()) << ended.error().message();
}

io::Descriptor made(const std::string& path) {
  auto file = io::open(path, O_RDWR | O_CREAT, 0640);
  EXPECT_TRUE(file.has_value()) << file.error().message();
  return std::move(*file);
}

void write_all(int fd, std::string_view text, std::uint64_t offset) {
  while (!text.empty()) {
    const auto size = io::write(fd, bytes_of(text), offset);
    ASSERT_TRUE(size.has_value()) << size.error().message();
    text.remove_prefix(*size);
    offset += *size;
  }
}

std::string contents(const std::string& path) {
  auto file = io::open(path, O_RDONLY);
  if (!file) return "no " + path;
  std::string all(io::stat(file->get())->stx_size, '?');
  for (std::size_t done = 0; done < all.size();) {
    const auto size = io::read(file->get(), std::as_writable_bytes(std::span(all)).subspan(done), done);
    EXPECT_TRUE(size.has_value() && *size != 0);
    if (!size || *size == 0) break;
    done += *size;
  }
  return all;
}

void sync_names() {
  auto directory = io::open("/", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(directory.has_value());
  EXPECT_TRUE(io::fsync(directory->get()).has_value());
}

TEST(SimulatedFiles, DoWhatFilesDo) {
  SimulatedFiles files({.seed = 1});
  simulate(1, files, [] {
    EXPECT_EQ(io::open("/log", O_RDWR).error(), Errc::kNotFound);
    io::Descriptor file = made("/log");
    write_all(file.get(), "hello", 0);
    write_all(file.get(), "world", 1000);
    EXPECT_EQ(contents("/log"), "hello" + std::string(995, '\0') + "world");
    EXPECT_EQ(io::stat("/log")->stx_mode, S_IFREG | 0640);
    std::byte beyond{};
    EXPECT_EQ(io::read(file.get(), {&beyond, 1}, 1005).value(), 0U);
    EXPECT_EQ(io::open("/log", O_RDWR | O_CREAT | O_EXCL, 0600).error(), Errc::kExists);
    {
      auto appends = io::open("/log", O_WRONLY | O_APPEND);
      write_all(appends->get(), "!", 0);
      EXPECT_FALSE(io::read(appends->get(), {&beyond, 1}, 0).has_value());
    }
    EXPECT_TRUE(contents("/log").ends_with("world!"));

    EXPECT_TRUE(io::fallocate(file.get(), 0, 1000, 4000).has_value());
    EXPECT_EQ(io::stat(file.get())->stx_size, 5000U);
    EXPECT_TRUE(io::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3, 999).has_value());
    EXPECT_EQ(contents("/log"), "hel" + std::string(999, '\0') + "rld!" + std::string(3994, '\0'));
    EXPECT_EQ(io::fallocate(file.get(), FALLOC_FL_COLLAPSE_RANGE, 0, 512).error(), Errc::kUnsupported);

    EXPECT_TRUE(io::rename("/log", "/old").has_value());
    EXPECT_EQ(contents("/log"), "no /log");
    EXPECT_TRUE(io::unlink("/old").has_value());
    EXPECT_EQ(io::unlink("/old").error(), Errc::kNotFound);
    EXPECT_EQ(io::stat(file.get())->stx_size, 5000U) << "it is open still";
    const int number = file.get();
    EXPECT_TRUE(io::close(std::move(file)).has_value());
    EXPECT_EQ(io::stat(number).error().os_errno(), EBADF);
    { const io::Descriptor again = made("/log"); }
    EXPECT_TRUE(io::open("/log", O_RDWR | O_TRUNC).has_value());
    EXPECT_EQ(contents("/log"), "");
  });
}

TEST(SimulatedFiles, CarryTheBlockDevice) {
  SimulatedFiles files({.seed = 2, .short_permille = 500});
  simulate(2, files, [] {
    io::Descriptor file = made("/disk");
    ASSERT_TRUE(io::fallocate(file.get(), 0, 0, 1 << 20).has_value());
    FileDisk disk({.fd = file.release(), .geometry = {.size_bytes = 1 << 20, .can_discard = true}, .name = "disk"});
    struct alignas(512) Block {
      std::array<std::byte, 8192> bytes;
    };
    const auto aligned = std::make_unique<std::array<Block, 2>>();
    auto& block = (*aligned)[0].bytes;
    auto& back = (*aligned)[1].bytes;
    block.fill(std::byte{7});
    EXPECT_TRUE(disk.write(4096, block).has_value());
    EXPECT_TRUE(disk.flush().has_value());
    EXPECT_TRUE(disk.discard(4096, 4096).has_value());
    EXPECT_TRUE(disk.read(4096, back).has_value());
    EXPECT_EQ(std::count(back.begin(), back.end(), std::byte{7}), 4096);
    EXPECT_EQ(back[4096], std::byte{7});
  });
}

TEST(SimulatedFiles, AreShortAndFailAsOftenAsAsked) {
  SimulatedFiles files({.seed = 3, .short_permille = 0});
  simulate(3, files, [&] {
    const io::Descriptor file = made("/x");
    std::array<std::byte, 100> bytes{};
    const auto counts = [&] {
      int whole = 0;
      int part = 0;
      int failed = 0;
      for (int i = 0; i < 100; ++i) {
        const auto size = i % 2 == 0 ? io::write(file.get(), bytes, 0) : io::read(file.get(), bytes, 0);
        EXPECT_TRUE(size || size.error() == Errc::kIo);
        ++(!size ? failed : *size == 100 ? whole : part);
      }
      return std::array{whole, part, failed};
    };
    EXPECT_EQ(counts(), (std::array{100, 0, 0}));
    files.options().short_permille = 500;
    EXPECT_GT(counts()[1], 20);
    files.options().read_error_permille = 1000;
    EXPECT_EQ(counts()[2], 50);
    files.options().write_error_permille = 1000;
    EXPECT_EQ(counts()[2], 100);
    files.options() = {.short_permille = 0, .capacity_bytes = 1000};
    const io::Descriptor full = made("/full");
    EXPECT_TRUE(io::write(full.get(), bytes, 800).has_value());
    EXPECT_EQ(io::write(full.get(), bytes, 900).error(), Errc::kNoSpace) << "100 bytes are in /x";
    EXPECT_EQ(io::fallocate(full.get(), 0, 0, 901).error(), Errc::kNoSpace);
    EXPECT_EQ(io::stat("/full")->stx_size, 900U);
  });
}

// The values that a two-sector file may have after a crash, over some seeds.
std::set<std::string> after_a_crash(bool sync_file, bool sync_name, Crash crash) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SimulatedFiles files({.seed = seed});
    simulate(seed, files, [&] {
      const io::Descriptor file = made("/x");
      write_all(file.get(), std::string(512, 'a') + std::string(512, 'b'), 0);
      EXPECT_TRUE(!sync_file || io::fdatasync(file.get()).has_value());
      if (sync_name) sync_names();
      files.crash(crash);
      std::byte into{};
      EXPECT_EQ(io::read(file.get(), {&into, 1}, 0).error().os_errno(), EBADF);
      std::string found = contents("/x");
      std::string shape;  // each run of a letter as one of it
      for (char letter : found) {
        if (letter == '\0') letter = '0';
        if (shape.empty() || shape.back() != letter) shape += letter;
      }
      seen.insert(found == "no /x" ? "none" : shape + " " + std::to_string(found.size()));
    });
  }
  return seen;
}

TEST(SimulatedFiles, ForgetAtAPowerCutWhatWasNotSynced) {
  const std::set<std::string> whole{"ab 1024"};
  EXPECT_EQ(after_a_crash(false, false, Crash::kProcess), whole);
  EXPECT_EQ(after_a_crash(true, true, Crash::kPower), whole);
  EXPECT_EQ(after_a_crash(true, false, Crash::kPower), (std::set<std::string>{"ab 1024", "none"}));
  const auto torn = after_a_crash(false, true, Crash::kPower);
  EXPECT_TRUE(torn.contains(" 0")) << "it is there, and empty";
  EXPECT_TRUE(torn.contains("ab 1024"));
  EXPECT_TRUE(torn.contains("0 1024")) << "its length alone";
  EXPECT_FALSE(torn.contains("none"));
  EXPECT_GT(torn.size(), 6U);
}

TEST(SimulatedFiles, ARenameHappensWholeOrNotAtAll) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SimulatedFiles files({.seed = seed});
    simulate(seed, files, [&] {
      for (const char* name : {"/config", "/new"}) {
        const io::Descriptor file = made(name);
        write_all(file.get(), name, 0);
        EXPECT_TRUE(io::fsync(file.get()).has_value());
      }
      sync_names();
      EXPECT_TRUE(io::rename("/new", "/config").has_value());
      files.crash(Crash::kPower);
      seen.insert(contents("/config") + " " + contents("/new"));
    });
  }
  EXPECT_EQ(seen, (std::set<std::string>{"/config /new", "/new no /new"}));
}

TEST(SimulatedFiles, AFailedFsyncLosesForGoodWhatItShouldHaveSaved) {
  bool lost = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SimulatedFiles files({.seed = seed});
    simulate(seed, files, [&] {
      const io::Descriptor file = made("/x");
      write_all(file.get(), "x", 0);
      files.disk("/x")->inject({.op = BlockOp::kFlush, .kind = SimDisk::FaultKind::kError});
      EXPECT_EQ(io::fsync(file.get()).error(), Errc::kIo);
      EXPECT_TRUE(io::fsync(file.get()).has_value());
      sync_names();
      files.crash(Crash::kPower);
      lost = lost || contents("/x") != "x";
    });
  }
  EXPECT_TRUE(lost);
  SimulatedFiles files({.seed = 1});
  EXPECT_EQ(files.disk("/nothing"), nullptr);
}

// A crash while a call is under way: it has happened or not, and who asked hears of neither.
TEST(SimulatedFiles, ACallThatACrashOvertakesHasHappenedOrNot) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SimulatedFiles files({.seed = seed, .short_permille = 0});
    simulate(seed, files, [&] {
      const io::Descriptor file = made("/x");
      Fiber writer =
          spawn("writer", [&] { EXPECT_EQ(io::write(file.get(), bytes_of("x"), 0).error(), Errc::kCancelled); });
      files.options().latency_max = std::chrono::seconds(10);
      EXPECT_TRUE(sleep_for(std::chrono::microseconds(1)).has_value());
      files.crash(Crash::kProcess);
      writer.join();
      seen.insert(contents("/x"));
    });
  }
  EXPECT_EQ(seen, (std::set<std::string>{"", "x"}));
}

TEST(SimulatedFiles, TheSameSeedGivesTheSameTrace) {
  const auto trace = [](std::uint64_t seed) {
    SimulatedFiles files({.seed = seed, .short_permille = 300, .sync_error_permille = 200});
    Simulation simulation(seed);
    simulation.use_files(files);
    EXPECT_TRUE(simulation
                    .run([&] {
                      std::vector<Fiber> writers;
                      writers.reserve(3);
                      for (const char* path : {"/a", "/b", "/c"})
                        writers.push_back(spawn("writer", [path] {
                          const io::Descriptor file = made(path);
                          for (int i = 0; i < 5; ++i) {
                            write_all(file.get(), "some text", 0);
                            (void)io::fdatasync(file.get());
                          }
                        }));
                      for (Fiber& writer : writers) writer.join();
                      files.crash(Crash::kPower);
                    })
                    .has_value());
    return simulation.trace();
  };
  EXPECT_EQ(trace(1), trace(1));
  EXPECT_NE(trace(1), trace(2));
  EXPECT_NE(trace(1).find("write /a at 0: "), std::string::npos) << trace(1);
}

}  // namespace
}  // namespace weft::sched
