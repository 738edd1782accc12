// tools/weft_scrub.cc - `weft scrub`: all of a mounted volume read and compared with its checksums, while it is in use.
//
//   weft.cc -> [scrub] -> ioctl -> fs/fuse/ioctl.cc -> fs/scrub.h
//
// The pace is set here: a step, then a pause as long as the rate asks for. Where inodes have findings their paths are looked for by a
// walk over the mount, which costs nothing where all is well.
#include <fcntl.h>
#include <fmt/format.h>
#include <fts.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "fs/format.h"
#include "fs/scrub.h"
#include "tools/command_line.h"
#include "tools/weft_commands.h"

namespace weft::tools {
namespace {

using fs::kBlockBytes;
using fs::ScrubProblem;
using fs::fuse::ScrubArgument;
using fs::fuse::ScrubFindingArgument;

constexpr std::uint64_t kBlocksAStep = 1024;
constexpr std::uint64_t kStepsASecond = 10;  // where there is a rate, so that progress is smooth

void sleep_for(std::chrono::nanoseconds time) {
  timespec left{.tv_sec = time.count() / 1'000'000'000, .tv_nsec = time.count() % 1'000'000'000};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

std::string_view name_of(std::uint32_t problem) {
  switch (static_cast<ScrubProblem>(problem)) {
    case ScrubProblem::kNode: return "tree-node";
    case ScrubProblem::kFixed: return "fixed-block";
    case ScrubProblem::kData: return "data-checksum";
    case ScrubProblem::kRead: return "unreadable";
  }
  return "unknown";
}

Report describe(const ScrubFindingArgument& finding, const std::map<std::uint64_t, std::string>& paths) {
  const auto path = paths.find(finding.inode);
  const std::string who = path != paths.end() ? path->second : fmt::format("inode {}", finding.inode);
  const bool many = finding.count != 1;
  std::string what;
  if (finding.inode != 0) {
    what = fmt::format("{}: {} block{} from block {} of the file on (block {} of the volume) {}", who, finding.count,
                       many ? "s" : "", finding.file_block, finding.block,
                       static_cast<ScrubProblem>(finding.problem) == ScrubProblem::kRead ? "cannot be read"
                       : many                                                            ? "are not what was written"
                                                                                         : "is not what was written");
  } else {
    what = fmt::format("block {} of the volume, {}, is damaged", finding.block,
                       static_cast<ScrubProblem>(finding.problem) == ScrubProblem::kNode
                           ? "a node of the tree"
                           : "a superblock, group table or bitmap");
  }
  Report report;
  report.hidden("problem", std::string(name_of(finding.problem)));
  if (finding.inode != 0) {
    report.hidden("inode", finding.inode);
    if (path != paths.end()) report.hidden("path", path->second);
    report.hidden("file_block", finding.file_block);
  }
  report.hidden("block", finding.block).hidden("count", std::uint64_t{finding.count});
  report.wrong(std::move(what));
  return report;
}

std::map<std::uint64_t, std::string> find_paths(const std::string& directory, const std::set<std::uint64_t>& inodes) {
  std::map<std::uint64_t, std::string> paths;
  std::string root = directory;
  char* const roots[] = {root.data(), nullptr};
  FTS* walk = ::fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, nullptr);
  if (walk == nullptr) return paths;
  while (const FTSENT* entry = ::fts_read(walk)) {
    if (entry->fts_info == FTS_DP || entry->fts_info == FTS_NS || entry->fts_info == FTS_DNR) continue;
    if (inodes.contains(entry->fts_statp->st_ino)) paths.emplace(entry->fts_statp->st_ino, entry->fts_path);
    if (paths.size() == inodes.size()) break;
  }
  ::fts_close(walk);
  return paths;
}

}  // namespace

Result<Report> scrub(ScrubStepper step, const ScrubOptions& options) {
  Clock& clock = options.clock != nullptr ? *options.clock : system_clock();
  const auto begin = clock.monotonic();
  const std::uint64_t rate = options.bytes_per_second;
  const std::uint64_t blocks_a_step =
      rate == 0 ? kBlocksAStep : std::clamp<std::uint64_t>(rate / kBlockBytes / kStepsASecond, 1, kBlocksAStep);
  ScrubArgument total{};
  std::uint64_t blocks = 0;
  std::vector<ScrubFindingArgument> findings;
  for (ScrubArgument argument{}; argument.done == 0;) {
    argument.max_blocks = blocks_a_step;
    TRY(step(argument));
    total.metadata_blocks += argument.metadata_blocks;
    total.data_blocks += argument.data_blocks;
    total.unchecked_blocks += argument.unchecked_blocks;
    total.files += argument.files;
    total.errors += argument.errors;
    findings.insert(findings.end(), argument.list.begin(),
                    argument.list.begin() + std::min<std::size_t>(argument.findings, argument.list.size()));
    blocks = total.metadata_blocks + total.data_blocks;
    if (options.progress) options.progress(std::min(blocks, options.expected_blocks), options.expected_blocks);
    if (rate == 0 || argument.done != 0) continue;
    const auto due = std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(blocks) * kBlockBytes / static_cast<double>(rate) * 1e9));
    const auto ahead = begin + due - clock.monotonic();
    if (ahead > std::chrono::nanoseconds::zero()) (options.pause ? options.pause : sleep_for)(ahead);
  }
  std::set<std::uint64_t> inodes;
  for (const ScrubFindingArgument& finding : findings) {
    if (finding.inode != 0) inodes.insert(finding.inode);
  }
  std::map<std::uint64_t, std::string> paths;
  if (!inodes.empty() && options.find_paths) paths = options.find_paths(inodes);
  std::vector<Report> items;
  items.reserve(findings.size());
  for (const ScrubFindingArgument& finding : findings) items.push_back(describe(finding, paths));

  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(clock.monotonic() - begin);
  Report report("scrub");
  report.add("files", total.files)
      .add("data_blocks", total.data_blocks, format_size(total.data_blocks * kBlockBytes))
      .add("metadata_blocks", total.metadata_blocks, format_size(total.metadata_blocks * kBlockBytes))
      .add("unchecked_blocks", total.unchecked_blocks, "of files without checksums")
      .add("milliseconds", static_cast<std::uint64_t>(took.count()))
      .add("errors", total.errors, total.errors == 0 ? "all is what was written" : "blocks");
  std::uint64_t listed = 0;
  for (const ScrubFindingArgument& finding : findings) listed += finding.count;
  report.list("findings", std::move(items));
  if (listed < total.errors) report.wrong(fmt::format("{} more damaged blocks", total.errors - listed));
  return report;
}

Status scrub_mount(const std::string& directory, ScrubOptions options, PrintReport print) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail(Error::from_errno(errno, directory));
  struct statvfs space{};
  if (::fstatvfs(fd, &space) == 0 && space.f_frsize != 0)
    options.expected_blocks = (space.f_blocks - space.f_bfree) * space.f_frsize / kBlockBytes;
  if (!options.find_paths)
    options.find_paths = [&](const std::set<std::uint64_t>& inodes) { return find_paths(directory, inodes); };
  const auto report = scrub(
      [&](ScrubArgument& argument) -> Status {
        if (::ioctl(fd, fs::fuse::kScrub, &argument) == 0) return {};
        const int error = errno;
        if (error == ENOTTY || error == ENOSYS || error == EINVAL || error == EOPNOTSUPP)
          return fail(Errc::kUnsupported, directory + ": not a mounted Weft file system, or its server is older");
        return fail(Error::from_errno(error, "scrub " + directory));
      },
      options);
  ::close(fd);
  if (!report) return fail(report.error());
  print(*report);
  return {};
}

}  // namespace weft::tools
