#!/bin/bash
# tools/install.sh - `make install` and `make uninstall`: one list of what goes where, read in either direction.
#
#   PREFIX/sbin/*.weft, PREFIX/bin/weft, PREFIX/sbin/weftd     programs
#   HELPER_DIR/{mkfs,fsck,mount}.weft, mount.fuse{,blk}.weft   links, where mount(8) and fsck(8) look for them
#   PREFIX/lib/libweft-*.a, PREFIX/include/weft/               libraries; #include <weft/sched/mutex.h>
#   PREFIX/lib/pkgconfig/weft-*.pc, PREFIX/lib/cmake/weft/     weft-kernel, weft-sched ...; weft::kernel, weft::sched ...
#   PREFIX/share/man/manN/                                     tools/man/*.N
#
# From the environment: PREFIX, DESTDIR, HELPER_DIR, BUILD (build/release), VERSION.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=$1
root=$DESTDIR$PREFIX
count=0

put() {  # put MODE SOURCE TARGET; a source of "-" is what comes on standard input
  count=$((count + 1))
  if [ "$mode" = uninstall ]; then rm -f "$3"; return; fi
  mkdir -p "$(dirname "$3")"
  if [ "$2" = - ]; then cat >"$3.new"; chmod "$1" "$3.new"; mv "$3.new" "$3"; else install -m "$1" "$2" "$3"; fi
}

# What a layer stands on: the layers below it in link order, and libraries that are not ours.
below() {
  case $1 in
    kernel) ;;
    sched | mem) echo kernel ;;
    fs | net) for layer in mem sched; do if built $layer; then echo $layer; fi; done; echo kernel ;;
  esac
}
foreign() { case $1 in kernel) echo -luring -lisal -lfmt -pthread ;; sched) echo -lboost_context ;; fs) echo -lfuse3 ;; esac; }
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

targets=
for layer in kernel sched mem fs net; do
  built "$layer" || [ "$mode" = uninstall ] || continue
  put 644 "$BUILD/lib/libweft-$layer.a" "$root/lib/libweft-$layer.a"
  while read -r header; do
    put 644 - "$root/include/weft/$header" < <(
      sed -E 's,^([ \t]*#[ \t]*include )"((kernel|sched|mem|fs|net)/[^"]*)",\1<weft/\2>,' "$header")
  done < <(find "$layer" -name '*.h' 2>/dev/null | sort)
  put 644 - "$root/lib/pkgconfig/weft-$layer.pc" <<PC
prefix=$PREFIX
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: weft-$layer
Description: Weft: $(about $layer)
Version: $VERSION
Requires: $(below $layer | sed 's/^/weft-/' | paste -sd' ')
Cflags: -I\${includedir} -ftls-model=initial-exec
Libs: -L\${libdir} -lweft-$layer $(foreign $layer)
PC
  targets+="
add_library(weft::$layer STATIC IMPORTED)
set_target_properties(weft::$layer PROPERTIES
  IMPORTED_LOCATION \"\${weft_prefix}/lib/libweft-$layer.a\"
  INTERFACE_INCLUDE_DIRECTORIES \"\${weft_prefix}/include\"
  INTERFACE_COMPILE_FEATURES cxx_std_23
  INTERFACE_COMPILE_OPTIONS -ftls-model=initial-exec
  INTERFACE_LINK_LIBRARIES \"$({ below $layer | sed 's/^/weft::/'; foreign $layer | tr ' ' '\n'; } | sed '/^$/d' | paste -sd';')\")
"
done
put 644 - "$root/lib/cmake/weft/weft-config.cmake" <<CMAKE
# find_package(weft) offers weft::kernel, weft::sched ... as far as they are installed.
if(TARGET weft::kernel)
  return()
endif()
get_filename_component(weft_prefix "\${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
$targets
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
  if [ -f "$page" ]; then put 644 "$page" "$root/share/man/man${page##*.}/${page##*/}"; fi
done

if [ "$mode" = uninstall ]; then
  # Folders of ours only, once they are empty.
  for folder in "$root/include/weft" "$root/lib/cmake/weft"; do
    if [ -d "$folder" ]; then find "$folder" -depth -type d -empty -delete; fi
  done
fi
echo "${mode}ed $count files under $root"
