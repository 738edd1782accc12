#include "fs/page.h"

#include <cstring>

namespace weft::fs {

PageRef PageRef::make_uninitialised() { return PageRef(page_pool().take()); }

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

}  // namespace weft::fs
