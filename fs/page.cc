#include "fs/page.h"

#include <cstdlib>
#include <cstring>

#include "kernel/check.h"

namespace weft::fs {

PageRef PageRef::make_uninitialised() {
  auto* page = new Page;
  page->bytes = static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kBlockBytes));
  WEFT_CHECK(page->bytes != nullptr);
  return PageRef(page);
}

PageRef PageRef::make_zeroed() {
  PageRef page = make_uninitialised();
  std::memset(page.data(), 0, kBlockBytes);
  return page;
}

PageRef PageRef::clone() const {
  PageRef page = make_uninitialised();
  std::memcpy(page.data(), data(), kBlockBytes);
  return page;
}

void PageRef::destroy(Page* page) noexcept {
  std::free(page->bytes);
  delete page;
}

}  // namespace weft::fs
