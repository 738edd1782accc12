#!/bin/bash
# tests/lint/tidy.sh - clang-tidy-19 on files that differ from main, or on `--all`.   tidy.sh [--all] -- FLAGS
#
# A header is looked at through the sources that include it, so only sources are given to clang-tidy.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
all=
if [ "$1" = --all ]; then all=1; shift; fi
shift
if [ -n "$all" ]; then files=$(find kernel sched mem fs net tools -name '*.cc' | sort); else files=$(tests/lint/changed.sh | grep '\.cc$' | grep -v '^tests/'); fi
[ -n "$files" ] || exit 0
xargs -P "$(nproc)" -I{} clang-tidy-19 --quiet --warnings-as-errors='*' {} -- "$@" <<<"$files" 2> >(grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -' >&2)
