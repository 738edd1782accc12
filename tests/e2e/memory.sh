#!/bin/bash
# memory.sh - a tree of a million files, made, walked and removed, under several settings of memory: the server stays within each, and
# lets go of what the kernel forgets.
# limit: 1800
. "$(dirname "$0")/lib.sh" || exit 1
[ "$FSTYPE" = weft ] || skip "measures weft's server"
need_root
files=${FILES:-$(slice 1000000 40000)}
e2e_begin 8G
extremes=$(helper extremes) || exit 1
UMOUNT_LIMIT=300

memory_of() { awk -v what="^$1:" '$0 ~ what { print int($2 / 1024) }' "/proc/$SERVER_PID/status"; }
# As of now: the file is replaced as a whole when the server is told to. What is zero is not in it.
metric() {
    local before waited
    before=$(stat -c %i "$SCRATCH/metrics.txt")
    kill -USR1 "$SERVER_PID"
    for waited in $(seq 100); do
        [ "$(stat -c %i "$SCRATCH/metrics.txt" 2>/dev/null)" = "$before" ] || break
        sleep 0.1
    done
    awk -v what="$1" '$1 == what { found = $2 } END { print found + 0 }' "$SCRATCH/metrics.txt"
}
within() {
    local most
    most=$(memory_of VmHWM)
    say "$1: $(memory_of VmRSS) MiB, $most at most, $(metric fs.inodes.referred) inodes referred to"
    [ "$most" -le "$memory" ] || fail "more than $memory MiB"
}
# So many descriptors as there were before anything was opened, once threads that idle have ended.
descriptors() { find "/proc/$SERVER_PID/fd" -mindepth 1 | wc -l; }

for memory in $(slice "64 256" 48); do
    say "$files files with $memory MiB"
    must fs_mkfs
    fs_mount "memory=${memory}M,metrics=$SCRATCH/metrics.txt" || fail "cannot mount"
    before=$(descriptors)
    must "$extremes" tree "$MNT/tree" "$files"
    within "made"
    [ "$(find "$MNT/tree" -type f -links 1 -printf x | wc -c)" = "$files" ] || fail "find finds another number of files"
    within "walked"
    # What is open, is removed while open, or fails leaves nothing behind either.
    for i in $(seq 200); do
        : <"$MNT/tree/0/entry-$i" && rm "$MNT/tree/0/entry-$i" && ! cat "$MNT/tree/0/entry-$i" 2>/dev/null || fail "open and remove"
    done
    echo 2 >/proc/sys/vm/drop_caches
    for waited in $(seq 20); do
        referred=$(metric fs.inodes.referred)
        [ "$referred" -gt $((files / 50)) ] || break
        sleep 0.5
    done
    [ "$referred" -le $((files / 50)) ] || fail "$referred inodes referred to although the kernel has dropped its caches"
    within "dropped by the kernel"
    must rm -r "$MNT/tree"
    within "removed"
    for waited in $(seq 100); do
        [ "$(descriptors)" = "$before" ] && break
        sleep 0.2
    done
    [ "$(descriptors)" = "$before" ] || fail "$before descriptors before, $(descriptors) after"
    must fs_umount
    must fs_check
done
say pass
