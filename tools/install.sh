#!/bin/bash
# tools/install.sh - `make install` and `make uninstall`: one list of what goes where, read in either direction.
#
#   PREFIX/sbin/*.weft, PREFIX/bin/weft, PREFIX/sbin/weftd     programs
#   HELPER_DIR/{mkfs,fsck,mount}.weft, mount.fuse{,blk}.weft   links, where mount(8) and fsck(8) look for them
#   PREFIX/lib/libweft-*.a, PREFIX/include/weft/               libraries; #include <weft/sched.h>, <weft/kernel/uuid.h>
#   PREFIX/lib/libweft-sched.so*                               the scheduler as a shared library, too
#   PREFIX/lib/libweft-mem.so libweft-malloc.a                 the heap for LD_PRELOAD; malloc's names for linking, with libweft-mem.a
#   PREFIX/lib/pkgconfig/weft-*.pc, PREFIX/lib/cmake/weft/     weft-kernel, weft-sched, weft-sched-static ...; weft::kernel ...
#   PREFIX/share/weft/weft-gdb.py                              fibers in gdb: (gdb) source
#   PREFIX/share/gdb/auto-load/PREFIX/lib/...-gdb.py           does that by itself for the shared library; gdb looks there if PREFIX=/usr
#   PREFIX/share/man/manN/                                     tools/man/*.N
#
# Of sched/ only what sched/sched.h includes is installed; the rest is its own affair. PART=sched leaves all other things out: a
# scheduler for programs that have nothing to do with storage.
#
# From the environment: PREFIX, DESTDIR, HELPER_DIR, BUILD (build/release), VERSION, PART.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=$1
root=$DESTDIR$PREFIX
count=0
PART=${PART:-all}

put() {  # put MODE SOURCE TARGET; a source of "-" is what comes on standard input
  count=$((count + 1))
  if [ "$mode" = uninstall ]; then rm -f "$3"; return; fi
  mkdir -p "$(dirname "$3")"
  if [ "$2" = - ]; then cat >"$3.new"; chmod "$1" "$3.new"; mv "$3.new" "$3"; else install -m "$1" "$2" "$3"; fi
}

link_to() {  # link_to TARGET NAME
  count=$((count + 1))
  if [ "$mode" = uninstall ]; then rm -f "$2"; else ln -sfn "$1" "$2"; fi
}

# What a layer stands on: the layers below it in link order, and libraries that are not ours. The static scheduler holds what it
# needs of kernel; others of ours link it statically, so that no program has kernel twice.
below() {
  case $1 in
    kernel | sched | mem) ;;
    fs | net)
      if built mem; then echo mem; fi
      if built sched; then echo sched; fi
      echo kernel
      ;;
  esac
}
foreign() { case $1 in kernel) echo -luring -lisal -lfmt -pthread ;; sched) echo -lboost_context -luring -pthread ;; fs) echo -lfuse3 ;; esac; }
# The archive by its name where a shared library beside it is something else: libweft-mem.so replaces malloc.
linked() { if [ "$1" = mem ]; then echo -l:libweft-mem.a; else echo "-lweft-$1"; fi; }
built() { [ -e "$BUILD/lib/libweft-$1.a" ]; }
about() {
  case $1 in
    kernel) echo "results, checks, clock, block devices" ;;
    sched) echo "work-stealing fibers on io_uring" ;;
    mem) echo "heap" ;;
    fs) echo "journaling file system" ;;
    net) echo "replicated block store" ;;
  esac
}

# headers_of LAYER: what of it is installed.
headers_of() {
  case $1:$PART in
    sched:sched) tests/lint/library.sh --headers ;;
    sched:*) tests/lint/library.sh --headers | grep '^sched/' ;;
    *) find "$1" -name '*.h' 2>/dev/null | sort ;;
  esac
}

pkg_config() {  # pkg_config NAME DESCRIPTION LINES
  put 644 - "$root/lib/pkgconfig/$1.pc" <<PC
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: $1
Description: Weft: $2
Version: $VERSION
$3
PC
}

cmake_target() {  # cmake_target NAME KIND FILE PROPERTIES
  cat <<CMAKE
add_library(weft::$1 $2 IMPORTED)
set_target_properties(weft::$1 PROPERTIES
  IMPORTED_LOCATION "\${weft_prefix}/lib/$3"
  INTERFACE_INCLUDE_DIRECTORIES "\${weft_prefix}/include"
  INTERFACE_COMPILE_FEATURES cxx_std_23
$4)
CMAKE
}

# One file for each layer, so that one that is installed by itself does not hide others.
cmake_layer() {
  put 644 - "$root/lib/cmake/weft/weft-$1.cmake" < <(
    if [ "$1" = sched ]; then
      cmake_target sched_static STATIC libweft-sched.a "  INTERFACE_LINK_LIBRARIES \"$(foreign sched | tr ' ' ';')\""
      cmake_target sched_shared SHARED "libweft-sched.so.$VERSION" "  IMPORTED_SONAME $soname
  INTERFACE_LINK_LIBRARIES -pthread"
      cat <<'CMAKE'
# weft::sched is the shared one, unless weft_STATIC is set before find_package().
add_library(weft::sched INTERFACE IMPORTED)
if(weft_STATIC)
  target_link_libraries(weft::sched INTERFACE weft::sched_static)
else()
  target_link_libraries(weft::sched INTERFACE weft::sched_shared)
endif()
CMAKE
    else
      cmake_target "$1" STATIC "libweft-$1.a" "  INTERFACE_COMPILE_OPTIONS -ftls-model=initial-exec
  INTERFACE_LINK_LIBRARIES \"$({ below "$1" | sed 's/^/weft::/; s/sched$/sched_static/'; foreign "$1" | tr ' ' '\n'; } | sed '/^$/d' | paste -sd';')\""
    fi)
}

if [ "$PART" = all ]; then
  for program in "$BUILD"/bin/*; do
    [ -x "$program" ] || continue
    case ${program##*/} in
      weft) put 755 "$program" "$root/bin/weft" ;;
      *) put 755 "$program" "$root/sbin/${program##*/}" ;;
    esac
  done

  # With PREFIX=/usr on a merged /usr the programs are there already. An ordinary user cannot write there: said, no error.
  if [ -n "$HELPER_DIR" ] && [ "$(readlink -f "$DESTDIR$HELPER_DIR")" != "$(readlink -f "$root/sbin")" ]; then
    if mkdir -p "$DESTDIR$HELPER_DIR" 2>/dev/null && [ -w "$DESTDIR$HELPER_DIR" ]; then
      # mount.fuse.weft: what mount(8) and umount(8) call for the types fuse.weft and fuseblk.weft, as the kernel names our mounts.
      for helper in mkfs.weft fsck.weft mount.weft mount.fuse.weft mount.fuseblk.weft; do
        link=$DESTDIR$HELPER_DIR/$helper program=$PREFIX/sbin/${helper/#mount.*/mount.weft}
        if [ "$mode" = install ]; then
          if [ -e "$BUILD/bin/${program##*/}" ]; then ln -sfn "$program" "$link" && count=$((count + 1)); fi
        elif [ "$(readlink "$link")" = "$program" ]; then
          rm -f "$link" && count=$((count + 1))
        fi
      done
    else
      echo "Not linked into $DESTDIR$HELPER_DIR (not writable): mount -t weft and fsck -t weft will not find Weft."
    fi
  fi
fi

soname=libweft-sched.so.${VERSION%%.*}
auto_load=$PREFIX/share/gdb/auto-load$PREFIX/lib  # gdb: its own folder, and the path of the library
for layer in kernel sched mem fs net; do
  if [ "$PART" != all ] && [ "$PART" != "$layer" ]; then continue; fi
  built "$layer" || [ "$mode" = uninstall ] || continue
  put 644 "$BUILD/lib/libweft-$layer.a" "$root/lib/libweft-$layer.a"
  while read -r header; do
    put 644 - "$root/include/weft/${header/#sched\/sched.h/sched.h}" < <(
      sed -E 's,^([ \t]*#[ \t]*include )"((kernel|sched|mem|fs|net)/[^"]*)",\1<weft/\2>,' "$header")
  done < <(headers_of "$layer")
  if [ "$layer" = mem ]; then
    put 755 "$BUILD/lib/libweft-mem.so" "$root/lib/libweft-mem.so"
    put 644 "$BUILD/lib/libweft-malloc.a" "$root/lib/libweft-malloc.a"
  fi
  if [ "$layer" = sched ]; then
    put 644 "$BUILD/lib/libweft-sched.so.$VERSION" "$root/lib/libweft-sched.so.$VERSION"
    link_to "libweft-sched.so.$VERSION" "$root/lib/$soname"
    link_to "$soname" "$root/lib/libweft-sched.so"
    put 644 sched/weft-gdb.py "$root/share/weft/weft-gdb.py"
    put 644 - "$DESTDIR$auto_load/libweft-sched.so.$VERSION-gdb.py" <<PY
import os

import gdb

gdb.execute("source " + os.path.join(os.path.dirname(gdb.current_objfile().filename), "../share/weft/weft-gdb.py"))
PY
    # Libs.private and no Requires.private: who links the shared one needs no headers of what is inside.
    pkg_config weft-sched "$(about sched)" "Cflags: -I\${includedir} -pthread
Libs: -L\${libdir} -lweft-sched -pthread
Libs.private: $(foreign sched)"
    pkg_config weft-sched-static "$(about sched), linked statically" "Cflags: -I\${includedir} -pthread
Libs: -L\${libdir} -l:libweft-sched.a $(foreign sched)"
  else
    pkg_config "weft-$layer" "$(about "$layer")" "Requires: $(below "$layer" | sed 's/^/weft-/; s/sched$/sched-static/' | paste -sd' ')
Cflags: -I\${includedir} -ftls-model=initial-exec
Libs: -L\${libdir} $(linked "$layer") $(foreign "$layer")"
  fi
  cmake_layer "$layer"
done
put 644 - "$root/lib/cmake/weft/weft-config.cmake" <<'CMAKE'
# find_package(weft COMPONENTS sched) offers weft::sched; without COMPONENTS all that is installed: weft::kernel, weft::fs ...
get_filename_component(weft_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
foreach(weft_layer kernel sched mem fs net)
  if(NOT TARGET weft::${weft_layer})
    include("${CMAKE_CURRENT_LIST_DIR}/weft-${weft_layer}.cmake" OPTIONAL)
  endif()
endforeach()
foreach(weft_layer ${weft_FIND_COMPONENTS})
  if(TARGET weft::${weft_layer})
    set(weft_${weft_layer}_FOUND TRUE)
  elseif(weft_FIND_REQUIRED_${weft_layer})
    set(weft_FOUND FALSE)
    set(weft_NOT_FOUND_MESSAGE "weft has no component ${weft_layer} here")
  endif()
endforeach()
CMAKE
put 644 - "$root/lib/cmake/weft/weft-config-version.cmake" <<CMAKE
set(PACKAGE_VERSION "$VERSION")
if(PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION STREQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
CMAKE

for page in tools/man/*.[1-9]; do
  if [ "$PART" = all ] && [ -f "$page" ]; then put 644 "$page" "$root/share/man/man${page##*.}/${page##*/}"; fi
done

if [ "$mode" = uninstall ]; then
  # Folders of ours only, once they are empty.
  for folder in "$root/include/weft" "$root/lib/cmake/weft" "$root/share/weft"; do
    if [ -d "$folder" ]; then find "$folder" -depth -type d -empty -delete; fi
  done
  if [ -d "$DESTDIR$auto_load" ]; then rmdir -p --ignore-fail-on-non-empty "$DESTDIR$auto_load"; fi
fi
echo "${mode}ed $count files under $root"
