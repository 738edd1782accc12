// tests/fs/golden_make.h - makes the images of images/, each by its name.
//
//   make images, golden_images_test -> [golden_make] -> sample_tree, damages, block_damage
//
// The same bytes each time from the same program: entropy is seeded, clocks count their readers. A program that allocates otherwise
// makes others; the old ones must stay readable, and be repaired, all the same.
#pragma once

#include <string>

#include "kernel/disk_image.h"

namespace weft::fs::test {

// Fails the test where there is no such image.
DiskImage make_golden(const std::string& name);

}  // namespace weft::fs::test
