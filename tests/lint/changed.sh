#!/bin/bash
# tests/lint/changed.sh - prints the C++ files that differ from main; on main itself, those of the last commit.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
base=HEAD~1
for main in origin/main main; do
  if found=$(git merge-base HEAD "$main" 2>/dev/null); then
    if [ "$found" != "$(git rev-parse HEAD)" ]; then base=$found; fi
    break
  fi
done
git rev-parse -q --verify "$base" >/dev/null || base=$(git hash-object -t tree /dev/null)
{ git diff --name-only --diff-filter=d "$base"; git ls-files --others --exclude-standard; } | grep -E '\.(h|cc)$' | sort -u
exit 0
