// fs/capability.h - security.capability: what a program may do beyond its caller, void once its bytes or owner change.
#pragma once

#include <string_view>

#include "fs/file_system_core.h"

namespace weft::fs {

inline constexpr std::string_view kCapabilityName = "security.capability";

// Takes it away where there is one. From memory where there is none, which is nearly always. Takes the inode's content; parks.
Status drop_capability(FileSystemCore& fs, Inode& inode);

}  // namespace weft::fs
