#!/bin/bash
# crash.sh - kill -9 of the server again and again under synced changes: each recovery keeps all that was acknowledged.
# needs: e2fsprogs util-linux
# limit: 240
. "$(dirname "$0")/lib.sh" || exit 1
CRASH=1
CRASH_ROUNDS=${ROUNDS:-4}
e2e_begin 512M
# The load beside the acknowledged one: names come and go without any sync.
workload() {
    local i=0
    while :; do
        i=$((i + 1))
        mkdir -p "$MNT/load/$((i % 7))" || return
        echo "$i" >"$MNT/load/$((i % 7))/$i" || return
        [ $((i % 3)) = 0 ] && mv "$MNT/load/$((i % 7))/$i" "$MNT/load/moved.$i"
        [ $((i % 5)) = 0 ] && rm -rf "$MNT/load/$((i % 7))"
    done
}
after_crash() { find "$MNT" -type f -exec cat {} + | cat >/dev/null; }
e2e_workload 4
