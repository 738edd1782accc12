#!/bin/bash
# tests/sched/soak.sh - the scheduler's tests over and over: lost wake-ups, shutdown, migration, destruction, deadlines and stops are races.
#
#   tests/sched/soak.sh PROGRAM     PROGRAM is the unit tests of sched, of any flavour
#
# Rounds alternate between all CPUs and a single one, where threads are preempted in the middle of what they do elsewhere in one go, and
# shuffle the cases. A wake-up that is lost hangs its round: then where each thread stands is shown. Ends after SOAK_SECONDS (3600), or at
# the first failure, which the seed of the shuffle repeats as far as races can be.
set -u
program=$1
seconds=${SOAK_SECONDS:-3600}
round_limit=${SOAK_ROUND_LIMIT:-120}
cases='-*Model.*:*DeathTest.*:Explorer.*:Gdb.*'  # what is no race, or too slow to do often
log=$(mktemp "${TMPDIR:-/tmp}/weft-soak.XXXXXX")
trap 'rm -f "$log"' EXIT

SECONDS=0 rounds=0 ran=0
while [ "$SECONDS" -lt "$seconds" ]; do
  rounds=$((rounds + 1))
  where=(); [ $((rounds % 2)) = 0 ] && where=(taskset -c "$((rounds / 2 % $(nproc)))")
  "${where[@]}" "$program" --gtest_filter="$cases" --gtest_shuffle --gtest_random_seed="$rounds" >"$log" 2>&1 &
  pid=$! limit=$((SECONDS + round_limit))
  while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$limit" ]; do sleep 0.2; done
  if kill -0 "$pid" 2>/dev/null; then
    tail -n 5 "$log"
    echo "round $rounds (seed $rounds, ${where[*]:-all CPUs}): no end within $round_limit s"
    gdb -p "$pid" -batch -ex 'thread apply all bt 12' 2>/dev/null | grep -v '^\[New LWP'
    kill -KILL "$pid"
    exit 1
  fi
  if ! wait "$pid"; then
    grep -B 20 'FAILED' "$log" | head -n 60
    echo "round $rounds (seed $rounds, ${where[*]:-all CPUs}): failed"
    exit 1
  fi
  ran=$((ran + $(grep -c '^\[       OK' "$log")))
  [ -t 1 ] && printf '\r%d rounds, %d cases, %d of %d s ' "$rounds" "$ran" "$SECONDS" "$seconds"
done
[ -t 1 ] && echo
echo "$rounds rounds, $ran cases in $SECONDS s: nothing failed, nothing hung"
