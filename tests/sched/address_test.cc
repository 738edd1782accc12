#include "sched/address.h"

#include <gtest/gtest.h>

#include <string>

namespace weft::sched::io {
namespace {

TEST(Address, WhatIsParsedIsPrintedTheSame) {
  for (const char* text :
       {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:8080", "[::]:1", "[2001:db8::ff00:42:8329]:443",
        "[::ffff:10.1.2.3]:5", "unix:/run/weft.sock", "unix:relative", "unix:@name", "unix:@"}) {
    auto address = Address::parse(text);
    ASSERT_TRUE(address.has_value()) << text << ": " << address.error().message();
    EXPECT_EQ(address->to_text(), text);
    EXPECT_EQ(*address, Address::parse(address->to_text()).value());
  }
}

TEST(Address, AScopeIsAnInterfaceByNameOrNumber) {
  auto address = Address::parse("[fe80::1%lo]:80");
  ASSERT_TRUE(address.has_value()) << address.error().message();
  EXPECT_EQ(address->to_text(), "[fe80::1%lo]:80");
  EXPECT_EQ(*address, Address::parse("[fe80::1%1]:80").value());
  EXPECT_NE(*address, Address::parse("[fe80::1]:80").value());
  EXPECT_EQ(Address::parse("[fe80::1%nonesuch0]:80").error(), Errc::kInvalid);
}

TEST(Address, NonsenseIsRefusedWithAReason) {
  for (const char* text : {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8x",
                           "::1:80", "[::1]", "[::1:80", "[127.0.0.1]:80", "localhost:80", "256.0.0.1:1", "[]:1",
                           "unix:", "[127.0.0.1%lo]:1", "127.0.0.1%lo:1"}) {
    auto address = Address::parse(text);
    ASSERT_FALSE(address.has_value()) << text << " is " << address->to_text();
    EXPECT_EQ(address.error(), Errc::kInvalid) << text;
    EXPECT_GT(address.error().message().size(), 20U);
  }
}

TEST(Address, UnixPathsHaveALimit) {
  EXPECT_TRUE(Address::unix_path(std::string(107, 'x')).has_value());
  EXPECT_EQ(Address::unix_path(std::string(107, 'x'))->to_text(), "unix:" + std::string(107, 'x'));
  EXPECT_EQ(Address::unix_path(std::string(108, 'x')).error(), Errc::kNameTooLong);
  EXPECT_EQ(Address::unix_path(std::string("a\0b", 3)).error(), Errc::kInvalid);
  EXPECT_EQ(Address::unix_abstract(std::string(107, 'x'))->to_text(), "unix:@" + std::string(107, 'x'));
  EXPECT_EQ(Address::unix_abstract(std::string(108, 'x')).error(), Errc::kNameTooLong);
  EXPECT_EQ(Address::unix_abstract(std::string("a\0\n", 3))->to_text(), "unix:@a\\x00\\x0a");
}

TEST(Address, PartsAreTold) {
  EXPECT_EQ(Address().family(), AddressFamily::kNone);
  EXPECT_EQ(Address().to_text(), "(none)");
  EXPECT_EQ(Address::ipv4_loopback(7).to_text(), "127.0.0.1:7");
  EXPECT_EQ(Address::ipv6_loopback(7).to_text(), "[::1]:7");
  EXPECT_EQ(Address::ipv4_any(0).with_port(9).to_text(), "0.0.0.0:9");
  EXPECT_EQ(Address::ipv6_any(3).with_port(9).port(), 9);
  EXPECT_EQ(Address::unix_path("/x")->with_port(9).to_text(), "unix:/x");
  EXPECT_EQ(Address::unix_path("/x")->family(), AddressFamily::kUnix);
  EXPECT_NE(Address::ipv4_loopback(7), Address::ipv6_loopback(7));
  EXPECT_NE(Address::ipv4_loopback(7), Address::ipv4_loopback(8));
}

}  // namespace
}  // namespace weft::sched::io
