#!/bin/bash
# tests/lint/documents.sh - documents and comments name only what exists.
#
#   paths such as fs/journal.h or tests/crash/ in *.md, and in comments of sources, scripts and the Makefile
#   links of *.md to files of ours
#   `make TARGET` in *.md
#
# In documents a pattern (fs/*.h, fs/journal.{h,cc}) must match something; in comments it may be a rule for what is to
# come. Names with <placeholders> and places under build/ are left alone.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
bad=0
complain() { echo "$1"; bad=1; }

mapfile -t documents < <(find . -name '*.md' -not -path './build/*' -not -path './.git/*' | sed 's,^\./,,' | sort)
mapfile -t sources < <(find kernel sched mem fs net tools tests Makefile \( -name '*.h' -o -name '*.cc' -o -name '*.sh' -o -name Makefile \) 2>/dev/null | grep -v '^tests/lint/' | sort)

exists() {  # exists PATH-OR-PATTERN, from the root
  local expanded
  [[ $1 =~ ^[A-Za-z0-9_./*{},-]+$ ]] || return 0
  # Characters were checked above, so this expands braces and asterisks and nothing else.
  eval "expanded=($1)"
  local each
  for each in "${expanded[@]}"; do compgen -G "$each" >/dev/null || return 1; done
}

path='(kernel|sched|mem|fs|net|tools|tests|images|\.ci)/[A-Za-z0-9_./*{},<>-]*'
while IFS=: read -r file line name; do
  # "fs/net" and "kernel/sched" are prose; a file has an extension, a folder ends in a slash.
  name=$(sed -E 's/[.,]+$//' <<<"$name")
  case $name in *'<'* | *build/* | */NAME.*) continue ;; esac
  [[ $name == */ || $name =~ \.[a-z0-9{},*]+$ ]] || continue
  exists "$name" || exists "$(dirname "$file")/$name" || complain "$file:$line: no such file: $name"
done < <(
  grep -HnoE "(^|[^A-Za-z0-9_/.<\"\$}-])$path" "${documents[@]}" | sed -E 's/^([^:]*:[0-9]+:)[^A-Za-z0-9.]/\1/'
  # In sources only whole comment lines: an include is the compiler's to check.
  grep -HnE '^[[:space:]]*(//|#[^!a-z])' "${sources[@]}" | grep -oE "^[^:]+:[0-9]+:|(^|[^A-Za-z0-9_/.<\"\$}-])$path" |
    awk '/^[^ ]+:[0-9]+:$/ { where = $0; next } /[*{]/ { next } { sub(/^[^A-Za-z0-9.]/, ""); print where $0 }'
)

# [text](target), unless it leads out.
while IFS=: read -r file line target; do
  case $target in http* | '#'* | mailto*) continue ;; esac
  target=${target%%#*}
  [ -e "$(dirname "$file")/$target" ] || complain "$file:$line: dead link: $target"
done < <(grep -HnoE '\]\([^) ]+\)' "${documents[@]}" | sed -E 's/\]\((.*)\)$/\1/')

targets=$(sed -nE 's/^([a-z][a-z0-9 %-]*):( |$).*/\1/p' Makefile | tr ' ' '\n')
while IFS=: read -r file line target; do
  grep -qxF "$target" <<<"$targets" && continue
  [[ $target == bench-* && -e tests/bench/${target#bench-}.sh ]] && continue
  complain "$file:$line: no such target: make $target"
done < <(grep -HnoE '`make [a-z][a-z0-9-]*[^a-z0-9-]' "${documents[@]}" | sed -nE 's/`make ([a-z0-9-]*)[` ]$/\1/p')
exit $bad
