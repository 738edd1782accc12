#!/bin/bash
# supervise.sh - with -o supervise the server may die: kill -9 once a second under loads none of which may see an error.
# needs: fio sqlite3 attr
# limit: 400
. "$(dirname "$0")/lib.sh" || exit 1
need fio sqlite3
[ "$FSTYPE" = weft ] || skip "only Weft's server has a supervisor"
e2e_begin 1G
seconds=${SECONDS_OF_KILLS:-$(slice 60 6)}

# The server of the supervisor that was started; empty between two.
server() { cut -d ' ' -f 1 <"/proc/$SERVER_PID/task/$SERVER_PID/children" 2>/dev/null; }
# wait_server [OTHER_THAN] : until there is one, not that one.
wait_server() {
    local try pid
    for try in $(seq 200); do
        pid=$(server)
        if [ -n "$pid" ] && [ "$pid" != "${1:-}" ]; then printf '%s\n' "$pid"; return 0; fi
        sleep 0.05
    done
    return 1
}
# kill_each_second COUNT : kill -9 of whatever server there is.
kill_each_second() {
    local i pid
    for i in $(seq "$1"); do
        sleep 1
        pid=$(server)
        [ -n "$pid" ] && kill -KILL "$pid" && kills=$((kills + 1))
        kill -0 "$SERVER_PID" || fail "the supervisor ended after $kills kills"
    done
}

# ---- loads; each runs at least as long as servers are killed
verified() {
    local name=$1
    shift
    while [ "$SECONDS" -lt "$until" ]; do
        fio --name="$name" --directory="$MNT" --size=16M --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed="$SEED" \
            --minimal "$@" >/dev/null || return
        rm -f "$MNT/$name".* || return
    done
}
sqlite_load() {
    local mode=$1 rows=0
    sqlite3 "$MNT/$mode.db" "PRAGMA journal_mode=$mode; CREATE TABLE t(n INTEGER PRIMARY KEY, body BLOB);" >/dev/null || return
    while [ "$SECONDS" -lt "$until" ]; do
        sqlite3 -bail "$MNT/$mode.db" "PRAGMA synchronous=FULL; BEGIN; INSERT INTO t(body) VALUES(randomblob(5000)); COMMIT;
            INSERT INTO t(body) VALUES(randomblob(100)); UPDATE t SET body=randomblob(300) WHERE n % 9 = 3;" || return
        rows=$((rows + 2))
    done
    [ "$(sqlite3 "$MNT/$mode.db" "PRAGMA integrity_check;")" = ok ] || return
    [ "$(sqlite3 "$MNT/$mode.db" "SELECT count(*) FROM t;")" = "$rows" ]
}
# load NAME COMMAND... : in the background, its output kept.
load() {
    local name=$1
    shift
    "$@" >"$SCRATCH/load.$name" 2>&1 &
    loads[$!]=$name
}
killed_under_load() {
    local names files pid status=0
    declare -A loads=()
    names=$(helper steady_names) && files=$(helper steady_files) || exit 1
    must fs_mkfs
    must fs_mount supervise
    until=$((SECONDS + seconds + 2))
    load direct-4k verified direct4k --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=16
    load buffered-64k verified buffered64k --rw=randwrite --bs=64k --ioengine=psync --fsync=16
    if [ -z "$QUICK" ]; then
        load buffered-5000 verified buffered5000 --rw=randwrite --bs=5000 --ioengine=psync
        load direct-1m verified direct1m --rw=randwrite --bs=1m --direct=1 --ioengine=libaio --iodepth=4
        load mapped verified mapped --rw=randwrite --bs=4k --ioengine=mmap
    fi
    load sqlite-wal sqlite_load wal
    load sqlite-delete sqlite_load delete
    load names "$names" "$MNT" $((seconds + 2)) 3
    load files "$files" "$MNT" $((seconds + 2))
    kills=0
    kill_each_second "$seconds"
    for pid in "${!loads[@]}"; do
        wait "$pid" || { say "${loads[$pid]} failed:"; tail -n 5 "$SCRATCH/load.${loads[$pid]}"; status=1; }
    done
    cat "$SCRATCH/load.names" "$SCRATCH/load.files"
    [ $status = 0 ] || fail "a load saw the server die ($kills kills)"
    [ "$kills" -ge $((seconds / 2)) ] || fail "only $kills kills in $seconds s"
    must fs_umount
    must fs_check
    say "$kills kills, no error"
}

# A server that stands still is replaced, and who waited goes on.
stopped() {
    local pid
    must fs_mount supervise,watchdog=2
    echo before >"$MNT/file" || fail "write"
    pid=$(wait_server) || fail "no server"
    kill -STOP "$pid"
    limit 30 cat "$MNT/file" "$MNT/none" >/dev/null 2>&1
    [ "$(limit 30 cat "$MNT/file")" = before ] || fail "the file is gone with the server"
    [ "$(server)" != "$pid" ] || fail "the server that stood still is still there"
    grep -q "stood still" "$SERVER_LOG" || fail "nothing in the log"
    must fs_umount
    must fs_check
}

# umount(8) whose server dies meanwhile, and SIGTERM to the supervisor.
ended() {
    local pid i
    must fs_mount supervise
    for i in $(seq 200); do echo "$i" >"$MNT/file.$i" || fail "write"; done
    pid=$(wait_server)
    limit 60 umount "$MNT" &
    kill -KILL "$pid"
    wait $! || fail "umount"
    fs_left || fail "the supervisor outlives the mount"
    must fs_check
    must fs_mount supervise
    [ "$(cat "$MNT/file.200")" = 200 ] || fail "a file is gone"
    kill -TERM "$SERVER_PID"
    fs_left || fail "SIGTERM does not end the supervisor"
    mounted "$MNT" && fail "SIGTERM does not unmount"
    must fs_check
}
# fs_left : the supervisor ends by itself.
fs_left() {
    local try
    for try in $(seq 300); do
        kill -0 "$SERVER_PID" 2>/dev/null || { wait "$SERVER_PID"; left=$?; SERVER_PID=; return 0; }
        sleep 0.1
    done
    return 1
}

# In the background, as mount(8) starts it; and an image that cannot be mounted, or is in use even while its server is dead.
background() {
    local said pids
    said=$(limit 60 mount.weft "$IMAGE" "$MNT" -v -o supervise 2>&1) || fail "mount in the background: $said"
    [[ $said = *" mounted at $MNT "* ]] || fail "it says: $said"
    pids=$(pgrep -f "mount.weft $IMAGE ")
    [ "$(wc -l <<<"$pids")" = 2 ] || fail "processes: $pids"
    SERVER_PID=$(head -n 1 <<<"$pids")
    printf 'group %s\n' "$SERVER_PID" >>"$SCRATCH/state"
    kill -STOP "$SERVER_PID"
    kill -KILL "$(server)"
    said=$(limit 60 fsck.weft -n "$IMAGE" 2>&1) && fail "fsck.weft looks at an image between two servers"
    [[ $said = *"in use"* ]] || fail "fsck.weft says: $said"
    kill -CONT "$SERVER_PID"
    [ "$(cat "$MNT/file.200")" = 200 ] || fail "a file is gone"
    limit 60 umount "$MNT" || fail "umount"
    for _ in $(seq 100); do pgrep -f "mount.weft $IMAGE " >/dev/null || break; sleep 0.1; done
    pgrep -f "mount.weft $IMAGE " >/dev/null && fail "a process outlives the mount"
    SERVER_PID=
    must fs_check
    head -c 20M /dev/zero >"$SCRATCH/empty"
    said=$(limit 60 mount.weft "$SCRATCH/empty" "$MNT" -o supervise 2>&1)
    [ $? = 32 ] && [[ $said = *"not a Weft volume"* ]] || fail "mounting nothing: $said"
    mounted "$MNT" && fail "a refused image is mounted"
    return 0
}

# No server can come back: an error, not a wait without end.
beyond_help() {
    local pid
    must fs_mount supervise
    echo something >"$MNT/file" || fail "write"
    pid=$(wait_server)
    dd if=/dev/zero of="$IMAGE" bs=1M count=16 conv=notrunc status=none
    dd if=/dev/zero of="$IMAGE" bs=1M seek=1008 count=16 conv=notrunc status=none
    kill -KILL "$pid"
    # Who waits already gets ECONNABORTED, who comes later ENOTCONN.
    limit 60 stat "$MNT/another" >/dev/null 2>&1
    [ $? = 1 ] || fail "who waited for a server gets no error"
    [[ $(limit 60 stat "$MNT/another" 2>&1) = *"not connected"* ]] || fail "no ENOTCONN"
    fs_left || fail "the supervisor does not give up"
    [ "$left" = 32 ] || fail "the supervisor ends with $left"
    grep -q "again and again" "$SERVER_LOG" || fail "nothing in the log"
    force_umount "$MNT"
    detach_loops "$IMAGE"
}

must killed_under_load
must stopped
must ended
must background
must beyond_help
say "pass"
