#!/bin/bash
# confine.sh - what the server holds while it serves, what an image may give to those who use it, and names that want to be commands.
# limit: 200
. "$(dirname "$0")/lib.sh" || exit 1
[ "$FSTYPE" = weft ] || skip "about our own tools"
need_root
need setpriv
e2e_begin 64M
nobody=(setpriv --reuid nobody --regid nogroup --clear-groups)

# status FIELD : what all threads of the server agree on in /proc/PID/status. Those that io_uring has put among them (iou-wrk-...) are the
# kernel's: they act with the credentials of who handed in the request.
status() {
    grep -L '^Name:[[:space:]]*iou-' /proc/"$SERVER_PID"/task/*/status |
        xargs sed -n "s/^$1:[[:space:]]*//p" | sort -u | paste -sd' '
}
all_fields() { for field in CapInh CapPrm CapEff CapAmb NoNewPrivs Seccomp; do printf '%s=%s ' "$field" "$(status $field)"; done; }
none=0000000000000000
# Calls that the filter did not know: the kernel's log names them. 435 is clone3(2), which is meant to be refused.
refused_calls() {
    dmesg 2>/dev/null | grep -F 'type=1326' | grep -F "pid=$1 " | grep -oE 'syscall=[0-9]+' | grep -vx 'syscall=435' | sort | uniq -c
}
ends_well() {
    local waited=0
    while kill -0 "$1" 2>/dev/null && [ $waited -lt 300 ]; do sleep 0.1; waited=$((waited + 1)); done
    kill -0 "$1" 2>/dev/null && fail "the server goes on"
    wait "$1" || fail "the server ends with $?"
}

say "a server at work has no privileges, cannot get any, and makes no other system calls than a server's"
must fs_mkfs
fs_mount confine=on,metrics="$SCRATCH/metrics.json",trace="$SCRATCH/trace.json" || {
    grep -q 'cannot be confined' "$SERVER_LOG" && skip "$(grep -m 1 'cannot be confined' "$SERVER_LOG")"
    fail "does not mount"
}
server=$SERVER_PID
wanted="CapInh=$none CapPrm=$none CapEff=$none CapAmb=$none NoNewPrivs=1 Seccomp=2 "
[ "$(all_fields)" = "$wanted" ] || fail "$(all_fields)"
mkdir "$MNT/work" && cp -r "$E2E_DIR" "$MNT/work/" && diff -r "$E2E_DIR" "$MNT/work/e2e" || fail "a copy differs"
writers=()
for n in $(seq 40); do
    { head -c 100000 /dev/urandom >"$MNT/work/$n" && sync "$MNT/work/$n"; } &
    writers+=($!)
done
for writer in "${writers[@]}"; do wait "$writer" || fail "a write or its fsync"; done
must fallocate -p -o 0 -l 65536 "$MNT/work/1"
rm -r "$MNT/work/e2e" && must sync -f "$MNT"
must fstrim "$MNT" # which asks /proc for the caller's privileges
rm "$SCRATCH/metrics.json"
kill -USR1 "$server"
for n in $(seq 50); do [ -s "$SCRATCH/metrics.json" ] && break; sleep 0.1; done
[ -s "$SCRATCH/metrics.json" ] || fail "SIGUSR1 brings no metrics"
[ "$(all_fields)" = "$wanted" ] || fail "after some work: $(all_fields)"
kill -TERM "$server"
ends_well "$server"
mounted "$MNT" && fail "still mounted after SIGTERM"
tail -c 4 "$SCRATCH/trace.json" | grep -qF ']}' || fail "the trace is not whole"
must fs_check
[ -z "$(refused_calls "$server")" ] || fail "calls that the filter does not know: $(refused_calls "$server")"

say "SIGTERM on a mount in use"
fs_mount || fail "does not mount"
server=$SERVER_PID
exec 5>"$MNT/open"
kill -TERM "$server"
for n in $(seq 100); do mounted "$MNT" || break; sleep 0.1; done
mounted "$MNT" && fail "not even lazily unmounted"
echo late >&5 && exec 5>&- || fail "an open file cannot be written any more"
ends_well "$server"
must fs_check

say "confine=off keeps them"
fs_mount confine=off || fail "does not mount"
[ "$(status CapEff)" = "$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)" ] || fail "CapEff $(status CapEff)"
[ "$(status NoNewPrivs)" = 0 ] || fail "NoNewPrivs $(status NoNewPrivs)"
[ "$(cat "$MNT/open")" = late ] || fail "what was written to the open file is lost"

say "setuid programs and devices as the mount options say"
cp /usr/bin/id "$MNT/id" && chmod 4755 "$MNT/id" && mknod -m 666 "$MNT/zero" c 1 5 || fail "cannot make them"
must fs_umount
gains() { [ "$("${nobody[@]}" "$MNT/id" -u)" = 0 ]; }
opens() { "${nobody[@]}" head -c 1 "$MNT/zero" >/dev/null 2>&1; }
must fs_mount
gains || fail "a setuid program without effect"
opens || fail "a device cannot be opened"
must fs_umount
must fs_mount nosuid
gains && fail "setuid on a nosuid mount"
opens || fail "nosuid keeps from devices"
must fs_umount
must fs_mount nodev
opens && fail "a device on a nodev mount"
gains || fail "nodev keeps from setuid"
must fs_umount
must fs_mount noexec
"${nobody[@]}" "$MNT/id" >/dev/null 2>&1 && fail "run from a noexec mount"
must fs_umount

# What an ordinary user mounts gives nobody anything: not even an image that root has filled.
by_user() {
    local user=("${nobody[@]}" env "HOME=$SCRATCH") other=(setpriv --reuid daemon --regid daemon --clear-groups)
    trap 'umount -l "$SCRATCH/inner" 2>/dev/null' EXIT
    mkdir -p "$SCRATCH/inner" || return
    if ! "${user[@]}" sh -c ': <>/dev/fuse' 2>/dev/null; then
        mknod -m 666 "$SCRATCH/fuse" c 10 229 && mount --bind "$SCRATCH/fuse" /dev/fuse || return 77
        "${user[@]}" sh -c ': <>/dev/fuse' 2>/dev/null || return 77
    fi
    : >"$SCRATCH/fuse.conf" && touch /etc/fuse.conf && mount --bind "$SCRATCH/fuse.conf" /etc/fuse.conf || return 77
    mkdir -p "$SCRATCH/home" && cp "$IMAGE" "$SCRATCH/home/own" && chown -R nobody:nogroup "$SCRATCH/home" "$SCRATCH/inner" || return
    limit 30 "${user[@]}" "$WEFT_BIN/mount.weft" "$SCRATCH/home/own" "$SCRATCH/inner" -o suid,dev </dev/null || return
    awk -v d="$SCRATCH/inner" '$5 == d { print "mounted with " $6; if ($6 ~ /nosuid/ && $6 ~ /nodev/) found = 1 } END { exit !found }' \
        /proc/self/mountinfo || return
    [ "$("${user[@]}" "$SCRATCH/inner/id" -u)" = "$(id -u nobody)" ] || { echo "setuid on a user's mount"; return 1; }
    "${user[@]}" head -c 1 "$SCRATCH/inner/zero" >/dev/null 2>&1 && { echo "a device on a user's mount"; return 1; }
    "${other[@]}" ls "$SCRATCH/inner" >/dev/null 2>&1 && { echo "another user enters"; return 1; }
    local server
    server=$(awk '$2 == "FLOCK" { print $5 }' /proc/locks | while read -r pid; do
        grep -qzxF "$SCRATCH/home/own" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"; done | head -n 1)
    grep -qx 'Seccomp:	2' "/proc/$server/status" && grep -qx 'NoNewPrivs:	1' "/proc/$server/status" ||
        { echo "a user's server ($server) is not confined"; return 1; }
    kill -TERM "$server" || return
    for n in $(seq 100); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
    mounted "$SCRATCH/inner" && { echo "a user's server does not unmount at SIGTERM"; return 1; }
    limit 30 "${user[@]}" "$WEFT_BIN/mount.weft" "$SCRATCH/home/own" "$SCRATCH/inner" -o allow_other </dev/null 2>&1 &&
        { echo "allow_other without user_allow_other"; return 1; }
    echo user_allow_other >"$SCRATCH/fuse.conf"
    limit 30 "${user[@]}" "$WEFT_BIN/mount.weft" "$SCRATCH/home/own" "$SCRATCH/inner" -o allow_other </dev/null || return
    "${other[@]}" ls "$SCRATCH/inner" >/dev/null || { echo "allow_other, and others do not enter"; return 1; }
    limit 60 "${user[@]}" fusermount3 -u "$SCRATCH/inner"
}
say "a user's mount: no setuid programs, no devices, no other users"
if command -v fusermount3 >/dev/null; then
    export -f by_user limit mounted
    export SCRATCH IMAGE WEFT_BIN
    declare -p nobody >"$SCRATCH/by_user.env"
    own_mounts 120 ". '$SCRATCH/by_user.env'; by_user" >"$SCRATCH/by_user.log" 2>&1
    case $? in
    0) ;;
    77) say "  not here: /dev/fuse is closed to users" ;;
    *) fail "$(tail -n 5 "$SCRATCH/by_user.log")" ;;
    esac
else
    say "  not here: no fusermount3"
fi

say "names that want to be commands"
evil='a; touch PWNED $(touch PWNED) `touch PWNED` "x" \ , '"'"$'\n''touch PWNED #'
mkdir "$SCRATCH/names" && cd "$SCRATCH/names" || fail "no folder"
mkdir "$evil" && truncate -s 32M "$evil.img" || fail "no such names here"
at_exit() { umount -l "$SCRATCH/names/$evil" 2>/dev/null; }
printf 'loop %s\n' "$SCRATCH/names" >>"$SCRATCH/state"
must mkfs.weft -L '$(touch PWNED);`id`' "$evil.img" >/dev/null
must weft info "$evil.img" >/dev/null
limit 30 mount.weft "$evil.img" "$evil" -v >>"$SERVER_LOG" 2>&1 </dev/null || fail "does not mount: $(tail -n 3 "$SERVER_LOG")"
echo inside >"$evil/$(tr '\n' ' ' <<<"$evil")" && [ -n "$(ls "$evil")" ] || fail "cannot be written"
server=$(awk '$2 == "FLOCK" { print $5 }' /proc/locks | while read -r pid; do
    grep -qzF "$evil.img" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"; done | head -n 1)
[ -n "$server" ] || fail "no server"
kill -TERM "$server"
for n in $(seq 100); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
kill -0 "$server" 2>/dev/null && fail "does not unmount at SIGTERM"
must fsck.weft -n -f "$evil.img" >/dev/null
[ -z "$(find / "$SCRATCH" -xdev -maxdepth 4 -name PWNED -print -quit 2>/dev/null)" ] || fail "a name was run as a command"
say pass
