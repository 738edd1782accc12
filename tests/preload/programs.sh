#!/bin/bash
# programs.sh - real programs with the heap preloaded: the same output as without, and what they take beside glibc's heap.
#
#   make heap-programs        all of them; each is told first what must be the same, then time and peak as ratios to glibc's
#   programs.sh NAME...       some
#
# From the environment
#   WEFT_BUILD   the build folder (build/release)
#   QUICK        1: a slice of each, for make test; a program that is not installed is skipped (exit status 77 if none ran)
#   ROUNDS       so many runs of each, in turn with glibc's (1); the least time and peak count
#
# What they do is in program_loads.sh.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 2
build=$(realpath "${WEFT_BUILD:-build/release}")
heap=$build/lib/libweft-mem.so
measured=$build/tests/preload/measured
for each in "$heap" "$measured"; do [ -e "$each" ] || { echo "$each is missing: make heap-programs" >&2; exit 2; }; done
. tests/preload/program_loads.sh

# --- Running them --------------------------------------------------------------------------------------------------

scratch=$(mktemp -d "${WEFT_TMP:-${TMPDIR:-/tmp}}/weft-programs.XXXXXX") || exit 2
chmod 755 "$scratch"
trap 'rm -rf "$scratch"' EXIT
# The folder has the same name each time: a path may be part of what a program makes.
# once NAME HEAP LIBRARY : runs the load; what it printed is in $scratch/NAME.HEAP, what it took is added to $scratch/took.
once() {
  FOLDER=$scratch/$1 PRELOAD=$3
  mkdir "$FOLDER"
  (cd "$FOLDER" && "$1_load") >"$scratch/$1.$2" 2>&1 </dev/null
  local status=$?
  if [ -s "$FOLDER/usage" ]; then awk -v of="$1 $2" '{ t += $1; if ($2 > m) m = $2 } END { print of, t, m }' "$FOLDER/usage" >>"$scratch/took"; fi
  rm -rf "$FOLDER"
  return $status
}

names=("$@")
[ $# -gt 0 ] || names=("${all[@]}")
failed=0 ran=0
for name in "${names[@]}"; do
  declare -F "${name}_load" >/dev/null || { echo "no such load: $name; there are ${all[*]}" >&2; exit 2; }
  if ! command -v "${program[$name]}" >/dev/null; then
    echo "$name: skipped, there is no ${program[$name]}"
    [ -n "$QUICK" ] || failed=1
    continue
  fi
  for _ in $(seq "${ROUNDS:-1}"); do
    once "$name" glibc "$glibc"
    status=$?
    if [ $status = 77 ]; then echo "$name: skipped, $(tail -n 1 "$scratch/$name.glibc")"; continue 2; fi
    [ $status = 0 ] || { echo "$name: fails without our heap, too (exit status $status):"; tail -n 20 "$scratch/$name.glibc"; failed=1; continue 2; }
    ran=1
    once "$name" weft "$heap"
    status=$?
    if [ $status != 0 ] || ! cmp -s "$scratch/$name.glibc" "$scratch/$name.weft"; then
      echo "$name: exit status $status; what it says with our heap (>) is not what it says without (<):"
      diff "$scratch/$name.glibc" "$scratch/$name.weft" | head -n 40
      failed=1
    fi
  done
  echo "$name: $(wc -l <"$scratch/$name.weft") lines, $(cmp -s "$scratch/$name.glibc" "$scratch/$name.weft" && echo the same || echo not the same)"
done
[ ! -s "$scratch/took" ] || awk '
  { key = $1 SUBSEP $2
    if (!($1 in seen)) { seen[$1] = 1; order[++count] = $1 }
    if (!(key in time) || $3 < time[key]) time[key] = $3
    if (!(key in peak) || $4 < peak[key]) peak[key] = $4 }
  END {
    printf "\n%-12s %10s %10s %8s %12s %12s %8s\n", "", "glibc, s", "weft, s", "ratio", "glibc, MiB", "weft, MiB", "ratio"
    for (i = 1; i <= count; i++) {
      g = order[i] SUBSEP "glibc"; w = order[i] SUBSEP "weft"
      if (w in time) printf "%-12s %10.2f %10.2f %8.2f %12.1f %12.1f %8.2f\n", order[i], time[g], time[w], time[w] / (time[g] + 0.001),
        peak[g] / 1024, peak[w] / 1024, peak[w] / peak[g]
    }
  }' "$scratch/took"
[ $failed = 0 ] || exit 1
[ $ran = 1 ] || exit 77
