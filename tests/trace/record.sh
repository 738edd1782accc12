#!/bin/bash
# record.sh - traces of real programs, for tests/bench/mem.sh: each what its process with the most calls did.
#
#   tests/trace/record.sh FOLDER [NAME...]     leaves FOLDER/NAME.trace, unless it is there (all: gxx python3 redis sqlite3)
#
# The programs do what tests/preload/program_loads.sh says, as they are installed here: figures of two machines, or from before and after
# an upgrade, are of different traces. WEFT_BUILD as for all.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 2
build=$(realpath "${WEFT_BUILD:-build/release}")
mkdir -p "$1" && folder=$(realpath "$1") && shift || exit 2
names=("$@")
[ $# -gt 0 ] || names=(gxx python3 redis sqlite3)
. tests/preload/program_loads.sh
measured=$build/tests/preload/measured PRELOAD=$build/lib/trace-record.so:$glibc
scratch=$(mktemp -d "$folder/.raw.XXXXXX") || exit 2
trap 'rm -rf "$scratch"' EXIT
for name in "${names[@]}"; do
  [ ! -s "$folder/$name.trace" ] || continue
  if ! command -v "${program[$name]}" >/dev/null; then echo "$name: no trace, there is no ${program[$name]}"; continue; fi
  FOLDER=$scratch/$name
  # Of the others the whole would be hundreds of megabytes.
  case $name in sqlite3) QUICK= ;; *) QUICK=1 ;; esac
  mkdir "$FOLDER"
  (cd "$FOLDER" && WEFT_TRACE=$scratch/raw "${name}_load") >"$scratch/log" 2>&1 </dev/null || { cat "$scratch/log"; exit 1; }
  # By what was written, not by the length that all have.
  raw=$(du "$scratch"/raw.* | sort -n | tail -n 1 | cut -f 2)
  echo "$name: ${raw##*/raw.}: $("$build/tests/trace/replay" convert "$raw" "$scratch/trace")" && mv "$scratch/trace" "$folder/$name.trace" || exit 1
  rm -rf "$FOLDER" "$scratch"/raw.*
done
