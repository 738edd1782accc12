#!/bin/bash
# soak.sh - everything at once for SOAK_SECONDS (3600): the server's memory stays within what it was allowed and does not creep,
# its descriptors are what they were, and every file is what it should be, live and after another mount.
# limit: 5400
# target: make soak
. "$(dirname "$0")/lib.sh" || exit 1
seconds=${SOAK_SECONDS:-$(slice 3600 15)}
files=${SOAK_FILES:-$(slice 1000000 6000)}
memory=${SOAK_MEMORY:-$(slice 128 64)} # MiB
e2e_begin "$(slice 64G 2G)"
UMOUNT_LIMIT=300
say "SEED=$SEED, $seconds s, $files files, $memory MiB"
must fs_mkfs
state=$SCRATCH/state.load
must mkdir "$state"
# A peer gets the load without the watcher: what the load finds there is wrong with the load.
options=
[ "$FSTYPE" = weft ] && options=memory=${memory}M,metrics=$SCRATCH/metrics.txt
fs_mount "$options" || fail "cannot mount"
load=$(helper soak_load) && watch=$(helper soak_watch) || exit 1
stat "$MNT" >/dev/null
start_group "$load" run "$MNT" "$state" --seconds "$seconds" --files "$files" --seed "$SEED"
load_group=$GROUP
# Now and then the kernel drops what it has cached, and with it the server's references.
drop_group=
if [ -w /proc/sys/vm/drop_caches ]; then
    start_group bash -c "while sleep $(slice 300 5); do echo 2 >/proc/sys/vm/drop_caches; done"
    drop_group=$GROUP
fi
if [ "$FSTYPE" = weft ]; then
    "$watch" "$SERVER_PID" "$state" --memory "$memory" --rise "$(slice $((memory / 32)) $((memory / 4)))" --metrics "$SCRATCH/metrics.txt" \
        --every "$(slice 5 1)" --line "$(slice 60 5)" &
    watcher=$!
fi
wait "$load_group"
load_status=$?
touch "$state/done"
watch_status=0
[ -z "${watcher:-}" ] || wait "$watcher" || watch_status=$?
[ -z "$drop_group" ] || end_group "$drop_group"
cat "$SCRATCH/workload.log"
[ $load_status = 0 ] || fail "the load found something (SEED=$SEED)"
[ $watch_status = 0 ] || fail "the server does not keep within its bounds"
fs_cycle "$options"
must limit 1800 "$load" verify "$MNT" "$state"
must fs_umount
must fs_check
say pass
