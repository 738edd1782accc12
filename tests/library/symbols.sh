#!/bin/bash
# symbols.sh - what the library shows, needs and does before main(): only weft::, little, nothing.
# needs: pkgconf g++
. "$(dirname "$0")/lib.sh"
shared=$INSTALLED/lib/libweft-sched.so.$VERSION
static=$INSTALLED/lib/libweft-sched.a

# Names: the API and the table for debuggers, and nothing of the C++ library, of Boost, or of what is internal.
nm -DC --defined-only "$shared" | cut -c 20- | sed -E 's/@@.*//' >"$WEFT_TMP/exported"
grep -vE '^((typeinfo|typeinfo name|vtable) for )?weft::|^WEFT_SCHED_0$|^weft_sched_layout$' "$WEFT_TMP/exported" && fail "exported, and not in weft::"
grep -E 'weft::sched::(Worker|Scheduler|Reactor|FiberState|Context|StackPool|Timers)::' "$WEFT_TMP/exported" && fail "exported, and internal"
for wanted in 'weft::sched::Runtime::create(' 'weft::sched::Mutex::lock_slow(' 'weft::Error::Error(' 'weft::sched::io::read('; do
  grep -qF "$wanted" "$WEFT_TMP/exported" || fail "not exported: $wanted"
done
readelf -d "$shared" >"$WEFT_TMP/dynamic"
grep -q "SONAME.*\[libweft-sched.so.${VERSION%%.*}\]" "$WEFT_TMP/dynamic" || fail "soname"
sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' "$WEFT_TMP/dynamic" | grep -vE '^(libboost_context|liburing|libstdc\+\+|libgcc_s|libc|libm|ld-linux.*)\.so' &&
  fail "the shared library needs more than it should"

# Before main(): no constructor in any object; of the shared library only the compiler's own frame_dummy.
readelf -SW "$static" | grep -E '\.(init_array|ctors|preinit_array)' && fail "the static library has global constructors"
[ "$(sed -n 's/.*INIT_ARRAYSZ.* \([0-9]*\) (bytes)/\1/p' "$WEFT_TMP/dynamic")" = 8 ] || fail "the shared library has global constructors"

# The header alone: nothing before main() either, only macros with our name in front, and a clear word to an older compiler mode.
# shellcheck disable=SC2207
flags=(-std=c++23 -Wall -Wextra -Wpedantic $(package --cflags weft-sched))
echo '#include <weft/sched.h>' >"$WEFT_TMP/only.cc"
g++ "${flags[@]}" -c "$WEFT_TMP/only.cc" -o "$WEFT_TMP/only.o" 2>"$WEFT_TMP/warnings" || fail "$(cat "$WEFT_TMP/warnings")"
[ ! -s "$WEFT_TMP/warnings" ] || fail "warnings: $(head -n 5 "$WEFT_TMP/warnings")"
readelf -SW "$WEFT_TMP/only.o" | grep -E '\.(init_array|ctors)' && fail "including the header brings a global constructor"
g++ "${flags[@]}" -dD -E "$WEFT_TMP/only.cc" |
  awk '/^# [0-9]+ "/ { ours = ($3 ~ /\/weft\//) } /^#define / && ours && $2 !~ /^WEFT_/ { print; bad = 1 } END { exit bad }' ||
  fail "macros that are not ours to define"
g++ "${flags[@]}" -M "$WEFT_TMP/only.cc" | grep -oE '[^ ]*/(boost|fmt|liburing)[^ ]*' && fail "libraries of others behind the header"
g++ -std=c++20 "${flags[@]:1}" -fsyntax-only "$WEFT_TMP/only.cc" 2>"$WEFT_TMP/warnings" && fail "compiles as C++20"
grep -q 'needs C++23' "$WEFT_TMP/warnings" || fail "no word about C++23"
# A plug-in may bring it: it can be loaded at run time, and let go.
cat >"$WEFT_TMP/load.cc" <<'LOAD'
#include <dlfcn.h>
#include <cstdio>
int main(int, char** argv) {
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) std::puts(dlerror());
  return library != nullptr && dlclose(library) == 0 ? 0 : 1;
}
LOAD
g++ "$WEFT_TMP/load.cc" -o "$WEFT_TMP/load" -ldl
"$WEFT_TMP/load" "$shared" || fail "cannot be loaded at run time"
echo "symbols are as they should be"
