#!/bin/bash
# mem.sh - the heap beside glibc's, Debian's jemalloc, mimalloc and tcmalloc, and in hardened mode: CPU time (user + system), time on
# the clock, peak memory, and instructions a call.
#
# Every load of tests/preload/load.cc, and the calls of some real programs as tests/trace/record.sh has recorded them here (trace-NAME; kept in
# build/traces until they are removed), on each heap in turn, ROUNDS (3) times. Shown are the least CPU time of the whole process, its end
# included (where the kernel takes back what a heap did not give it before), the median, and the least peak as the load says it; then
# geometric means against jemalloc, below 1 is better, what is not as fast as the best peer, and instructions (valgrind's callgrind).
# LOADS names some loads; QUICK=1 runs each once.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${WEFT_BUILD:-$PWD/build/release}
load=$build/tests/preload/load
measured=$build/tests/preload/measured
libraries=/usr/lib/$(uname -m)-linux-gnu
heaps=(glibc jemalloc mimalloc tcmalloc weft hardened full)
declare -A preload=([glibc]="" [jemalloc]=$libraries/libjemalloc.so.2 [mimalloc]=$libraries/libmimalloc.so.2
  [tcmalloc]=$libraries/libtcmalloc_minimal.so.4 [weft]=$build/lib/libweft-mem.so [hardened]=$build/lib/libweft-mem.so
  [full]=$build/lib/libweft-mem.so)
for heap in "${heaps[@]}"; do
  [ -z "${preload[$heap]}" ] || [ -e "${preload[$heap]}" ] || { echo "${preload[$heap]} is missing: tools/packages.sh bench" >&2; exit 1; }
done
rounds=${ROUNDS:-3}
if [ -n "${QUICK:-}" ]; then rounds=1; fi
traces=$(dirname "$build")/traces
case "${LOADS:-trace-}" in *trace-*) WEFT_BUILD=$build bash tests/trace/record.sh "$traces" >&2 ;; esac
read -ra loads <<<"${LOADS:-$("$load" | tr '\n' ' ') $(cd "$traces" && for each in *.trace; do echo -n "trace-${each%.trace} "; done)}"
usage=$(mktemp)
trap 'rm -f "$usage"' EXIT
# run LOAD LIBRARY: says "SECONDS KIB". Of traces five times over, so that each takes some tenths of a second.
run() {
  local command=("$load" "$1")
  case $1 in trace-*) command=("$build/tests/trace/replay" run "$traces/${1#trace-}.trace" 5) ;; esac
  local said
  : >"$usage"
  said=$(timeout 120 "$measured" "$usage" "$2" "${command[@]}")
  echo "$(cut -d' ' -f1 "$usage") ${said##* }"
}
mode() { case $1 in hardened) echo hardened ;; full) echo hardened=full ;; *) echo fast ;; esac; }
for name in "${loads[@]}"; do
  for round in $(seq "$rounds"); do
    for heap in "${heaps[@]}"; do
      begun=${EPOCHREALTIME/./}
      took=$(WEFT_HEAP=$(mode "$heap") run "$name" "${preload[$heap]}")
      echo "$name $heap $took $((${EPOCHREALTIME/./} - begun))"
    done
  done
done | awk -v heaps="${heaps[*]}" -f tests/bench/mem_table.awk

command -v valgrind >/dev/null || { echo "valgrind is missing: tools/packages.sh bench" >&2; exit 0; }
# Of the second hundred thousand rounds, with about six of the call itself.
collected() {
  WEFT_HEAP=$(mode "$1") LD_PRELOAD=${preload[$1]} timeout 120 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
    --toggle-collect="counted_$2" "$build/tests/preload/count" "$3" 2>&1 | sed -n 's/.*Collected : //p'
}
echo
printf '%-24s' "instructions"; printf '%12s' "${heaps[@]}"; echo
for function in malloc free; do
  printf '%-24s' "$function, 1 to 512 bytes"
  for heap in "${heaps[@]}"; do
    printf '%12d' $((($(collected "$heap" $function 200000) - $(collected "$heap" $function 100000)) / 100000))
  done
  echo
done
