#!/bin/bash
# tests/lint/format.sh - the layout of .clang-format: `format.sh` checks all C++, `format.sh --fix` rewrites what is new.
#
# --fix touches only files that differ from main (or from the last commit, on main), so that it stays out of others' way.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
if [ "${1:-}" = --fix ]; then
  tests/lint/changed.sh | xargs -r clang-format-19 -i
else
  awk -F: '/^[^ :]+:[0-9]+:[0-9]+: error: / && !seen[$1]++ { print $1 ":" $2 ": layout differs: make format"; bad = 1 } END { exit bad }' \
    < <(find kernel sched mem fs net tools tests \( -name '*.h' -o -name '*.cc' \) -print0 2>/dev/null |
      xargs -0 -r clang-format-19 --dry-run -Werror 2>&1)
fi
