#!/bin/bash
# limits.sh - the limits that only a mount shows: names and paths, the smallest image, one of many TiB, weft's own look at them.
# limit: 120
. "$(dirname "$0")/lib.sh" || exit 1
THIS=$E2E_DIR/limits.sh
e2e_begin 4M
need_root

say "the smallest image: made, filled, emptied, mounted again"
must fs_mkfs
fs_mount || fail "cannot mount 4 MiB"
before=$(stat -f -c %a "$MNT")
for round in 1 2; do
    i=0
    while { head -c 4096 /dev/zero >"$MNT/$i"; } 2>/dev/null; do
        i=$((i + 1))
        [ $i -lt 2000 ] || fail "4 MiB do not fill"
    done
    [ $i -gt 400 ] || fail "only $i files of 4 KiB fit"
    must rm -rf "$MNT"/[0-9]*
    fs_cycle
done
after=$(stat -f -c %a "$MNT")
[ $((after + 16)) -ge "$before" ] || fail "space is lost: $before blocks before, $after after"

say "names of 255 bytes, paths of 4095"
name=$(printf 'n%.0s' $(seq 255))
must touch "$MNT/$name"
touch "$MNT/${name}n" 2>/dev/null && fail "a name of 256 bytes"
must rm "$MNT/$name"
# In steps: a path in one system call has 4095 bytes at most, the tree below may be deeper.
(cd "$MNT" && for _ in $(seq 20); do mkdir "$name" && cd "$name" || exit 1; done && echo deep >file) || fail "20 levels of long names"
(cd "$MNT" && for _ in $(seq 20); do cd "$name" || exit 1; done && [ "$(cat file)" = deep ]) || fail "the way down again"
target=$(printf 't%.0s' $(seq 4095))
must ln -s "$target" "$MNT/link"
[ "$(readlink "$MNT/link")" = "$target" ] || fail "a link of 4095 bytes"
must rm -rf "$MNT/$name"

say "a file of an exbibyte"
must truncate -s $((1 << 60)) "$MNT/large"
truncate -s $(((1 << 60) + 1)) "$MNT/large" 2>/dev/null && fail "a file above the limit"
must dd if=/dev/zero of="$MNT/large" bs=4096 count=1 seek=$(((1 << 48) - 1)) conv=notrunc status=none
[ "$(stat -c %b "$MNT/large")" = 8 ] || fail "an exbibyte of holes takes $(stat -c %b "$MNT/large") sectors"
must rm "$MNT/large"
must fs_umount
must fs_check

say "a sparse image of 16 TiB, in memory"
must mkdir "$SCRATCH/memory"
must mount -t tmpfs -o size=512m tmpfs "$SCRATCH/memory"
printf 'mount %s\n' "$SCRATCH/memory" >>"$SCRATCH/state"
IMAGE=$SCRATCH/memory/image
IMAGE_SIZE=16T
must fs_mkfs
used=$(du -m "$IMAGE" | cut -f1)
say "mkfs.weft writes $used MiB"
[ "$used" -le 64 ] || fail "an empty 16 TiB image takes $used MiB"
fs_mount || fail "cannot mount 16 TiB"
free=$(($(stat -f -c '%a * %S' "$MNT") >> 40))
[ $free -ge 15 ] || fail "only $free TiB free"
must cp "$THIS" "$MNT/script"
must dd if="$THIS" of="$MNT/far" bs=4096 seek=$((15 << 28)) conv=notrunc,fsync status=none
fs_cycle
must cmp "$THIS" "$MNT/script"
must cmp -i $((15 << 40)):0 "$MNT/far" "$THIS"
must fs_umount
must fs_check
must limit 60 weft info "$IMAGE" >/dev/null
must limit 60 weft stat "$IMAGE" >"$SCRATCH/stat" || fail "$(cat "$SCRATCH/stat")"
used=$(du -m "$IMAGE" | cut -f1)
[ "$used" -le 96 ] || fail "a 16 TiB image with two files takes $used MiB"
say pass
