#!/bin/bash
# mount.sh - the ways to make, mount, remount, check and unmount an image, and what is refused.
# limit: 400
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
bdi=$(awk -v dir="$MNT" '$5 == dir { print $3 }' /proc/self/mountinfo | tail -n 1)
for folder in "/sys/class/bdi/$bdi-fuseblk" "/sys/class/bdi/$bdi"; do
    [ "$(id -u)" = 0 ] && [ -w "$folder/max_bytes" ] || continue
    # The kernel keeps it as a part of what may be dirty at all, and so not to the byte.
    [ "$(cat "$folder/strict_limit")" = 1 ] && awk '{ exit !($1 > 100e6 && $1 < 170e6) }' "$folder/max_bytes" ||
        fail "dirty pages are not held to 128 MiB: $(cat "$folder/strict_limit" "$folder/max_bytes")"
    break
done
mkdir "$SCRATCH/second"
say "the same image is not mounted twice, nor made anew, nor repaired, while it is mounted"
refused mount.weft "$IMAGE" "$SCRATCH/second"
refused mkfs.weft --force "$IMAGE"
for how in -n -p -y; do refused fsck.weft "$how" "$IMAGE"; done
[ "$(cat "$MNT/file")" = kept ] || fail "the mount is harmed"

say "umount returns when all is in the image"
for round in $(seq "$(slice 10 3)"); do
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
fi
# A container may have none of these.
loops() { [ "$(id -u)" = 0 ] && losetup -f >/dev/null 2>&1; }
if loops; then
    say "on a block device"
    device=$(losetup -f --show "$IMAGE") || fail "no loop device"
    background "$device" "$MNT" || fail "a block device does not mount"
    [ "$(cat "$MNT/file")" = kept ] || fail "cannot be read"
    must sh -c "echo device >'$MNT/device' && sync -f '$MNT'"
    must unmount "$MNT"
    must losetup -d "$device"
fi

say "a crashed image, read-only: all that was acknowledged can be read, and not a byte of it is changed"
fs_mount || fail "does not mount"
mkdir "$MNT/crashed"
for n in $(seq 30); do head -c $((n * 3000)) /dev/urandom >"$MNT/crashed/$n"; done
must sync -f "$MNT"
printf more >>"$MNT/crashed/30" && must sync "$MNT/crashed/30"
manifest "$MNT/crashed" >"$SCRATCH/before"
fs_kill
sum=$(sha1sum <"$IMAGE")
background "$IMAGE" "$MNT" -o ro || fail "does not mount read-only: $(tail -n 3 "$SERVER_LOG")"
manifest "$MNT/crashed" | diff - "$SCRATCH/before" >"$SCRATCH/difference" || fail "differs: $(head -n 6 "$SCRATCH/difference")"
touch "$MNT/crashed/new" 2>/dev/null && fail "written through a read-only mount"
must unmount "$MNT"
[ "$(sha1sum <"$IMAGE")" = "$sum" ] || fail "a read-only mount changes the image"
if loops; then
    device=$(losetup -r -f --show "$IMAGE") || fail "no loop device"
    background "$device" "$MNT" || fail "a write-protected device does not mount: $(tail -n 3 "$SERVER_LOG")"
    manifest "$MNT/crashed" | cmp - "$SCRATCH/before" || fail "differs on a write-protected device"
    touch "$MNT/crashed/new" 2>/dev/null && fail "written to a write-protected device"
    must unmount "$MNT"
    must losetup -d "$device"
fi
chmod 444 "$IMAGE"
background "$IMAGE" "$MNT" -o ro || fail "an image without w does not mount read-only"
manifest "$MNT/crashed" | cmp - "$SCRATCH/before" || fail "differs"
must unmount "$MNT"
chmod 644 "$IMAGE"
background "$IMAGE" "$MNT" || fail "does not mount again"
manifest "$MNT/crashed" | cmp - "$SCRATCH/before" || fail "differs after recovery"
must unmount "$MNT"
must fs_check

if [ "$(id -u)" = 0 ]; then
    say "shut down: nothing is taken any more, what was there is kept"
    background "$IMAGE" "$MNT" || fail "does not mount"
    head -c 300000 /dev/urandom >"$MNT/precious"
    sum=$(sha1sum <"$MNT/precious")
    must sync -f "$MNT"
    must "$(helper shutdown_fs)" "$MNT"
    { printf late >"$MNT/late" && sync "$MNT/late"; } 2>/dev/null && fail "written and synced after the shutdown"
    mkdir "$MNT/late.d" 2>/dev/null && fail "a folder was made after the shutdown"
    limit 60 umount "$MNT" || fail "cannot be unmounted after the shutdown"
    must fs_check
    background "$IMAGE" "$MNT" || fail "does not mount after the shutdown"
    [ "$(sha1sum <"$MNT/precious")" = "$sum" ] || fail "lost by the shutdown"
    { [ ! -e "$MNT/late" ] || [ ! -s "$MNT/late" ]; } && [ ! -e "$MNT/late.d" ] || fail "what was refused is there"
    must unmount "$MNT"
fi

if [ "$(id -u)" = 0 ]; then
    say "file handles outlive the mount, as NFS wants it, but not the file"
    handle=$(helper file_handle) || exit 1
    background "$IMAGE" "$MNT" || fail "does not mount"
    mkdir -p "$MNT/handles/deep/er" && echo content >"$MNT/handles/deep/file" && echo going >"$MNT/handles/gone" || fail "cannot write"
    file=$("$handle" take "$MNT/handles/deep/file") && folder=$("$handle" take "$MNT/handles/deep/er") &&
        gone=$("$handle" take "$MNT/handles/gone") || fail "no handles"
    must unmount "$MNT"
    background "$IMAGE" "$MNT" || fail "does not mount"
    [ "$("$handle" cat "$MNT" "$file")" = content ] || fail "a file is not found by its handle after another mount"
    [ "$("$handle" cat "$MNT" "$folder")" = "$MNT/handles/deep/er" ] || fail "a folder found by its handle is not connected to the root"
    rm "$MNT/handles/gone" && must unmount "$MNT"
    background "$IMAGE" "$MNT" || fail "does not mount"
    for n in $(seq 40); do echo new >"$MNT/handles/$n"; done
    "$handle" cat "$MNT" "$gone" 2>"$SCRATCH/stale.log"
    [ $? = 3 ] || fail "the handle of a removed file is not stale"
    must unmount "$MNT"
fi

# mount(8) looks for its helpers in /sbin alone. There they are put in a mount name space of our own, with an fstab.
by_mount() {
    mkdir -p "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/inner" || return
    # Where overlays cannot stand on the file system of the scratch folder, or at all.
    mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" /usr/sbin 2>/dev/null || return 77
    ln -s "$WEFT_BIN"/*.weft /usr/sbin/ || return
    # Asked for a loop device, mount(8) makes one.
    echo "$IMAGE $SCRATCH/inner weft $(loops && echo loop,)noauto,nodev,commit=2 0 2" >"$SCRATCH/fstab"
    mount --bind "$SCRATCH/fstab" /etc/fstab || return
    local round
    for round in type fstab; do
        if [ $round = type ]; then limit 30 mount -t weft -o noatime "$IMAGE" "$SCRATCH/inner"; else limit 30 mount "$SCRATCH/inner"; fi || return
        awk -v d="$SCRATCH/inner" '$2 == d { print $3, $4 }' /proc/mounts
        [ "$(cat "$SCRATCH/inner/file")" = kept ] && echo $round >"$SCRATCH/inner/by.$round" || return
        limit 30 mount -o remount,ro "$SCRATCH/inner" || return
        touch "$SCRATCH/inner/no" 2>/dev/null && return 1
        limit 30 mount -o remount,rw "$SCRATCH/inner" && touch "$SCRATCH/inner/yes.$round" || return
        findmnt -n -o FSTYPE,TARGET "$SCRATCH/inner" | grep -q weft || return
        limit 60 umount "$SCRATCH/inner" || return
    done
    limit 60 fsck -t weft -n "$IMAGE" >/dev/null || return
    limit 60 mkfs -t weft -n -f "$IMAGE" >/dev/null
}
if [ "$(id -u)" = 0 ]; then
    say "by mount -t weft, by fstab, and remounted so; fsck -t weft, mkfs -t weft"
    export -f by_mount limit loops
    export SCRATCH IMAGE WEFT_BIN
    own_mounts 150 by_mount >"$SCRATCH/by_mount.log" 2>&1
    case $? in
    0) grep -q weft "$SCRATCH/by_mount.log" || fail "$(cat "$SCRATCH/by_mount.log")" ;;
    77) say "  not here: no overlay" ;;
    *) fail "$(tail -n 5 "$SCRATCH/by_mount.log")" ;;
    esac
    background "$IMAGE" "$MNT" || fail "does not mount"
    [ -e "$MNT/by.type" ] && [ -e "$MNT/by.fstab" ] && [ ! -e "$MNT/no" ] || fail "what was written through mount(8) is not there"
    must unmount "$MNT"
fi

# /dev/fuse may be closed to users on this machine: in a mount name space of our own there is one that is open.
by_user() {
    # One with a name: fusermount3 looks for it.
    local user=(setpriv --reuid nobody --regid nogroup --clear-groups env "HOME=$SCRATCH") other=(setpriv --reuid daemon --regid daemon --clear-groups)
    trap 'umount -l "$SCRATCH/inner" 2>/dev/null' EXIT
    mkdir -p "$SCRATCH/inner" || return
    if ! "${user[@]}" sh -c ': <>/dev/fuse' 2>/dev/null; then
        mknod -m 666 "$SCRATCH/fuse" c 10 229 && mount --bind "$SCRATCH/fuse" /dev/fuse || return 77
        "${user[@]}" sh -c ': <>/dev/fuse' 2>/dev/null || return 77
    fi
    mkdir -p "$SCRATCH/home" && chown nobody:nogroup "$SCRATCH/home" "$SCRATCH/inner" || return
    limit 30 "${user[@]}" "$WEFT_BIN/mkfs.weft" -q --size 64M "$SCRATCH/home/own" || return
    limit 30 "${user[@]}" "$WEFT_BIN/mount.weft" "$SCRATCH/home/own" "$SCRATCH/inner" </dev/null || return
    "${user[@]}" sh -c 'cd "$1" && echo mine >file && mkdir d && ln file d/second && mv file d/first && sync d/first' sh "$SCRATCH/inner" || return
    # Nobody else gets in, not even root, and no device or setuid program is taken from it.
    "${other[@]}" cat "$SCRATCH/inner/d/first" >/dev/null 2>&1 && { echo "another user can read"; return 1; }
    cat "$SCRATCH/inner/d/first" >/dev/null 2>&1 && { echo "root can read"; return 1; }
    awk -v d="$SCRATCH/inner" '$2 == d && $4 ~ /nosuid/ && $4 ~ /nodev/ { found = 1 } END { exit !found }' /proc/mounts || return
    limit 60 "${user[@]}" fusermount3 -u "$SCRATCH/inner" || return
    # Plain fuse: umount(2) does not wait for the server, whose lock on the image a second mount waits for.
    limit 30 "${user[@]}" "$WEFT_BIN/mount.weft" "$SCRATCH/home/own" "$SCRATCH/inner" -o ro </dev/null || return
    [ "$("${user[@]}" cat "$SCRATCH/inner/d/second")" = mine ] || return
    "${user[@]}" touch "$SCRATCH/inner/no" 2>/dev/null && return 1
    limit 60 "${user[@]}" fusermount3 -u "$SCRATCH/inner" || return
    local waited=0
    until limit 60 "$WEFT_BIN/fsck.weft" -n -f "$SCRATCH/home/own" >/dev/null; do
        waited=$((waited + 1))
        [ $waited -lt 10 ] || return
        sleep 0.5
    done
}
say "as an ordinary user"
if [ "$(id -u)" = 0 ] && command -v fusermount3 >/dev/null; then
    export -f by_user limit
    export SCRATCH IMAGE WEFT_BIN
    own_mounts 150 by_user >"$SCRATCH/by_user.log" 2>&1
    case $? in
    0) ;;
    77) say "  not here: /dev/fuse is closed to users" ;;
    *) fail "$(tail -n 5 "$SCRATCH/by_user.log")" ;;
    esac
else
    say "  not here: not root, or there is no fusermount3"
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
