// walk.cc - counts what is below a folder, many folders at a time.
//
//   walk [--workers N] FOLDER
//
// One fiber for each folder, in one group: the group ends when the last of them has, and one that fails stops the others. Listing a
// folder is a call that blocks, so it is made on a thread of its own while the worker goes on with other fibers.
#define WEFT_SHORT_TRY
#include <weft/sched.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace sched = weft::sched;
namespace files = std::filesystem;

namespace {

struct Totals {
  std::atomic<std::uint64_t> folders{0};
  std::atomic<std::uint64_t> files{0};
  std::atomic<std::uint64_t> bytes{0};
};

struct Listing {
  std::vector<files::path> folders;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

weft::Result<Listing> list(const files::path& folder) {
  Listing found;
  std::error_code error;
  for (files::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const files::file_status status = entry->symlink_status(error);
    if (error) break;
    if (files::is_directory(status)) {
      found.folders.push_back(entry->path());
    } else {
      ++found.files;
      if (files::is_regular_file(status)) found.bytes += entry->file_size(error);
      if (error) break;
    }
  }
  if (error) return weft::fail(weft::Error::from_errno(error.value(), folder.string()));
  return found;
}

weft::Status walk(sched::TaskGroup& group, const files::path& folder, Totals& totals) {
  if (sched::stop_requested()) return weft::fail(weft::Errc::kCancelled);
  const Listing found = TRY(sched::blocking([&] { return list(folder); }));
  ++totals.folders;
  totals.files += found.files;
  totals.bytes += found.bytes;
  for (const files::path& below : found.folders)
    group.spawn("walk", [&group, &totals, below] { return walk(group, below, totals); });
  return {};
}

weft::Status walk_all(unsigned workers, const files::path& folder) {
  auto runtime = TRY(sched::Runtime::create({.name = "walk", .workers = workers}));
  Totals totals;
  TRY(runtime.block_on([&] {
    sched::TaskGroup group;
    group.spawn("walk", [&] { return walk(group, folder, totals); });
    return group.join();
  }));
  std::printf("%llu folders, %llu files, %llu bytes\n", static_cast<unsigned long long>(totals.folders),
              static_cast<unsigned long long>(totals.files), static_cast<unsigned long long>(totals.bytes));
  return {};
}

}  // namespace

int main(int count, char** words) {
  unsigned workers = 0;  // one for each processor
  int at = 1;
  if (count > 2 && std::string_view(words[1]) == "--workers") {
    workers = static_cast<unsigned>(std::atoi(words[2]));
    at = 3;
  }
  if (count != at + 1 || std::string_view(words[at]) == "--help") {
    std::puts("usage: walk [--workers N] FOLDER");
    return count == 2 ? 0 : 2;
  }
  const weft::Status ended = walk_all(workers, words[at]);
  if (!ended) std::fprintf(stderr, "walk: %s\n", ended.error().message().c_str());
  return ended ? 0 : 1;
}
