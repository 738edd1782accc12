#include "kernel/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <set>
#include <utility>

#include "kernel/result.h"

namespace weft {
namespace {

TEST(Error, EveryCodeHasADescriptionOfItsOwn) {
  std::set<std::string_view> seen;
  for (int code = 0; code <= static_cast<int>(Errc::kInternal); ++code) {
    const std::string_view text = describe(static_cast<Errc>(code));
    EXPECT_NE(text, "unknown error") << code;
    EXPECT_TRUE(seen.insert(text).second) << text;
  }
  EXPECT_EQ(describe(static_cast<Errc>(200)), "unknown error");
}

TEST(Error, SystemsErrorKeepsItsNumberAndNamesWhatWasTried) {
  const Error error = Error::from_errno(ENOENT, "open /nowhere");
  EXPECT_EQ(error, Errc::kNotFound);
  EXPECT_EQ(error.os_errno(), ENOENT);
  EXPECT_EQ(error.message(), "open /nowhere: No such file or directory");
  EXPECT_EQ(Error::from_errno(EDQUOT, "write").code(), Errc::kNoSpace);
  EXPECT_EQ(Error::from_errno(EREMOTEIO, "read"), Errc::kIo) << "what has no code of its own";
}

TEST(Error, WhatANetworkDoesIsToldApart) {
  const std::pair<int, Errc> pairs[] = {
      {ECONNREFUSED, Errc::kRefused},        {ECONNRESET, Errc::kReset},      {ECONNABORTED, Errc::kReset},
      {ENETUNREACH, Errc::kUnreachable},     {EHOSTDOWN, Errc::kUnreachable}, {EADDRINUSE, Errc::kAddressInUse},
      {EADDRNOTAVAIL, Errc::kNoSuchAddress}, {EPIPE, Errc::kClosed},          {ENOTCONN, Errc::kClosed},
      {ETIMEDOUT, Errc::kTimedOut},          {EMFILE, Errc::kTooManyFiles},   {ENFILE, Errc::kTooManyFiles},
  };
  for (const auto& [number, code] : pairs) EXPECT_EQ(Error::from_errno(number, "x").code(), code) << number;
}

TEST(Error, WithoutMessageItSaysWhatItsCodeMeans) {
  const Error error(Errc::kNoSpace);
  EXPECT_EQ(error.message(), "no space left");
  EXPECT_EQ(Error(error).with("log").message(), "log: no space left");
  EXPECT_EQ(Error(Errc::kIo, "sector 5").with("disk").with("mount").message(), "mount: disk: sector 5");
}

TEST(Error, CopyHasItsOwnMessage) {
  Error first(Errc::kIo, "first");
  Error copy = first;
  first = Error(Errc::kBusy, "second");
  EXPECT_EQ(copy.message(), "first");
  EXPECT_EQ(copy, Errc::kIo);
  const Error& itself = copy;
  copy = itself;
  EXPECT_EQ(copy.message(), "first");
}

Result<std::unique_ptr<int>> make(bool works) {
  if (!works) return fail(Errc::kNoMemory, "no int today");
  return std::make_unique<int>(3);
}
Result<int> doubled(bool first, bool second, int& reached) {
  const int a = *TRY(make(first));
  ++reached;
  const int b = *TRY(make(second));
  ++reached;
  return a + b;
}

TEST(Result, TryPassesValuesOnAndReturnsAtTheFirstError) {
  int reached = 0;
  EXPECT_EQ(doubled(true, true, reached), 6);
  EXPECT_EQ(reached, 2);
  reached = 0;
  const auto failed = doubled(true, false, reached);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), Errc::kNoMemory);
  EXPECT_EQ(failed.error().message(), "no int today");
  EXPECT_EQ(reached, 1);
}

TEST(Result, TryWorksWithinALambdaWithinATry) {
  const auto run = []() -> Result<int> {
    return TRY([]() -> Result<int> {
      return *TRY(make(true))
      +1;
    }())
    +1;
  };
  EXPECT_EQ(run(), 5);
}

}  // namespace
}  // namespace weft
