#include "fs/btree_node.h"

#include <cstring>

#include "kernel/check.h"

namespace weft::fs {

std::uint32_t NodePage::lower_bound(Key key) const noexcept {
  const DiskLeafSlot* base = slots();
  std::uint32_t first = 0;
  for (std::uint32_t size = count(); size != 0;) {
    const std::uint32_t half = size / 2;
    if (to_key(base[first + half].key) < key) {
      first += half + 1;
      size -= half + 1;
    } else {
      size = half;
    }
  }
  return first;
}

std::uint32_t NodePage::child_of(Key key) const noexcept {
  const DiskInnerEntry* base = entries();
  std::uint32_t first = 1;  // entry 0 covers all that is below entry 1
  for (std::uint32_t size = count() - 1; size != 0;) {
    const std::uint32_t half = size / 2;
    if (to_key(base[first + half].key) <= key) {
      first += half + 1;
      size -= half + 1;
    } else {
      size = half;
    }
  }
  return first - 1;
}

std::uint32_t NodePage::used_bytes() const noexcept {
  const DiskLeafSlot* slot = slots();
  const std::uint32_t items = count();
  std::uint32_t used = items * static_cast<std::uint32_t>(sizeof(DiskLeafSlot));
  for (std::uint32_t i = 0; i < items; ++i) used += slot[i].length;
  return used;
}

std::uint32_t NodePage::gap() const noexcept {
  return header().heap_start - static_cast<std::uint32_t>(sizeof(DiskNode) + count() * sizeof(DiskLeafSlot));
}

bool NodePage::has_room(std::uint32_t bytes) const noexcept {
  return gap() >= bytes || used_bytes() + bytes <= kLeafSpace;
}

void NodePage::compact() noexcept {
  std::byte heap[kBlockBytes];
  std::uint32_t start = kBlockBytes;
  DiskLeafSlot* slot = slots();
  for (std::uint32_t i = 0; i < count(); ++i) {
    const std::uint32_t length = slot[i].length;
    start -= length;
    std::memcpy(heap + start, page_ + slot[i].offset, length);
    slot[i].offset = static_cast<std::uint16_t>(length != 0 ? start : kBlockBytes);
  }
  std::memcpy(page_ + start, heap + start, kBlockBytes - start);
  header().heap_start = static_cast<std::uint16_t>(start);
}

// An empty value's offset is the end of the block, so that no later value can come to lie around it.
void NodePage::insert(std::uint32_t index, Key key, std::span<const std::byte> value) noexcept {
  const auto length = static_cast<std::uint32_t>(value.size());
  if (gap() < length + sizeof(DiskLeafSlot)) compact();
  WEFT_CHECK(gap() >= length + sizeof(DiskLeafSlot));
  DiskLeafSlot* slot = slots();
  std::memmove(slot + index + 1, slot + index, (count() - index) * sizeof(DiskLeafSlot));
  const std::uint32_t start = header().heap_start - length;
  if (length != 0) std::memcpy(page_ + start, value.data(), length);
  header().heap_start = static_cast<std::uint16_t>(start);
  slot[index].key = to_disk(key);
  slot[index].offset = static_cast<std::uint16_t>(length != 0 ? start : kBlockBytes);
  slot[index].length = static_cast<std::uint16_t>(length);
  header().count = static_cast<std::uint16_t>(count() + 1);
}

void NodePage::erase(std::uint32_t index) noexcept {
  DiskLeafSlot* slot = slots();
  if (slot[index].offset == header().heap_start) {
    header().heap_start = static_cast<std::uint16_t>(header().heap_start + slot[index].length);
  }
  std::memmove(slot + index, slot + index + 1, (count() - index - 1) * sizeof(DiskLeafSlot));
  header().count = static_cast<std::uint16_t>(count() - 1);
  if (count() == 0) header().heap_start = static_cast<std::uint16_t>(kBlockBytes);
}

void NodePage::replace(std::uint32_t index, std::span<const std::byte> value) noexcept {
  DiskLeafSlot& slot = slots()[index];
  if (value.size() <= slot.length) {
    if (!value.empty()) std::memcpy(page_ + slot.offset, value.data(), value.size());
    slot.length = static_cast<std::uint16_t>(value.size());
    if (value.empty()) slot.offset = static_cast<std::uint16_t>(kBlockBytes);
    return;
  }
  const Key key = to_key(slot.key);
  erase(index);
  insert(index, key, value);
}

void NodePage::append(const NodePage& other, std::uint32_t from, std::uint32_t to) noexcept {
  for (std::uint32_t i = from; i < to; ++i) insert(count(), other.leaf_key(i), other.value(i));
}

void NodePage::truncate(std::uint32_t count) noexcept {
  header().count = static_cast<std::uint16_t>(count);
  compact();
}

void NodePage::insert_entry(std::uint32_t index, Key key, BlockNo child, CheckpointNo birth) noexcept {
  WEFT_CHECK(count() < kInnerFanout);
  DiskInnerEntry* entry = entries();
  std::memmove(entry + index + 1, entry + index, (count() - index) * sizeof(DiskInnerEntry));
  entry[index].key = to_disk(key);
  entry[index].child.block = child.value();
  entry[index].child.birth = birth.value();
  header().count = static_cast<std::uint16_t>(count() + 1);
}

void NodePage::erase_entry(std::uint32_t index) noexcept {
  DiskInnerEntry* entry = entries();
  std::memmove(entry + index, entry + index + 1, (count() - index - 1) * sizeof(DiskInnerEntry));
  header().count = static_cast<std::uint16_t>(count() - 1);
}

void NodePage::append_entries(const NodePage& other, std::uint32_t from, std::uint32_t to) noexcept {
  WEFT_CHECK(count() + (to - from) <= kInnerFanout);
  std::memcpy(entries() + count(), other.entries() + from, (to - from) * sizeof(DiskInnerEntry));
  header().count = static_cast<std::uint16_t>(count() + (to - from));
}

void NodePage::format(const DiskUuid& uuid, std::uint8_t level, Key low, Key high) noexcept {
  std::memset(page_, 0, kBlockBytes);
  DiskNode& node = header();
  node.magic = kNodeMagic;
  node.uuid = uuid;
  node.low = to_disk(low);
  node.high = to_disk(high);
  node.level = level;
  node.heap_start = static_cast<std::uint16_t>(kBlockBytes);
}

PageRef clone_node(const PageRef& page) {
  static_assert(offsetof(DiskNode, crc) == 4 && sizeof(le32) == 4);
  PageRef copy = PageRef::make_uninitialised();
  std::memcpy(copy.data(), page.data(), 4);
  std::memset(copy.data() + 4, 0, 4);
  std::memcpy(copy.data() + 8, page.data() + 8, kBlockBytes - 8);
  return copy;
}

}  // namespace weft::fs
