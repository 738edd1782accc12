#!/bin/bash
# tests/lint/library.sh - what the scheduler offers as a library: sched/sched.h, and what that includes.
#
#   library.sh             a header of sched/ is in it, or says "Internal" in the comment that opens it; what is in it brings in
#                          no library of others, and defines no macro without WEFT_ in front
#   library.sh --headers   prints what is in it, one file a line: what tools/install.sh installs
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2

declare -A public
todo=(sched/sched.h)
while [ ${#todo[@]} -gt 0 ]; do
  header=${todo[-1]}
  unset 'todo[-1]'
  [ -z "${public[$header]:-}" ] || continue
  public[$header]=1
  mapfile -t -O ${#todo[@]} todo < <(sed -nE 's,^[ \t]*#[ \t]*include "((kernel|sched)/[^"]*)".*,\1,p' "$header")
done
mapfile -t headers < <(printf '%s\n' "${!public[@]}" | sort)
if [ "${1:-}" = --headers ]; then printf '%s\n' "${headers[@]}"; exit; fi

for header in sched/*.h; do
  [ -z "${public[$header]:-}" ] || continue
  sed '/^\/\//!q' "$header" | grep -q Internal || echo "$header:1: neither included by sched/sched.h nor called Internal where it opens"
done | grep . && bad=1
awk '
  function complain(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; bad = 1 }
  /^[ \t]*#[ \t]*include[ \t]*<(boost|liburing|fmt|isa-l)/ { complain("a library of others in a public header") }
  /^[ \t]*#[ \t]*define[ \t]/ && $0 !~ /define[ \t]+WEFT_/ && !asked { complain("a macro without WEFT_ in a public header") }
  # What the program has asked for by a name of ours.
  /^[ \t]*#[ \t]*ifdef WEFT_/ { asked = 1 }
  /^[ \t]*#[ \t]*endif/ { asked = 0 }
  # A header uses the long name: the short one is there only for those who ask.
  /(^|[^A-Z_])TRY\(/ && !/^[ \t]*(\/\/|#)/ { complain("WEFT_TRY, not TRY, in a public header") }
  END { exit bad }' "${headers[@]}" || bad=1
exit "${bad:-0}"
