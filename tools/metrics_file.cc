#include "tools/metrics_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace weft::tools {

MetricsFormat metrics_format_of(std::string_view path) noexcept {
  if (path.ends_with(".prom")) return MetricsFormat::kPrometheus;
  if (path.ends_with(".txt")) return MetricsFormat::kText;
  return MetricsFormat::kJson;
}

Status write_metrics_file(const Metrics& metrics, const std::string& path) {
  const std::string text = metrics.render(metrics_format_of(path));
  const std::string beside = path + ".new";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return fail(Error::from_errno(errno, "open " + beside));
  int os_errno = 0;
  for (std::size_t done = 0; done < text.size() && os_errno == 0;) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count > 0) done += static_cast<std::size_t>(count);
    if (count < 0 && errno != EINTR) os_errno = errno;
  }
  if (::close(fd) != 0 && os_errno == 0) os_errno = errno;
  if (os_errno == 0 && ::rename(beside.c_str(), path.c_str()) != 0) os_errno = errno;
  if (os_errno == 0) return {};
  ::unlink(beside.c_str());
  return fail(Error::from_errno(os_errno, "write " + path));
}

}  // namespace weft::tools
