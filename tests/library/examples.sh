#!/bin/bash
# examples.sh - the examples of sched/examples/ build against the installed library as a user builds them, and do what they say.
# needs: pkgconf g++
# limit: 300
. "$(dirname "$0")/lib.sh"
bin=$WEFT_TMP/bin
mkdir "$bin"
for example in sched/examples/*.cc; do
  name=$(basename "$example" .cc)
  # shellcheck disable=SC2046
  g++ -std=c++23 -O2 -Wall -Wextra -Wpedantic -Werror "$example" -o "$bin/$name" $(package --cflags --libs weft-sched) || fail "$name does not build"
done
says() {  # says EXPECTED COMMAND...
  local expected=$1 got
  shift
  got=$(timeout 60 "$@" 2>&1) || fail "$(basename "$1"): exit status $?: $got"
  [ "$got" = "$expected" ] || fail "$(basename "$1") says: $got"
  echo "ok  $(basename "$1")"
}

mkdir -p "$WEFT_TMP"/tree/{a,b/c/d,b/e}
for i in $(seq 20); do head -c 1000 /dev/zero >"$WEFT_TMP/tree/b/c/$i"; done
ln -s ../b "$WEFT_TMP/tree/a/link"
says "6 folders, 21 files, 20000 bytes" "$bin/walk" --workers 2 "$WEFT_TMP/tree"
if "$bin/walk" "$WEFT_TMP/nothing" 2>"$WEFT_TMP/says"; then fail "walk walks where nothing is"; fi
grep -q "nothing.*No such file" "$WEFT_TMP/says" || fail "walk says: $(cat "$WEFT_TMP/says")"

for i in $(seq 3000); do echo "The fiber waits, the worker does not. Fiber $i: a"; done >"$WEFT_TMP/text"
says "$(printf '%6d %s\n' 6000 fiber 6000 the 3000 a 3000 does 3000 not 3000 waits 3000 worker)" \
  bash -c "'$bin/pipeline' --counters 3 <'$WEFT_TMP/text'"
says "refused: there is no such question
sum 21253400, later 36, threads 4" "$bin/embed"

# The README's own example.
awk '/^```cpp/ { on = 1; next } /^```/ { on = 0 } on' README.md >"$WEFT_TMP/readme.cc"
# shellcheck disable=SC2046
g++ -std=c++23 -O2 -Wall -Wextra -Werror "$WEFT_TMP/readme.cc" -o "$bin/readme" $(package --cflags --libs weft-sched) || fail "the README's example does not build"
says 328350 "$bin/readme"

"$bin/echo" --serve 127.0.0.1:0 >"$WEFT_TMP/address" 2>&1 &
server=$!
for _ in $(seq 100); do grep -q . "$WEFT_TMP/address" && break; sleep 0.1; done
address=$(sed -n 's/^listening on //p' "$WEFT_TMP/address")
says "20 clients, 2000 echoes" "$bin/echo" --clients 20 --messages 100 "$address"
kill -TERM "$server"
wait "$server" || fail "the echo server does not end well: $(cat "$WEFT_TMP/address")"
tail -n 1 "$WEFT_TMP/address" | grep -q '^served 20 connections$' || fail "the echo server says: $(cat "$WEFT_TMP/address")"
# A simulation finds what was planted by a seed, gives the same trace again, and finds nothing where it is repaired.
if "$bin/lease" >"$WEFT_TMP/says"; then fail "lease loses no update: $(cat "$WEFT_TMP/says")"; fi
grep -q '^seed [0-9]* loses an update: lease --seed' "$WEFT_TMP/says" || fail "lease says: $(cat "$WEFT_TMP/says")"
seed=$(sed -n 's/.*--seed //p' "$WEFT_TMP/says")
if "$bin/lease" --seed "$seed" >"$WEFT_TMP/replay"; then fail "lease --seed $seed loses no update"; fi
tail -n 1 "$WEFT_TMP/replay" | grep -q '^and again the same trace$' || fail "lease --seed $seed: $(tail -n 1 "$WEFT_TMP/replay")"
"$bin/lease" --fixed | grep -q '^1000 seeds, [0-9]* updates, none lost$' || fail "lease --fixed loses an update"
echo "ok  lease"

for name in walk pipeline echo lease; do "$bin/$name" --help | grep -q "^usage: $name" || fail "$name --help"; done
echo "examples are as they should be"
