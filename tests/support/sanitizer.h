// tests/support/sanitizer.h - what a test must know of the sanitizer it was built with.
#pragma once

namespace weft::test {

// Its runtime has a thread that takes no signals, and hands those of others to them late.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif
#else
inline constexpr bool kThreadSanitizer = false;
#endif

}  // namespace weft::test
