#!/bin/bash
# big_folder.sh - a folder of a million entries: made, searched, listed while others come and go, emptied.
# limit: 1800
. "$(dirname "$0")/lib.sh" || exit 1
e2e_begin 4G
must fs_mkfs
fs_mount || fail "cannot mount"
path=$(helper posix_names) || exit 1
must limit 1700 "$path" "$MNT" --seed "$SEED" --long --filter "a million entries"
[ -z "$SERVER_PID" ] || say "the server took $(awk '/^VmHWM/ { print $2, $3 }' "/proc/$SERVER_PID/status") at most"
fs_cycle
must fs_umount
say pass
