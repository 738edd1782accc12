// exploration_expect.h - what a test asks of an exploration: that all holds in it, or that a planted mistake is found.
#pragma once

#include <gtest/gtest.h>

#include "tests/sched/explorer.h"

namespace weft::sched::model {

inline void expect_holds(const char* what, const Exploration& exploration) {
  print(what, exploration);
  EXPECT_EQ(exploration.failure, "") << what;
}

inline void expect_found(const char* what, const Exploration& exploration, const char* failure) {
  print(what, exploration);
  EXPECT_EQ(exploration.failure.find(failure), 0U) << what << ": " << exploration.failure;
}

}  // namespace weft::sched::model
