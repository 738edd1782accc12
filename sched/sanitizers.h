// sched/sanitizers.h - which sanitizer this is compiled for, by either compiler's word for it. Internal to sched/.
#pragma once

namespace weft::sched {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitizerHandlesFaults = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitizerHandlesFaults = true;
#else
inline constexpr bool kSanitizerHandlesFaults = false;
#endif
#else
inline constexpr bool kSanitizerHandlesFaults = false;
#endif

}  // namespace weft::sched
