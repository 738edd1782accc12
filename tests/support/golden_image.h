// tests/support/golden_image.h - the golden images of images/: what there is, unpacked, and what should be said of each.
//
//   images/manifest, images/NAME.* -> [golden_image] -> tests of fs and of fsck.weft
//
// Blocks the thread for the files, which are found from the top folder. Failures to read one fail the test that asks.
#pragma once

#include <string>
#include <vector>

#include "kernel/disk_image.h"
#include "kernel/result.h"

namespace weft::fs::test {

// One line of images/manifest.
struct Golden {
  std::string name;
  int fsck_status = 0;      // of fsck.weft -n
  int repaired_status = 0;  // of another after fsck.weft -y
  std::string
      unrepaired;  // what a read-only mount shows of it as it is: "whole" the tree, "other", or an "error" somewhere
  std::string options;  // of fsck.weft, besides; "-": none

  [[nodiscard]] bool is_damaged() const noexcept { return fsck_status != 0; }
  [[nodiscard]] bool with_data() const { return options == "--data"; }
  // Of fsck.weft -y.
  [[nodiscard]] int repair_status() const noexcept { return !is_damaged() ? 0 : repaired_status == 0 ? 1 : 4; }
};

// Empty where there is no images/manifest: the test is not run from the top folder.
std::vector<Golden> golden_images();
DiskImage load(const Golden& golden);
// What NAME.img is called in NAME.report.
std::string image_name(const Golden& golden);
// The text of images/NAME.report or images/NAME.tree.
std::string golden_report(const std::string& name);
std::string golden_tree(const std::string& name);

// What a read-only mount shows; of a file that cannot be read, that it cannot.
Result<std::string> tree_of(const DiskImage& image);

}  // namespace weft::fs::test
