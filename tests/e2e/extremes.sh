#!/bin/bash
# extremes.sh - a folder of ten million names, a file of a million extents, ten thousand folders below each other: made, used, checked,
# and what time and memory that takes of the server and of fsck.weft. PARTS chooses among names, extents and deep.
# limit: 7200
# target: make extremes
. "$(dirname "$0")/lib.sh" || exit 1
[ "$FSTYPE" = weft ] || skip "measures weft's server"
memory=${MEMORY:-$(slice 1024 64)} # MiB; with less than the names themselves take, each is a read and a write of some place on the disk
e2e_begin 64G
FSCK_LIMIT=1800 UMOUNT_LIMIT=300
extremes=$(helper extremes) || exit 1

begin() {
    must fs_mkfs
    fs_mount "memory=${memory}M" || fail "cannot mount"
}
server_memory() {
    local most
    most=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$SERVER_PID/status")
    say "the server took $most MiB at most, $memory allowed"
    [ "$most" -le "$memory" ] || fail "more than it may"
}
# Also what fsck.weft takes for it.
check() {
    server_memory
    must fs_umount
    must limit $FSCK_LIMIT "$extremes" measure fsck.weft -n -f "$IMAGE" >"$SCRATCH/fsck.log"
    grep ' took ' "$SCRATCH/fsck.log"
}
again() {
    check
    fs_mount "memory=${memory}M" || fail "cannot mount again"
}

names() {
    local count=${NAMES:-$(slice 10000000 30000)}
    say "a folder of $count names"
    begin
    must "$extremes" names "$MNT/names" "$count" "$SEED"
    check
}
extents() {
    local count=${EXTENTS:-$(slice 1000000 5000)} waited=0 before
    say "a file of $count extents"
    begin
    before=$(stat -f -c %f "$MNT")
    must "$extremes" extents "$MNT/file" "$count"
    again
    must rm "$MNT/file"
    # Its blocks come back while others are at work.
    until [ $(($(stat -f -c %f "$MNT") + 1000)) -ge "$before" ]; do
        sleep 0.1
        [ $((waited += 1)) -lt 1200 ] || fail "space is lost"
    done
    say "its space was back after $((waited / 10)).$((waited % 10)) s"
    check
}
deep() {
    local depth=${DEPTH:-$(slice 10000 2000)}
    say "$depth folders below each other"
    begin
    must "$extremes" deep "$MNT/deep" "$depth"
    again
    [ "$(find "$MNT/deep" -name bottom -printf %d)" = $((depth + 3)) ] || fail "find does not reach the bottom"
    must limit 600 rm -r "$MNT/deep"
    [ ! -e "$MNT/deep" ] || fail "not gone"
    check
}
for part in ${PARTS:-names extents deep}; do
    start=$EPOCHSECONDS
    "$part"
    say "$part: $((EPOCHSECONDS - start)) s"
done
say pass
