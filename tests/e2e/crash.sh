#!/bin/bash
# crash.sh - kill -9 of the server again and again under synced changes: each recovery keeps all that was acknowledged.
# SIZE_MIB=16 is a volume whose log wraps and which is often full.
# needs: e2fsprogs util-linux
# limit: 240
. "$(dirname "$0")/lib.sh" || exit 1
CRASH=1
CRASH_ROUNDS=${ROUNDS:-$(slice 6 2)}
size_mib=${SIZE_MIB:-512}
e2e_begin "${size_mib}M"
# The load beside the acknowledged one: names come and go without any sync, and a large file is written that has none.
workload() {
    local i=0
    while :; do
        i=$((i + 1))
        if [ $((i % 40)) = 1 ]; then
            exec 9<>"$MNT/nameless.$i" && rm "$MNT/nameless.$i" && head -c $((size_mib * 65536)) /dev/zero >&9 || return
            sync -d /dev/fd/9
        fi
        mkdir -p "$MNT/load/$((i % 7))" || return
        echo "$i" >"$MNT/load/$((i % 7))/$i" || return
        [ $((i % 3)) = 0 ] && mv "$MNT/load/$((i % 7))/$i" "$MNT/load/moved.$i"
        [ $((i % 5)) = 0 ] && rm -rf "$MNT/load/$((i % 7))"
    done
}
after_crash() {
    find "$MNT" -type f -exec cat {} + | cat >/dev/null || return
    # What had no name any more is gone with its space, a little after the mount at the latest.
    local try used named
    for try in $(seq 40); do
        sync -f "$MNT"
        used=$(stat -f -c '%b %f %S' "$MNT" | awk '{ print int(($1 - $2) * $3 / 1024) }')
        named=$(du -sk "$MNT" | cut -f1)
        [ $((used - named)) -gt $((size_mib * 40)) ] || return 0
        sleep 0.5
    done
    say "$used KiB are in use, $named KiB belong to files"
    return 1
}
e2e_workload 4
