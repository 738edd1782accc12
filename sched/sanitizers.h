// sched/sanitizers.h - which sanitizer this is compiled for, by either compiler's word for it. Internal to sched/.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(WEFT_ASAN)
#define WEFT_ASAN 1
#endif
#if __has_feature(thread_sanitizer) && !defined(WEFT_TSAN)
#define WEFT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(WEFT_ASAN)
#define WEFT_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(WEFT_TSAN)
#define WEFT_TSAN 1
#endif

namespace weft::sched {

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
inline constexpr bool kSanitizerHandlesFaults = true;
#else
inline constexpr bool kSanitizerHandlesFaults = false;
#endif

}  // namespace weft::sched
