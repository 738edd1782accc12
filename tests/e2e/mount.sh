#!/bin/bash
# mount.sh - the ways to make, mount, remount, check and unmount an image, and what is refused.
# limit: 200
. "$(dirname "$0")/lib.sh" || exit 1
[ "$FSTYPE" = weft ] || skip "about our own tools"
e2e_begin 128M
refused() { limit 20 "$@" >"$SCRATCH/refused.log" 2>&1 && fail "not refused: $*"; [ -s "$SCRATCH/refused.log" ] || fail "refused without a word: $*"; }
# Mounts in the background, as mount(8) does: when the command returns, the mount answers.
background() {
    printf 'mount %s\nloop %s\n' "$2" "$1" >>"$SCRATCH/state"
    limit 30 mount.weft "$@" >>"$SERVER_LOG" 2>&1 </dev/null || return
    mounted "$2"
}
# The server of a background mount ends by itself once it is unmounted; umount returns when all is in the image.
unmount() {
    if [ "$(id -u)" = 0 ]; then limit 60 umount "$1"; else limit 60 fusermount3 -u "$1"; fi
}
SERVER_PID=

say "mkfs.weft refuses what would lose data"
must fs_mkfs -L first
refused mkfs.weft "$IMAGE"
must mkfs.weft --force -L again "$IMAGE" >/dev/null
if command -v mkfs.ext4 >/dev/null; then
    truncate -s 64M "$SCRATCH/other"
    must mkfs.ext4 -q -F "$SCRATCH/other"
    refused mkfs.weft "$SCRATCH/other"
    refused mount.weft "$SCRATCH/other" "$MNT"
fi
refused mkfs.weft "$SCRATCH/no/such/folder/image"
refused mkfs.weft
head -c 1000 /dev/urandom >"$SCRATCH/tiny"
refused mkfs.weft --force "$SCRATCH/tiny"
must mkfs.weft --size 32M "$SCRATCH/sized" >/dev/null
[ "$(stat -c %s "$SCRATCH/sized")" = $((32 << 20)) ] || fail "--size 32M makes $(stat -c %s "$SCRATCH/sized") bytes"
must fsck.weft -n -f "$SCRATCH/sized" >/dev/null

say "a mount in the background"
background "$IMAGE" "$MNT" || fail "mount.weft does not mount: $(tail -n 3 "$SERVER_LOG")"
must sh -c "echo kept >'$MNT/file'"
[ "$(id -u)" = 0 ] && { [ "$(stat -c %a "$MNT")" = 755 ] || fail "the root folder has mode $(stat -c %a "$MNT")"; }
mkdir "$SCRATCH/second"
say "the same image is not mounted twice, nor made anew, nor repaired, while it is mounted"
refused mount.weft "$IMAGE" "$SCRATCH/second"
refused mkfs.weft --force "$IMAGE"
refused fsck.weft -y "$IMAGE"
[ "$(cat "$MNT/file")" = kept ] || fail "the mount is harmed"

say "umount returns when all is in the image"
for round in $(seq 10); do
    head -c 3000000 /dev/urandom >"$MNT/round.$round"
    sum=$(sha1sum <"$MNT/round.$round")
    must unmount "$MNT"
    cp --sparse=always "$IMAGE" "$SCRATCH/copy"
    must fsck.weft -n -f "$SCRATCH/copy" >/dev/null
    background "$SCRATCH/copy" "$MNT" || fail "the copy of round $round does not mount"
    [ "$(sha1sum <"$MNT/round.$round")" = "$sum" ] || fail "round $round: not all was in the image when umount returned"
    must unmount "$MNT"
    background "$IMAGE" "$MNT" || fail "round $round: does not mount again"
done
must unmount "$MNT"

say "what stat(2) says before umount it says afterwards"
background "$IMAGE" "$MNT" || fail "does not mount"
mkdir "$MNT/times"
for n in $(seq 40); do
    head -c $((n * 20000)) /dev/urandom >"$MNT/times/$n"
    # Pages that are dirty again while, or after, they are written back; no time is set by anyone.
    (printf x | dd of="$MNT/times/$n" conv=notrunc bs=1 seek=$((n * 777)) && sync -d "$MNT/times/$n" && printf y >>"$MNT/times/$n") 2>/dev/null
    dd if=/dev/zero of="$MNT/times/big.$n" bs=64k count=6 2>/dev/null && printf z | dd of="$MNT/times/big.$n" conv=notrunc bs=1 seek=5 2>/dev/null
done
manifest "$MNT/times" >"$SCRATCH/before"
must unmount "$MNT"
background "$IMAGE" "$MNT" || fail "does not mount"
manifest "$MNT/times" | diff - "$SCRATCH/before" >"$SCRATCH/difference" || fail "differs: $(head -n 6 "$SCRATCH/difference")"
must unmount "$MNT"

say "mounted read-only"
background "$IMAGE" "$MNT" -o ro || fail "-o ro does not mount"
[ "$(cat "$MNT/file")" = kept ] || fail "cannot be read"
touch "$MNT/new" 2>/dev/null && fail "written through a read-only mount"
must unmount "$MNT"

if [ "$(id -u)" = 0 ]; then
    say "remounted read-only and back"
    background "$IMAGE" "$MNT" || fail "does not mount"
    must limit 20 mount -i -o remount,ro "$MNT"
    touch "$MNT/new" 2>/dev/null && fail "written after remount,ro"
    must limit 20 mount -i -o remount,rw "$MNT"
    must touch "$MNT/new"
    must unmount "$MNT"

    say "on a block device"
    device=$(losetup -f --show "$IMAGE") || fail "no loop device"
    background "$device" "$MNT" || fail "a block device does not mount"
    [ "$(cat "$MNT/file")" = kept ] || fail "cannot be read"
    must sh -c "echo device >'$MNT/device' && sync -f '$MNT'"
    must unmount "$MNT"
    must losetup -d "$device"
fi

say "as an ordinary user"
if [ "$(id -u)" = 0 ] && [ -n "$(find /dev/fuse -perm -006)" ] && command -v fusermount3 >/dev/null; then
    chattr -i "$MNT" 2>/dev/null
    chown 65521:65521 "$IMAGE" "$MNT"
    printf 'mount %s\n' "$MNT" >>"$SCRATCH/state"
    limit 30 setpriv --reuid 65521 --regid 65521 --clear-groups env HOME="$SCRATCH" "$WEFT_BIN/mount.weft" "$IMAGE" "$MNT" >"$SCRATCH/user.log" 2>&1 </dev/null ||
        fail "cannot be mounted by a user: $(cat "$SCRATCH/user.log")"
    [ "$(setpriv --reuid 65521 --regid 65521 --clear-groups cat "$MNT/file")" = kept ] || fail "the user cannot read"
    must setpriv --reuid 65521 --regid 65521 --clear-groups fusermount3 -u "$MNT"
else
    say "  not here: /dev/fuse is closed to users, or there is no fusermount3"
fi

say "the smallest and a very large image"
for size in 8M 4T; do
    rm -f "$SCRATCH/sized"
    truncate -s $size "$SCRATCH/sized" 2>/dev/null || continue
    must limit 60 mkfs.weft "$SCRATCH/sized" >/dev/null
    background "$SCRATCH/sized" "$MNT" || fail "an image of $size does not mount"
    must sh -c "echo x >'$MNT/f' && mkdir '$MNT/d'"
    must unmount "$MNT"
    must limit 60 fsck.weft -n -f "$SCRATCH/sized" >/dev/null
    [ "$(du -k "$SCRATCH/sized" | cut -f1)" -lt 1000000 ] || fail "an image of $size takes $(du -h "$SCRATCH/sized")"
done

say "fsck.weft sees damage, and says so with 4"
must fsck.weft -n -f "$IMAGE" >/dev/null
cp "$IMAGE" "$SCRATCH/copy"
# Every second block of the first MiB: superblocks, roots, log.
for block in $(seq 1 2 255); do head -c 4096 /dev/urandom | dd of="$SCRATCH/copy" bs=4096 seek="$block" conv=notrunc status=none; done
limit 60 fsck.weft -n -f "$SCRATCH/copy" >"$SCRATCH/fsck.log" 2>&1
status=$?
[ $((status & 12)) != 0 ] || fail "fsck.weft of a damaged image exits with $status"
say pass
