#include "fs/check/check.h"

#include <utility>

#include "fs/check/data_check.h"
#include "fs/check/repair.h"

namespace weft::fs::check {
namespace {

// Some repairs bring others to light, one level of them a round; a volume that is not sound after so many never will be.
constexpr unsigned kMaxRounds = 24;

void take_totals(CheckReport& report, CheckedVolume& volume) {
  report.inodes = volume.facts().records;
  report.directories = volume.facts().directories;
  report.names = volume.facts().names.size();
  report.extents = volume.facts().extents;
  report.nodes = volume.nodes();
  report.used_blocks = volume.used_blocks();
  report.total_blocks = volume.layout().block_count;
}

}  // namespace

Result<CheckReport> check_volume(BlockDevice& device, const CheckOptions& options) {
  CheckReport report;
  Clock& clock = options.clock != nullptr ? *options.clock : system_clock();
  for (report.rounds = 1;; ++report.rounds) {
    const auto volume = TRY(CheckedVolume::open(device, clock));
    const bool first = report.rounds == 1;
    TRY(volume->examine(options.progress));
    take_totals(report, *volume);
    if (first) {
      report.notes = volume->notes();
      report.replayed_records = volume->log().records.size();
    }
    Findings& findings = volume->findings();
    const bool may_write = options.repair && !volume->has_unknown_features();
    if (options.repair && !may_write && first) {
      report.notes.emplace_back("has features that this program does not know: it is not changed");
    }
    if (findings.count() == 0) {
      // What was found before is gone, by its own repair or with another's.
      for (Finding& finding : report.findings) finding.repaired = true;
    }
    if (findings.count() == 0 && options.data) {
      // Last, when all the rest is as it should be. What it finds nobody can repair.
      TRY(check_data(*volume, device, options.progress));
      report.uncorrected = findings.count();
      report.found += findings.count();
      for (Finding& finding : findings.list()) report.findings.push_back(std::move(finding));
    }
    if (findings.count() == 0 || report.uncorrected != 0) {
      if (may_write && (first || report.changed)) {
        TRY(volume->write(true));
        report.changed = true;
      }
      return report;
    }

    const bool last = !may_write || report.rounds == kMaxRounds;
    std::uint64_t repaired = 0;
    if (!last) {
      if (!volume->lost().empty() && !options.only_safe) {
        TRY(volume->rebuild(options.progress));
        for (Finding& finding : findings.list()) finding.repaired = finding.problem == Problem::kTreeNode;
      } else if (volume->replay_failed() && !options.only_safe) {
        // The checkpoint to come is the end of the log; the next round looks at what it leaves.
        for (Finding& finding : findings.list()) finding.repaired = finding.problem == Problem::kLog;
      } else {
        TRY(repair(*volume, options.only_safe));
      }
      for (const Finding& finding : findings.list()) repaired += finding.repaired;
    }
    // What could not be put right has been said in the first round.
    for (Finding& finding : findings.list()) {
      if (!first && !finding.repaired && !last) continue;
      finding.follow_up = !first;
      report.findings.push_back(std::move(finding));
    }
    report.found += first ? findings.count() : 0;
    if (repaired == 0) {
      report.uncorrected = findings.count();
      return report;
    }
    TRY(volume->write(false));
    report.changed = true;
  }
}

}  // namespace weft::fs::check
