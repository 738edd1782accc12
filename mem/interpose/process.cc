// mem/interpose/process.cc - see process.h.
#include "mem/interpose/process.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

#include "mem/control_socket.h"
#include "mem/line.h"
#include "mem/options.h"
#include "mem/profile.h"
#include "mem/purge_thread.h"
#include "mem/report.h"
#include "mem/seldom.h"
#include "mem/text_file.h"

namespace weft::mem {

const char kProcessHooks = 0;

namespace {

void write_end_report(TextFile& to) noexcept {
  const std::string_view path = options().report;
  WEFT_SELDOM static std::array<char, kReportBytes> text;
  write_report(report_format_of(path), text);
  to.add_text(text.data());
}

// Nothing if it was not asked for, or is another process's to write.
void write_asked(const char* option, const char* pattern, void (*write)(TextFile& to)) noexcept {
  if (pattern == nullptr || *pattern == '\0' || !is_own_path(pattern)) return;
  WEFT_SELDOM static std::array<char, 4096> path;
  errno = ENAMETOOLONG;
  if (expand_path(pattern, getpid(), path) && write_file(path.data(), write)) return;
  const int error = errno;
  Line line;
  line.add("weft heap: ").add(option).add("=").add(pattern).add(": cannot be written: ");
  line.add(strerrordesc_np(error)).write_out();
}

// Without a priority: in a program that is linked statically stacks can be walked only once the compiler's own constructor has run.
[[gnu::constructor]] void process_starts() noexcept {
  const Options& asked = options();
  purge_thread::allow(asked.purge_thread);
  if (asked.sampling) {
    // Hardened mode is not for speed, and whoever looks for a mistake wants to know of each block.
    const std::size_t usual = asked.hardened ? 1 : kUsualSample;
    if (!start_profile(asked.sample_bytes != 0 ? asked.sample_bytes : usual))
      Line().add("weft heap: no profile: libgcc_s.so.1, which walks stacks, cannot be loaded").write_out();
  }
  if (asked.stats == nullptr) return;
  if (const char* fault = serve_numbers(asked.stats); fault != nullptr)
    Line().add("weft heap: stats=").add(asked.stats).add(": ").add(fault).write_out();
}

[[gnu::destructor]] void process_ends() noexcept {
  stop_serving();
  write_asked("report", options().report, &write_end_report);
  if (!is_profiling()) return;
  write_asked("profile", options().profile, &add_profile);
  write_asked("leaks", options().leaks, &add_holders);
  // On standard error there are others who want to be heard.
  if (options().leaks != nullptr && *options().leaks == '\0' && has_holders()) {
    TextFile to(STDERR_FILENO);
    add_holders(to);
  }
}

}  // namespace
}  // namespace weft::mem
