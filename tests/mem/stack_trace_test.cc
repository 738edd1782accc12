#include "mem/stack_trace.h"

#include <gtest/gtest.h>

#include <string>

#include "mem/symbols.h"

namespace weft::mem {
namespace {

extern "C" {
[[gnu::noinline]] void weft_test_inner(StackTrace* into) {
  trace_stack(*into);
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void weft_test_outer(StackTrace* into) {
  weft_test_inner(into);
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] WEFT_HEAP_ENTRY void weft_test_entry(StackTrace* into) {
  weft_test_outer(into);
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void weft_test_caller(StackTrace* into) {
  weft_test_entry(into);
  asm volatile("" ::: "memory");
}
}

std::string function_at(const StackTrace& stack, std::size_t frame) {
  Symbols symbols;
  const Symbol symbol = symbols.of(static_cast<const char*>(stack.frames[frame]) - 1);
  return symbol.function != nullptr ? symbol.function : "";
}

TEST(StackTrace, HasTheCallersFromTheInnermostOn) {
  ASSERT_TRUE(prepare_stack_traces());
  StackTrace stack;
  weft_test_outer(&stack);
  ASSERT_GT(stack.depth, 4U);
  std::string names;
  for (std::size_t i = 0; i < 4; ++i) names += function_at(stack, i) + " ";
  EXPECT_NE(names.find("weft_test_inner weft_test_outer "), std::string::npos) << names;
  EXPECT_FALSE(is_tracing());
}

TEST(StackTrace, WhatIsBelowAnEntryOfTheHeapIsLeftOut) {
  ASSERT_TRUE(prepare_stack_traces());
  StackTrace stack;
  weft_test_caller(&stack);
  ASSERT_GT(stack.depth, 1U);
  EXPECT_EQ(function_at(stack, 0), "weft_test_caller");
}

[[gnu::noinline]] int deeper(StackTrace& into, int left) {
  if (left == 0) {
    trace_stack(into);
    return 0;
  }
  const int below = deeper(into, left - 1);
  asm volatile("" ::: "memory");
  return below + 1;
}

TEST(StackTrace, EndsWhereItIsFull) {
  ASSERT_TRUE(prepare_stack_traces());
  StackTrace stack;
  EXPECT_EQ(deeper(stack, 200), 200);
  EXPECT_EQ(stack.depth, StackTrace::kMostFrames);
  for (const void* frame : stack.span()) EXPECT_NE(frame, nullptr);
}

TEST(Symbols, FindsFunctionsOfTheProgramAndOfLibraries) {
  Symbols symbols;
  const Symbol own = symbols.of(reinterpret_cast<const char*>(&weft_test_inner) + 3);
  EXPECT_STREQ(own.function, "weft_test_inner");
  EXPECT_EQ(own.offset, 3U);
  const Symbol other = symbols.of(reinterpret_cast<const void*>(&std::terminate));
  ASSERT_NE(other.function, nullptr);
  EXPECT_EQ(std::string(other.function), "_ZSt9terminatev");
  EXPECT_NE(std::string(other.file).find("libstdc++"), std::string::npos);
}

TEST(Symbols, AnAddressOfNobodyHasNoName) {
  Symbols symbols;
  int here = 0;
  EXPECT_EQ(symbols.of(&here).function, nullptr);
  EXPECT_EQ(symbols.of(nullptr).function, nullptr);
}

}  // namespace
}  // namespace weft::mem
