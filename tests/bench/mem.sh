#!/bin/bash
# mem.sh - the heap beside glibc's, Debian's jemalloc, mimalloc and tcmalloc: CPU time (user + system) and peak memory.
#
# Every load of tests/preload/load.cc, and the calls of some real programs as tests/trace/record.sh has recorded them here (trace-NAME; kept in
# build/traces until they are removed), on each heap in turn, ROUNDS (3) times; the least counts. Ends with geometric means against
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
traces=$(dirname "$build")/traces
case "${LOADS:-trace-}" in *trace-*) WEFT_BUILD=$build bash tests/trace/record.sh "$traces" >&2 ;; esac
read -ra loads <<<"${LOADS:-$("$load" | tr '\n' ' ') $(cd "$traces" && for each in *.trace; do echo -n "trace-${each%.trace} "; done)}"
# Of traces five times over, so that each takes some tenths of a second.
run() {
  case $1 in
    trace-*) timeout 120 "$build/tests/trace/replay" run "$traces/${1#trace-}.trace" 5 ;;
    *) timeout 120 "$load" "$1" ;;
  esac
}
for name in "${loads[@]}"; do
  for round in $(seq "$rounds"); do
    for heap in "${heaps[@]}"; do
      echo "$name $heap $(LD_PRELOAD=${preload[$heap]} run "$name")"
    done
  done
done | awk -v heaps="${heaps[*]}" -f tests/bench/mem_table.awk
