#!/bin/bash
# installed.sh - a program of somebody else's builds against the installed library in each way, and runs.
# needs: pkgconf cmake g++
# limit: 400
#
# g++ and clang++-19 (where there is one), with and without PIC, with link-time optimization; linked with the shared library, with
# the static one, and wholly statically; by pkg-config and by CMake. Each program is tests/library/embedder.cc, which checks
# thread_local, errno and exceptions on fibers that change threads. At last the library is uninstalled without a trace.
. "$(dirname "$0")/lib.sh"
program=$WEFT_TMP/program
source=tests/library/embedder.cc

builds=0
built() { "$program" >"$WEFT_TMP/says" 2>&1 || fail "$1: $(tail -n 5 "$WEFT_TMP/says")"; echo "ok  $1"; builds=$((builds + 1)); }

compilers=(g++)
if command -v clang++-19 >/dev/null; then compilers+=(clang++-19); fi
for compiler in "${compilers[@]}"; do
  for how in -no-pie -fPIC "-fPIC -flto"; do
    flags="-std=c++23 -O2 -Wall -Wextra -Werror ${how/#-no-pie/-fno-pie}"
    # What clang writes then, ld reads only with its plug-in.
    case $compiler:$how in clang*flto*) command -v ld.lld-19 >/dev/null || continue; how+=" -fuse-ld=lld-19" ;; esac
    # shellcheck disable=SC2046,SC2086
    $compiler $flags -c $source -o "$WEFT_TMP/object.o" $(package --cflags weft-sched)
    for linked in weft-sched weft-sched-static; do
      # shellcheck disable=SC2046,SC2086
      $compiler $how -O2 "$WEFT_TMP/object.o" -o "$program" $(package --libs $linked)
      built "$compiler $how, $linked"
      case $linked:$(readelf -d "$program") in
        weft-sched:*'[libweft-sched.so.0]'*) ;;
        weft-sched:*) fail "$compiler $how: not linked with libweft-sched.so.0" ;;
        *'[libweft-sched'*) fail "$compiler $how: $linked links the shared library" ;;
      esac
    done
  done
done
# shellcheck disable=SC2046
g++ -std=c++23 -O2 -static $source -o "$program" $(package --cflags weft-sched) $(package --static --libs weft-sched) 2>"$WEFT_TMP/warnings" ||
  fail "static: $(tail -n 5 "$WEFT_TMP/warnings")"
built "g++ -static"

mkdir "$WEFT_TMP/project"
cp $source "$WEFT_TMP/project/"
cat >"$WEFT_TMP/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(embedder CXX)
find_package(weft 0.1 REQUIRED COMPONENTS sched)
set(CMAKE_CXX_EXTENSIONS OFF)
add_executable(by_default embedder.cc)
target_link_libraries(by_default weft::sched)
add_library(object OBJECT embedder.cc)
target_link_libraries(object weft::sched)
add_executable(static $<TARGET_OBJECTS:object>)
target_link_libraries(static weft::sched_static)
CMAKE
cmake -S "$WEFT_TMP/project" -B "$WEFT_TMP/cmake" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$INSTALLED" >"$WEFT_TMP/cmake.log" 2>&1 &&
  cmake --build "$WEFT_TMP/cmake" -j 2 >>"$WEFT_TMP/cmake.log" 2>&1 || fail "cmake: $(tail -n 15 "$WEFT_TMP/cmake.log")"
program=$WEFT_TMP/cmake/by_default built "CMake, weft::sched"
program=$WEFT_TMP/cmake/static built "CMake, weft::sched_static"
sed -i 's/COMPONENTS sched/COMPONENTS net/' "$WEFT_TMP/project/CMakeLists.txt"
if cmake -S "$WEFT_TMP/project" -B "$WEFT_TMP/cmake-net" -DCMAKE_PREFIX_PATH="$INSTALLED" >"$WEFT_TMP/cmake.log" 2>&1; then
  fail "CMake finds a component that is not installed"
fi
grep -q 'no component net' "$WEFT_TMP/cmake.log" || fail "CMake does not say which component is missing"

install_library uninstall
left=$(find "$SYSROOT" ! -type d)
[ -z "$left" ] || fail "uninstall leaves $left"
echo "$builds programs"
