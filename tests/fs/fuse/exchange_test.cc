#include "fs/fuse/exchange.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tests/fs/fuse/requests.h"

namespace weft::fs::fuse {
namespace {

using test::KeptAnswers;

std::string request_of(std::uint32_t opcode, std::string_view body, std::uint16_t extension_words = 0) {
  return test::request_of(opcode, 5, body, extension_words);
}
std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(Exchange, RefusesAMessageWhoseLengthDoesNotFitItsHeader) {
  KeptAnswers sink;
  const std::string whole = request_of(FUSE_LOOKUP, std::string_view("name\0", 5));
  EXPECT_TRUE(Exchange::open(bytes_of(whole), sink));
  EXPECT_FALSE(Exchange::open(bytes_of(whole.substr(0, whole.size() - 1)), sink));
  EXPECT_FALSE(Exchange::open(bytes_of(whole.substr(0, 12)), sink));
  const std::string extension_too_long = request_of(FUSE_LOOKUP, std::string_view("name\0", 5), 4);
  EXPECT_FALSE(Exchange::open(bytes_of(extension_too_long), sink));
}

TEST(Exchange, TakesArgumentsInOrderAndRefusesWhatIsNotThere) {
  KeptAnswers sink;
  const std::string message = request_of(FUSE_RENAME, std::string_view("\1\0\0\0\0\0\0\0from\0to", 15));
  auto exchange = Exchange::open(bytes_of(message), sink);
  ASSERT_TRUE(exchange);
  EXPECT_EQ(exchange->inode(), InodeNo(5));
  EXPECT_EQ(exchange->take<fuse_rename_in>()->newdir, 1U);
  EXPECT_EQ(*exchange->take_name(), "from");
  EXPECT_FALSE(exchange->take_name()) << "without its zero";
  EXPECT_FALSE(exchange->take_bytes(3));
  EXPECT_TRUE(exchange->take_bytes(2));
}

TEST(Exchange, HoldsNamesToTheirRules) {
  KeptAnswers sink;
  auto name_of = [&](const std::string& name) {
    const std::string message = request_of(FUSE_LOOKUP, name + '\0');
    return Exchange::open(bytes_of(message), sink)->take_name().has_value();
  };
  EXPECT_TRUE(name_of(std::string(255, 'x')));
  EXPECT_FALSE(name_of(std::string(256, 'x')));
  EXPECT_FALSE(name_of(""));
  EXPECT_FALSE(name_of("a/b"));
}

TEST(Exchange, AnswersWithTheNumberOfItsRequest) {
  KeptAnswers sink;
  const std::string message = request_of(FUSE_GETATTR, "");
  Exchange::open(bytes_of(message), sink)->reply(std::uint32_t{9});
  Exchange::open(bytes_of(message), sink)->fail_with(ENOENT);
  ASSERT_EQ(sink.answers.size(), 2U);
  fuse_out_header out;
  ASSERT_EQ(sink.answers[0].size(), sizeof out + 4);
  std::memcpy(&out, sink.answers[0].data(), sizeof out);
  EXPECT_EQ(out.len, sizeof out + 4);
  EXPECT_EQ(out.error, 0);
  EXPECT_EQ(out.unique, 1000U + FUSE_GETATTR);
  std::memcpy(&out, sink.answers[1].data(), sizeof out);
  EXPECT_EQ(out.error, -ENOENT);
}

TEST(Exchange, ReadsGroupsAndCapabilitiesOfAProcess) {
  gid_t groups[64];
  const int count = ::getgroups(64, groups);
  for (int i = 0; i < count; ++i) EXPECT_TRUE(process_has_group(static_cast<std::uint32_t>(::getpid()), groups[i]));
  EXPECT_FALSE(process_has_group(static_cast<std::uint32_t>(::getpid()), 4'000'000'001U));
  EXPECT_FALSE(process_has_group(0, 0)) << "a process that cannot be seen from here";
  EXPECT_FALSE(process_has_capability(0, 21));
}

}  // namespace
}  // namespace weft::fs::fuse
