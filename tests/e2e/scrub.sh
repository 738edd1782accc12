#!/bin/bash
# scrub.sh - rot in the image under a live mount: `weft scrub` finds it, names the file, and disturbs nobody.
# limit: 120
. "$(dirname "$0")/lib.sh" || exit 1
[ "$FSTYPE" = weft ] || skip "about our own tools"
need_root
e2e_begin 256M
weft=$WEFT_BIN/weft
must fs_mkfs
fs_mount || fail "cannot mount"
must mkdir "$MNT/folder"
# A pattern that can be found in the image again.
yes "this is the precious file" | head -c 4000000 >"$SCRATCH/precious"
must cp "$SCRATCH/precious" "$MNT/folder/precious"
head -c 20000000 /dev/urandom >"$MNT/other" || fail "cannot write"
must sync
must "$weft" scrub "$MNT" >"$SCRATCH/clean"
grep -q 'errors *0' "$SCRATCH/clean" || fail "a clean volume: $(cat "$SCRATCH/clean")"

# With somebody writing, and slowly.
touch "$SCRATCH/go"
(while [ -e "$SCRATCH/go" ]; do dd if=/dev/urandom of="$MNT/busy" bs=64k count=20 conv=notrunc 2>/dev/null; done) &
writer=$!
begin=$(date +%s%N)
must "$weft" scrub --rate 12M --json "$MNT" >"$SCRATCH/busy"
took=$((($(date +%s%N) - begin) / 1000000))
rm "$SCRATCH/go"
wait "$writer"
grep -q '"errors":0' "$SCRATCH/busy" || fail "while others write: $(cat "$SCRATCH/busy")"
[ "$took" -gt 1000 ] || fail "24 MB at 12 MB a second in $took ms"

at=$(grep -obUa -m1 "this is the precious file" "$IMAGE" | head -n 1 | cut -d : -f 1)
[ -n "$at" ] || fail "the file is not in the image"
printf 'ROT' | dd of="$IMAGE" bs=1 seek=$((at + 8192)) conv=notrunc 2>/dev/null || fail "cannot damage the image"
"$weft" scrub "$MNT" >"$SCRATCH/found"
[ $? = 1 ] || fail "rot was not found: $(cat "$SCRATCH/found")"
# Which block of the file it is depends on the order of write-back.
grep -q "WRONG: $MNT/folder/precious: 1 block from block [0-9]* of the file on (block $(((at + 8192) / 4096)) of the volume)" "$SCRATCH/found" || fail "not named: $(cat "$SCRATCH/found")"
grep -q "scrub: inode" "$SERVER_LOG" || fail "no line in the server's log"
echo 3 >/proc/sys/vm/drop_caches
cat "$MNT/folder/precious" >/dev/null 2>&1 && fail "rot was read as if nothing were"
must rm "$MNT/folder/precious"
must "$weft" scrub "$MNT" >/dev/null
"$weft" scrub "$IMAGE" 2>/dev/null
[ $? = 1 ] || fail "scrubs what is not a mount point"
must fs_umount
must fs_check
say pass
