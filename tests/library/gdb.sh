#!/bin/bash
# gdb.sh - gdb shows the fibers of a program that is linked with the installed shared library, without being told where to look.
# needs: pkgconf g++ gdb
. "$(dirname "$0")/lib.sh"
cat >"$WEFT_TMP/waits.cc" <<'PROGRAM'
#include <weft/sched.h>

#include <csignal>

int main() {
  auto runtime = weft::sched::Runtime::create({.name = "kitchen", .workers = 1});
  weft::sched::Semaphore gate(0);
  weft::sched::Fiber cook = runtime->spawn("cook", [&] { (void)gate.acquire(); });
  while (!runtime->report().looks_deadlocked()) {}
  std::raise(SIGTRAP);
  gate.release();
  cook.join();
}
PROGRAM
# shellcheck disable=SC2046
g++ -std=c++23 -O2 "$WEFT_TMP/waits.cc" -o "$WEFT_TMP/waits" $(package --cflags --libs weft-sched) || fail "the program does not build"
# DESTDIR is in front of what gdb sees as the library's path: as if all of it were gdb's own folder.
mkdir -p "$WEFT_TMP/auto-load$SYSROOT/opt"
ln -s "$INSTALLED/share/gdb/auto-load/opt/weft" "$WEFT_TMP/auto-load$SYSROOT/opt/weft"
timeout 100 gdb -nx -batch -iex 'set debuginfod enabled off' -iex "add-auto-load-safe-path $WEFT_TMP" \
  -iex "add-auto-load-scripts-directory $WEFT_TMP/auto-load" -ex run -ex 'weft fibers' "$WEFT_TMP/waits" >"$WEFT_TMP/says" 2>&1 </dev/null || true
if grep -qE 'not permitted|ptrace' "$WEFT_TMP/says"; then echo "gdb may not run programs here"; exit 77; fi
grep -q '"cook" parked (semaphore 0x' "$WEFT_TMP/says" || fail "gdb says: $(cat "$WEFT_TMP/says")"
echo "gdb finds the fibers"
