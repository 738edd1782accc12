#!/bin/bash
# sched.sh - measures the scheduler against its peers, in turn within one run, and prints tables and whether the aims are met.
# needs: libboost-fiber-dev libtbb-dev golang-go fio
#
#   weft          tests/bench/sched_bench.cc, whose head says what each row is; sched_io_bench.cc for sockets and files
#   boost_fiber   Boost.Fiber        tbb   oneTBB        goroutines   Go        std_thread   threads of the C++ library
#   fio           random reads only: its io_uring engine, one job
#
# Peers are in tests/bench/peers/, built here. What one of them cannot do is "-"; one that crashes or does not end is left out of the
# row, with a line that says so. A row is one process, so that its peak of memory is its own; every round runs each row on all systems
# in turn, and a process counts its second run, after one to warm up.
#
#   echo_N_rate, _p50, _p999   64 bytes there and back over loopback, N connections; the same client (peers/echo_load.cc) for all
#   file_read_N                random reads of 4 KiB past the page cache, N in flight; file_cpu_N: processors that took
#
# Environment: ROUNDS (5), WORKERS (2), SYSTEMS (names above), ROWS (names, or "echo" and "file" for all of these; all),
#   SECONDS_EACH (3, whole ones, of echo and file rows), FILE_MIB (1024), CONNECTIONS ("1 64 1000"), DEPTHS ("1 4 16 32 64 128"), LIMIT (120 s for a row), BENCH_DISK (folder of the file, build/bench),
#   QUICK=1 (one small round, to see that it works; aims are printed and not asked for)
# Output: build/bench/sched.jsonl (each single figure) and build/bench/sched.md (the tables). Exit 1 where an aim is missed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
out=$PWD/build/bench
programs=$PWD/build/release/bench
mkdir -p "$out" "$programs"
ROUNDS=${ROUNDS:-5} SECONDS_EACH=${SECONDS_EACH:-3} FILE_MIB=${FILE_MIB:-1024} scale=1
[ "${QUICK:-0}" = 1 ] && ROUNDS=1 SECONDS_EACH=1 FILE_MIB=64 scale=100 CONNECTIONS=${CONNECTIONS:-1 64} DEPTHS=${DEPTHS:-1 32}
WORKERS=${WORKERS:-2} CONNECTIONS=${CONNECTIONS:-1 64 1000} DEPTHS=${DEPTHS:-1 4 16 32 64 128} LIMIT=${LIMIT:-120}
SYSTEMS=${SYSTEMS:-weft boost_fiber tbb goroutines std_thread fio}
raw=$out/sched.jsonl
file=${BENCH_DISK:-$out}/sched.file
: >"$raw"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -f "$file"' EXIT
say() { echo "sched: $*" >&2; }

# ---------------------------------------------------------------- programs

# compile NAME SOURCE FLAGS... : if the source is newer.
compile() {
    local name=$1 source=$2
    shift 2
    [ "$programs/$name" -nt "$source" ] && [ "$programs/$name" -nt tests/bench/peers/peer.h ] && return
    say "building $name"
    g++ -std=c++20 -O2 -pthread -I. "$source" -o "$programs/$name" "$@" || { rm -f "$programs/$name"; say "$name cannot be built and is left out"; }
}
compile echo_load tests/bench/peers/echo_load.cc
compile boost_fiber tests/bench/peers/boost_fiber.cc -lboost_fiber -lboost_context
compile tbb tests/bench/peers/tbb.cc -ltbb
compile std_thread tests/bench/peers/std_thread.cc
if [ ! "$programs/goroutines" -nt tests/bench/peers/go/main.go ]; then
    say "building goroutines"
    GO111MODULE=off GOCACHE=$out/go-cache go build -o "$programs/goroutines" tests/bench/peers/go/main.go || say "goroutines cannot be built and are left out"
fi
# What goes by other names.
program_of() { if [ "$1" = weft ]; then echo "$programs/$2"; else echo "$programs/$1"; fi; }
for system in $SYSTEMS; do
    [ "$system" = fio ] || [ -x "$(program_of "$system" sched)" ] || SYSTEMS=${SYSTEMS//$system/}
done

declare -A left_out
# leave_out SYSTEM ROW STATUS
leave_out() {
    local why="exit status $3"
    if [ "$3" = 124 ] || [ "$3" = 137 ]; then why="no end within $LIMIT s"; elif [ "$3" -gt 128 ]; then why="signal $(kill -l $(($3 - 128)))"; fi
    say "$1 is left out of $2: $why"
    left_out[$1:$2]=1
}
wanted() { [ -z "${ROWS:-}" ] || grep -qwF -- "$1" <<<"$ROWS"; }

# ---------------------------------------------------------------- kinds of rows

declare -A offers
for system in $SYSTEMS; do
    [ "$system" = fio ] || offers[$system]=" $("$(program_of "$system" sched)" --list | tr '\n' ' ') "
done
# operation ROW : on each system that has it.
operation() {
    local system line status
    for system in $SYSTEMS; do
        [[ ${offers[$system]:-} == *" $1 "* ]] && [ -z "${left_out[$system:$1]:-}" ] || continue
        line=$(timeout --kill-after=5 "$LIMIT" "$(program_of "$system" sched)" --only "$1" --rounds 1 --workers "$WORKERS" --scale "$scale" --json 2>>"$out/sched.log")
        status=$?
        if [ $status != 0 ] || [ -z "$line" ]; then leave_out "$system" "$1" $status; continue; fi
        echo "{\"system\":\"$system\",${line#\{}" >>"$raw"
    done
}

# figure SYSTEM ROW UNIT VALUE
figure() { echo "{\"system\":\"$1\",\"row\":\"$2\",\"unit\":\"$3\",\"min\":$4,\"median\":$4}" >>"$raw"; }
value_of() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }

echo_row() {  # echo_row CONNECTIONS
    local system answer port options name
    for system in $SYSTEMS; do
        case $system in weft | goroutines) options="--workers $WORKERS" ;; std_thread) options= ;; *) continue ;; esac
        [ -z "${left_out[$system:echo_$1]:-}" ] || continue
        # shellcheck disable=SC2086
        "$(program_of "$system" sched_io)" echo $options >"$out/sched.port" 2>>"$out/sched.log" &
        server=$!
        for _ in $(seq 100); do port=$(cat "$out/sched.port"); [ -n "$port" ] && break; sleep 0.1; done
        answer=$(timeout --kill-after=5 "$LIMIT" "$programs/echo_load" --port "${port:-1}" --connections "$1" --seconds "$SECONDS_EACH" 2>>"$out/sched.log")
        status=$?
        kill "$server"
        wait "$server" 2>/dev/null
        server=
        if [ $status != 0 ]; then leave_out "$system" "echo_$1" $status; continue; fi
        figure "$system" "echo_$1_rate" trips/s "$(value_of rate <<<"$answer")"
        for name in p50 p999; do figure "$system" "echo_$1_$name" us "$(value_of $name <<<"$answer")"; done
    done
}

file_row() {  # file_row DEPTH
    local system answer
    for system in $SYSTEMS; do
        case $system in
        fio)
            # Fields of the terse format: 8 reads a second, 88 and 89 processor time in percent.
            answer=$(fio --name=reads --filename="$file" --direct=1 --rw=randread --bs=4k --ioengine=io_uring --iodepth="$1" --time_based \
                --runtime="$SECONDS_EACH" --minimal --terse-version=3 2>>"$out/sched.log" |
                awk -F';' '/^3;/ { printf "{\"iops\":%d,\"cpu\":%.3f}\n", $8, ($88 + $89) / 100 }') ;;
        weft | goroutines | std_thread)
            answer=$(timeout --kill-after=5 "$LIMIT" "$(program_of "$system" sched_io)" read --file "$file" --depth "$1" --seconds "$SECONDS_EACH" 2>>"$out/sched.log") ;;
        *) continue ;;
        esac
        if [ -z "$answer" ]; then leave_out "$system" "file_read_$1" 1; continue; fi
        figure "$system" "file_read_$1" reads/s "$(value_of iops <<<"$answer")"
        figure "$system" "file_cpu_$1" processors "$(value_of cpu <<<"$answer")"
    done
}

# ---------------------------------------------------------------- rounds

# Written, not only allocated: what was never written is not read from the disk.
if [ -z "${ROWS:-}" ] || grep -q file <<<"$ROWS"; then
    dd if=/dev/zero of="$file" bs=1M count="$FILE_MIB" conv=fdatasync status=none || say "no file to read from"
fi
ulimit -n "$(ulimit -Hn)"
for round in $(seq "$ROUNDS"); do
    say "round $round of $ROUNDS"
    for row in yield_2 yield_1000 spawn_join batch_100k batch_1m fib fib_spawn nqueens skynet_1m channel_same channel_across \
        mutex_free mutex_contended timer_arm_cancel timer_storm thread_ring; do
        if wanted "$row"; then operation "$row"; fi
    done
    for connections in $CONNECTIONS; do if wanted echo || wanted "echo_$connections"; then echo_row "$connections"; fi; done
    for depth in $DEPTHS; do if [ -e "$file" ] && { wanted file || wanted "file_read_$depth"; }; then file_row "$depth"; fi; done
done

model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
awk -v order="$SYSTEMS" -v machine="$(uname -r), $(nproc) CPUs ($model), $WORKERS workers, $ROUNDS rounds, $(date -u +%F)" \
    -f tests/bench/figures.awk -f tests/bench/sched_table.awk "$raw" >"$out/sched.md"
status=$?
cat "$out/sched.md"
[ "${QUICK:-0}" = 1 ] || exit $status
