// echo_load.cc - the one client of every echo server that is measured: keeps each connection busy with one message at a time.
//
//   echo_load --port N --connections N --seconds S
//
// 64 bytes there, the same 64 back, and the next. One thread with epoll, on one processor of the machine. The first tenth of the time
// is not counted. Prints one JSON object: round trips a second, and the median and the 99.9th percentile of them in microseconds.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMessage = 64;

[[noreturn]] void give_up(const char* why) {
  std::perror(why);
  std::exit(1);
}

struct Connection {
  int fd = -1;
  std::size_t received = 0;
  Clock::time_point sent;
};

void send_message(Connection& connection) {
  static const std::array<char, kMessage> message{};
  connection.received = 0;
  connection.sent = Clock::now();
  if (write(connection.fd, message.data(), kMessage) != static_cast<ssize_t>(kMessage)) give_up("write");
}

}  // namespace

int main(int count, char** words) {
  int port = 0;
  int connections = 1;
  double seconds = 2;
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(words[i], "--port") == 0) port = std::atoi(words[i + 1]);
    if (std::strcmp(words[i], "--connections") == 0) connections = std::atoi(words[i + 1]);
    if (std::strcmp(words[i], "--seconds") == 0) seconds = std::atof(words[i + 1]);
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::vector<Connection> all(static_cast<std::size_t>(connections));
  const int poll = epoll_create1(0);
  for (Connection& connection : all) {
    connection.fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection.fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) give_up("connect");
    const int yes = 1;
    setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &connection;
    epoll_ctl(poll, EPOLL_CTL_ADD, connection.fd, &event);
  }
  for (Connection& connection : all) send_message(connection);

  const auto begun = Clock::now();
  const auto warm = begun + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds / 10));
  const auto end = begun + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  std::vector<float> micros;
  micros.reserve(4'000'000);
  std::vector<epoll_event> ready(1024);
  auto last_answer = begun;
  for (auto now = begun; now < end; now = Clock::now()) {
    const int found = epoll_wait(poll, ready.data(), static_cast<int>(ready.size()), 1000);
    if (found == 0 && Clock::now() - last_answer > std::chrono::seconds(10)) give_up("no answer for 10 s");
    for (int i = 0; i < found; ++i) {
      Connection& connection = *static_cast<Connection*>(ready[static_cast<std::size_t>(i)].data.ptr);
      std::array<char, kMessage> into;
      const ssize_t got = read(connection.fd, into.data(), kMessage - connection.received);
      if (got <= 0) give_up("read");
      connection.received += static_cast<std::size_t>(got);
      if (connection.received < kMessage) continue;
      last_answer = Clock::now();
      if (connection.sent >= warm)
        micros.push_back(std::chrono::duration<float, std::micro>(last_answer - connection.sent).count());
      send_message(connection);
    }
  }
  if (micros.empty()) give_up("nothing came back");
  const auto rate = static_cast<double>(micros.size()) / std::chrono::duration<double>(Clock::now() - warm).count();
  const auto at = [&](double share) {
    const auto place = micros.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(micros.size() - 1));
    std::nth_element(micros.begin(), place, micros.end());
    return static_cast<double>(*place);
  };
  std::printf("{\"rate\":%.0f,\"p50\":%.1f,\"p999\":%.1f}\n", rate, at(0.5), at(0.999));
}
