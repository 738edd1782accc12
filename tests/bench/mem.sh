#!/bin/bash
# mem.sh - the heap beside glibc's, Debian's jemalloc, mimalloc and tcmalloc: CPU time (user + system) and peak memory.
#
# Every load of tests/preload/load.cc on each heap in turn, ROUNDS (3) times; the least counts. Ends with geometric means against
# jemalloc, below 1 is better. LOADS names some; QUICK=1 runs each once.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${WEFT_BUILD:-$PWD/build/release}
load=$build/tests/preload/load
libraries=/usr/lib/$(uname -m)-linux-gnu
heaps=(glibc jemalloc mimalloc tcmalloc weft)
declare -A preload=([glibc]="" [jemalloc]=$libraries/libjemalloc.so.2 [mimalloc]=$libraries/libmimalloc.so.2
  [tcmalloc]=$libraries/libtcmalloc_minimal.so.4 [weft]=$build/lib/libweft-mem.so)
for heap in "${heaps[@]}"; do
  [ -z "${preload[$heap]}" ] || [ -e "${preload[$heap]}" ] || { echo "${preload[$heap]} is missing: tools/packages.sh bench" >&2; exit 1; }
done
rounds=${ROUNDS:-3}
if [ -n "${QUICK:-}" ]; then rounds=1; fi
read -ra loads <<<"${LOADS:-$("$load" | tr '\n' ' ')}"
for name in "${loads[@]}"; do
  for round in $(seq "$rounds"); do
    for heap in "${heaps[@]}"; do
      echo "$name $heap $(LD_PRELOAD=${preload[$heap]} timeout 120 "$load" "$name")"
    done
  done
done | awk -v heaps="${heaps[*]}" -f tests/bench/mem_table.awk
