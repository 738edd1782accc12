#include "tests/support/golden_image.h"

#include <gtest/gtest.h>
#include <isa-l/igzip_lib.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <sstream>

#include "fs/types.h"
#include "kernel/bytes.h"
#include "kernel/memory_disk.h"
#include "tests/support/mounted.h"
#include "tests/support/sample_tree.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path << " is not there";
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::byte> gunzip(std::string packed) {
  le32 size;  // the last of a gzip file
  if (packed.size() < sizeof(size)) return {};
  std::memcpy(&size, packed.data() + packed.size() - sizeof(size), sizeof(size));
  std::vector<std::byte> bytes(size);
  inflate_state state;
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  state.next_in = reinterpret_cast<std::uint8_t*>(packed.data());
  state.avail_in = static_cast<std::uint32_t>(packed.size());
  state.next_out = reinterpret_cast<std::uint8_t*>(bytes.data());
  state.avail_out = static_cast<std::uint32_t>(bytes.size());
  EXPECT_EQ(isal_inflate(&state), ISAL_DECOMP_OK);
  EXPECT_EQ(state.block_state, ISAL_BLOCK_FINISH);
  EXPECT_EQ(state.total_out, bytes.size());
  return bytes;
}

}  // namespace

std::vector<Golden> golden_images() {
  std::vector<Golden> all;
  std::ifstream file("images/manifest");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Golden golden;
    words >> golden.name >> golden.fsck_status >> golden.repaired_status >> golden.unrepaired >> golden.options;
    EXPECT_FALSE(words.fail()) << "images/manifest: " << line;
    all.push_back(std::move(golden));
  }
  return all;
}

DiskImage load(const Golden& golden) {
  const std::vector<std::byte> bytes = gunzip(read_file("images/" + golden.name + ".img.gz"));
  DiskImage image(bytes.size());
  const std::vector<std::byte> zeros(kBlockBytes);
  for (std::size_t at = 0; at + kBlockBytes <= bytes.size(); at += kBlockBytes) {
    const auto block = std::span(bytes).subspan(at, kBlockBytes);
    if (std::memcmp(block.data(), zeros.data(), kBlockBytes) != 0) image.write(at, block);
  }
  return image;
}

std::string image_name(const Golden& golden) { return golden.name + ".img"; }

std::string golden_report(const std::string& name) { return read_file("images/" + name + ".report"); }
std::string golden_tree(const std::string& name) { return read_file("images/" + name + ".tree"); }

Result<std::string> tree_of(const DiskImage& image) {
  MemoryDisk disk{DiskImage(image)};
  StepClock clock;
  const auto mounted = TRY(mount_sample(disk, clock, true));
  return describe(TRY(take_snapshot(*mounted, Unreadable::kShown)));
}

}  // namespace weft::fs::test
