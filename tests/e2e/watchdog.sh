#!/bin/bash
# watchdog.sh - a request that hangs, because the device below no longer answers: it ends with an error, and sync(2) of the machine
# does not wait for it.
# limit: 300
#
#   mount.weft -> image, a file on another mount.weft -> SIGSTOP: all that the server asks of its device from then on hangs, the server
#   itself does not. SIGCONT before the end: nobody can kill a process that waits for an answer of FUSE.
. "$(dirname "$0")/lib.sh" || exit 1
[ "$FSTYPE" = weft ] || skip "only Weft's server has a watchdog"
need_root
# In a name space of its own, where /sys/fs/fuse/connections comes and goes; what other scripts have mounted goes from there first:
# such a copy would keep their server alive after their umount.
[ -n "${OWN_MOUNTS:-}" ] || OWN_MOUNTS=1 exec unshare --mount --propagation private bash "$0"
umount -l -a -t fuse.weft,fuseblk.weft,fusectl 2>/dev/null
e2e_begin 64M

below=$SCRATCH/below
device_begin() {
    local image=$SCRATCH/disk
    truncate -s 256M "$image" && mkdir -p "$below" || fail "cannot make $image"
    must limit 60 mkfs.weft -q "$image"
    printf 'mount %s\n' "$below" >>"$SCRATCH/state"
    start_server mount.weft "$image" "$below" -f -o plain_fuse,watchdog=0
    DEVICE_PID=$SERVER_PID
    for _ in $(seq 100); do mounted "$below" && break; sleep 0.1; done
    mounted "$below" || fail "the device does not mount"
    IMAGE=$below/image
}
device_end() {
    must limit 60 umount "$below"
    wait "$DEVICE_PID" || fail "the device ends with $?"
}
at_exit() { kill -CONT "${DEVICE_PID:-$$}" 2>/dev/null; }

patience=$(slice 4 2)
# hang OPTIONS : a file that is on disk, the device stopped, and an fsync on its way; WRITER is who makes it.
hang() {
    must fs_mkfs
    : >"$SERVER_LOG"
    must fs_mount "watchdog=$patience,$1"
    echo before >"$MNT/file" && sync "$MNT/file" || fail "write"
    kill -STOP "$DEVICE_PID"
    began=$SECONDS
    limit 90 dd if=/dev/zero of="$MNT/other" bs=4k count=1 conv=fsync status=none 2>"$SCRATCH/said" &
    WRITER=$!
}
noticed() { grep -q "a request has been under way for $patience s\|has stood still for $patience s" "$SERVER_LOG"; }
# again : after all that, what was synced is there.
again() {
    must fs_mount
    [ "$(cat "$MNT/file")" = before ] || fail "what was synced is gone"
    must fs_umount
    must fs_check
}

# The device never answers: an error, for whoever waits.
for_ever() {
    hang "$1"
    wait $WRITER
    case $? in
    0) fail "an fsync succeeds on a device that does not answer" ;;
    124 | 137) fail "an fsync on a device that does not answer waits for ever" ;;
    esac
    say "$1: after $((SECONDS - began)) s: $(tail -n 1 "$SCRATCH/said")"
    noticed || fail "nothing in the log"
    limit 30 sync -f "$MNT" 2>/dev/null
    [ $? -lt 124 ] || fail "syncfs of the dead mount hangs"
    kill -CONT "$DEVICE_PID"
    force_umount "$MNT" || fail "the mount stays"
    for _ in $(seq 300); do kill -0 -- "-$SERVER_PID" 2>/dev/null || break; sleep 0.1; done
    kill -0 -- "-$SERVER_PID" 2>/dev/null && fail "the server outlives its device's hang"
    wait "$SERVER_PID" 2>/dev/null
    SERVER_PID=
    detach_loops "$IMAGE"
    must again
}

# It answers again once the server that hung is gone: nobody but the log hears of it.
for_a_while() {
    hang "$1"
    for _ in $(seq 600); do noticed && break; sleep 0.1; done
    noticed || fail "nobody notices"
    kill -CONT "$DEVICE_PID"
    wait $WRITER || fail "the fsync fails: $(cat "$SCRATCH/said")"
    say "$1: after $((SECONDS - began)) s it goes on"
    [ "$(stat -c %s "$MNT/other")" = 4096 ] || fail "what it wrote is not there"
    must fs_umount
    must fs_check
    must again
}

device_begin
say "without /sys/fs/fuse/connections, as in a container"
must for_ever plain_fuse
must mount -t fusectl fusectl /sys/fs/fuse/connections
must for_ever plain_fuse,supervise
must for_a_while plain_fuse,supervise
device_end
say "pass"
