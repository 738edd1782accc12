#!/bin/bash
# server_heap.sh - mount.weft on each heap it can be built with (HEAP=system, weft, jemalloc): what its server needs for the same work.
#
#   make bench-server_heap
#
# Every round makes a file system in memory anew for each heap in turn, and does on it: a tree of FILES files, a walk over it, a file of
# DATA_MIB written and read through the page cache's edge, the tree removed. Of the server are counted user and system seconds and the most
# it had resident; and what is resident IDLE_SECONDS after it has nothing to do. Least of the rounds.
#
# Environment: ROUNDS (3), FILES (40000), DATA_MIB (256), IDLE_SECONDS (3), HEAPS (system weft jemalloc), MEMORY (the option, 128M), BINS (a
#   folder that has HEAP/mount.weft for each: then nothing is built)
. "$(dirname "$0")/../e2e/lib.sh" || exit 1
need_root
rounds=${ROUNDS:-3} files=${FILES:-40000} data_mib=${DATA_MIB:-256} heaps=${HEAPS:-system weft jemalloc} idle=${IDLE_SECONDS:-3}
if [ -n "$QUICK" ]; then rounds=1 files=2000 data_mib=16 idle=1; fi
export WEFT_TMP=/dev/shm
E2E_SCRATCH=$WEFT_TMP
e2e_begin 2G
extremes=$(helper extremes) || exit 1
if [ -z "${BINS:-}" ]; then
    BINS=$SCRATCH/bins
    # Built one after another in the same folder: only the last step, linking, differs.
    for heap in $heaps; do
        must make -s -C "$ROOT" HEAP="$heap" build/release/bin/mount.weft >&2
        mkdir -p "$BINS/$heap" && must cp "$ROOT/build/release/bin/mount.weft" "$BINS/$heap/"
    done
    must make -s -C "$ROOT" build/release/bin/mount.weft >&2
fi
usual=$PATH
server_status() { awk -v what="^$1:" '$0 ~ what { print int($2 / 1024) }' "/proc/$SERVER_PID/status"; }
# User and system time.
server_seconds() { awk -v hertz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print $12 / hertz, $13 / hertz }' "/proc/$SERVER_PID/stat"; }
load() {
    must "$extremes" tree "$MNT/tree" "$files" >/dev/null
    [ "$(find "$MNT/tree" -type f -size -1M -printf x | wc -c)" = "$files" ] || fail "find finds another number of files"
    must dd if=/dev/zero of="$MNT/data" bs=1M count="$data_mib" conv=fsync status=none
    echo 1 >/proc/sys/vm/drop_caches
    must dd if="$MNT/data" of=/dev/null bs=1M status=none
    must rm -r "$MNT/tree" "$MNT/data"
}
for round in $(seq "$rounds"); do
    for heap in $heaps; do
        PATH=$BINS/$heap:$usual
        must fs_mkfs
        fs_mount "memory=${MEMORY:-128M}" || fail "cannot mount with the heap $heap"
        load
        seconds=$(server_seconds) peak=$(server_status VmHWM)
        sleep "$idle"
        echo "$heap $seconds $peak $(server_status VmRSS)"
        must fs_umount
    done
done | awk -v heaps="$heaps" '
    { if (!($1 in user) || $2 < user[$1]) user[$1] = $2
      if (!($1 in system_) || $3 < system_[$1]) system_[$1] = $3
      if (!($1 in peak) || $4 < peak[$1]) peak[$1] = $4
      if (!($1 in rest) || $5 < rest[$1]) rest[$1] = $5 }
    END {
      printf "%-10s %12s %12s %12s %12s\n", "heap", "user, s", "system, s", "peak, MiB", "idle, MiB"
      n = split(heaps, heap, " ")
      for (i = 1; i <= n; i++) printf "%-10s %12.2f %12.2f %12d %12d\n", heap[i], user[heap[i]], system_[heap[i]], peak[heap[i]], rest[heap[i]]
    }'
