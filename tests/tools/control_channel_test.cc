#include "tools/control_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace weft::tools {
namespace {

class ControlChannel : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_), 0); }
  void TearDown() override {
    for (const int each : ends_) ::close(each);
  }
  int ends_[2] = {-1, -1};
};

TEST_F(ControlChannel, CarriesWordsAndADescriptor) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  ASSERT_TRUE(send_control(ends_[0], {.kind = ControlKind::kMount,
                                      .number = ~0ULL,
                                      .words = {"/an image, with spaces", "", "last"},
                                      .descriptor = pipe[1]}));
  ::close(pipe[1]);
  const auto got = receive_control(ends_[1]);
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->kind, ControlKind::kMount);
  EXPECT_EQ(got->number, ~0ULL);
  EXPECT_EQ(got->words, (std::vector<std::string>{"/an image, with spaces", "", "last"}));
  ASSERT_GE(got->descriptor, 0);
  EXPECT_EQ(::write(got->descriptor, "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(pipe[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  ::close(got->descriptor);
  ::close(pipe[0]);
}

TEST_F(ControlChannel, KeepsMessagesApart) {
  ASSERT_TRUE(send_control(ends_[0], {.kind = ControlKind::kServing}));
  ASSERT_TRUE(send_control(ends_[0], {.kind = ControlKind::kError, .number = 3, .words = {"why"}}));
  const auto first = receive_control(ends_[1]);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->kind, ControlKind::kServing);
  EXPECT_TRUE(first->words.empty());
  EXPECT_EQ(first->descriptor, -1);
  EXPECT_EQ(receive_control(ends_[1])->words.at(0), "why");
}

TEST_F(ControlChannel, AServerHasNothingMountedOnceItIs) {
  const ControlMessage mount{.kind = ControlKind::kMount, .words = {"/image"}, .descriptor = 5};
  EXPECT_TRUE(server_may_say(mount, false));
  EXPECT_FALSE(server_may_say(mount, true));
  EXPECT_FALSE(server_may_say({.kind = ControlKind::kMount, .words = {"/image"}}, false)) << "no lock";
  EXPECT_FALSE(server_may_say({.kind = ControlKind::kMount, .words = {}, .descriptor = 5}, false));
}

TEST_F(ControlChannel, AServerSaysOneSentenceAndGivesNothing) {
  for (const ControlKind kind : {ControlKind::kServing, ControlKind::kError}) {
    EXPECT_TRUE(server_may_say({.kind = kind, .words = {"text"}}, true));
    EXPECT_FALSE(server_may_say({.kind = kind, .words = {}}, true));
    EXPECT_FALSE(server_may_say({.kind = kind, .words = {"text"}, .descriptor = 5}, true));
  }
  EXPECT_FALSE(server_may_say({.kind = ControlKind::kConnected, .words = {"text"}}, true));
}

TEST_F(ControlChannel, SaysWhenTheOtherEndIsGone) {
  ::close(std::exchange(ends_[0], -1));
  const auto got = receive_control(ends_[1]);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Errc::kClosed);
  EXPECT_FALSE(send_control(ends_[1], {.kind = ControlKind::kServing}));
}

}  // namespace
}  // namespace weft::tools
