// fs/fuse/errno_map.h - our errors as the errno that a program sees: the edge where values become numbers.
//
// Pure; never parks. Tests: tests/fs/fuse/errno_map_test.cc.
#pragma once

#include "kernel/error.h"

namespace weft::fs::fuse {

// Positive. An error that carries an errno of the system keeps it only where its code says no more than "the device failed".
int errno_of(const Error& error) noexcept;

// Whether it speaks of the device or of damage: such errors are logged, whoever asked.
bool is_failure_of_ours(Errc code) noexcept;

}  // namespace weft::fs::fuse
