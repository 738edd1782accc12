#!/bin/bash
# failing_disk.sh - the disk below takes no more writes: fsync says so, the mount turns read-only, what was acknowledged stays.
# limit: 300
. "$(dirname "$0")/lib.sh" || exit 1
[ "$FSTYPE" = weft ] || skip "about our own tools"
need_root
e2e_begin 512M
# A sparse image on a file system that is too small for it: every write of a block that is not there yet fails.
host=$SCRATCH/host
mkdir "$host"
printf 'mount %s\n' "$host" >>"$SCRATCH/state"
must mount -t tmpfs -o size=64M weft-e2e "$host"
IMAGE=$host/image
writer=$(helper acked_writer) || exit 1
must fs_mkfs
fs_mount || fail "cannot mount"
head -c 1000000 /dev/urandom >"$SCRATCH/precious"
must cp "$SCRATCH/precious" "$MNT/precious"
must sync "$MNT/precious"
# Ends by itself, with an error in every thread.
limit 120 "$writer" write "$MNT/acked" "$SCRATCH/acked" --seed "$SEED" --threads 3
dd if=/dev/zero of="$MNT/more" bs=1M count=100 conv=fsync 2>"$SCRATCH/dd" && fail "written and synced onto a disk that takes nothing"
grep -qE 'Input/output error|Read-only file system|No space left' "$SCRATCH/dd" || fail "not told why: $(cat "$SCRATCH/dd")"
limit 30 cmp "$SCRATCH/precious" "$MNT/precious" || fail "what was there cannot be read any more"
limit 30 ls -lR "$MNT" >/dev/null || fail "cannot be listed"
limit 60 umount "$MNT" || fail "cannot be unmounted"
say "$(tail -n 2 "$SERVER_LOG" | cut -c 1-200)"
must mount -o remount,size=900M "$host"
must fs_check
fs_mount || fail "does not mount on the mended disk"
must cmp "$SCRATCH/precious" "$MNT/precious"
must limit 120 "$writer" verify "$MNT/acked" "$SCRATCH/acked"
must cp "$SCRATCH/precious" "$MNT/again"
fs_cycle
must cmp "$SCRATCH/precious" "$MNT/again"
must fs_umount
say pass
