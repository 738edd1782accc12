#!/bin/bash
# full_disk.sh - a full disk says ENOSPC, keeps what it has, can still delete, and is as large as before afterwards.
# limit: 400
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
e2e_begin 64M
if [ "$CRASH" = 1 ]; then
    # Full, emptied and full again, with a server that is killed meanwhile.
    prepare() { mkdir "$MNT/keep" && head -c 1000000 /dev/urandom >"$SCRATCH/precious" && cp "$SCRATCH/precious" "$MNT/keep/precious"; }
    workload() {
        local i n=0
        # The writer of what is acknowledged goes first.
        sleep 0.5
        while [ -d "$MNT/keep" ]; do
            n=$((n + 1))
            mkdir -p "$MNT/fill"
            for i in $(seq 2000); do head -c $((RANDOM * 4)) /dev/zero >"$MNT/fill/$n.$i" || break; done
            cp "$SCRATCH/precious" "$MNT/fill/late.$n"
            dd if=/dev/zero of="$MNT/fill/large" bs=1M count=64 conv=fsync
            rm -rf "$MNT/fill"
        done
    }
    after_crash() {
        must cmp "$SCRATCH/precious" "$MNT/keep/precious"
        must rm -rf "$MNT/fill" "$MNT"/acked/*/*.new
        # Acknowledged data of round after round stays; a little has to fit beside it once the rest is gone.
        must sync -f "$MNT"
        head -c 300000 "$SCRATCH/precious" >"$MNT/again" && must sync "$MNT/again" && head -c 300000 "$SCRATCH/precious" | cmp - "$MNT/again" && rm "$MNT/again"
    }
    e2e_workload 8
    exit
fi
must fs_mkfs
fs_mount || fail "cannot mount"
free_kib() { sync -f "$MNT"; stat -f -c '%a %S' "$MNT" | awk '{ print $1 * $2 / 1024 }'; }
must mkdir "$MNT/keep"
head -c 1000000 /dev/urandom >"$SCRATCH/precious"
must cp "$SCRATCH/precious" "$MNT/keep/precious"
before=$(free_kib)
say "$before KiB free"
for round in $(slice "1 2 3" 1); do
    # With one large file, with many small ones, with names alone.
    case $round in
    1) dd if=/dev/zero of="$MNT/large" bs=1M count=200 2>"$SCRATCH/dd" && fail "dd fills the disk without an error"
        grep -q 'No space left' "$SCRATCH/dd" || fail "not ENOSPC: $(cat "$SCRATCH/dd")" ;;
    2) mkdir "$MNT/small"
        for i in $(seq 40000); do head -c 5000 /dev/zero >"$MNT/small/$i" 2>/dev/null || break; done
        [ "$i" -lt 40000 ] || fail "no end of small files" ;;
    3) mkdir "$MNT/names"
        long=$(printf 'n%.0s' $(seq 230))
        for d in $(seq 400); do
            mkdir "$MNT/names/$d" 2>/dev/null || break
            (cd "$MNT/names/$d" && seq -f "$long.%g" 2000 | xargs -n 500 touch) 2>/dev/null || break
        done
        [ "$d" -lt 400 ] || say "names alone do not fill it" ;;
    esac
    cmp "$SCRATCH/precious" "$MNT/keep/precious" || fail "full disk harms what was there"
    # Room is made by removing, whatever the log holds.
    must rm -rf "$MNT/large" "$MNT/small" "$MNT/names"
    must cp "$SCRATCH/precious" "$MNT/again"
    must cmp "$SCRATCH/precious" "$MNT/again"
    must rm "$MNT/again"
    must fs_umount
    must fs_check
    fs_mount || fail "cannot mount after the disk was full"
    must cmp "$SCRATCH/precious" "$MNT/keep/precious"
    after=$(free_kib)
    say "round $round: $after KiB free"
    awk -v a="$after" -v b="$before" 'BEGIN { exit !(a >= b * 0.93) }' || fail "space is lost: $before KiB before, $after KiB after"
done
# fsync on a full disk reports the lack, and never says yes to what it cannot keep.
dd if=/dev/zero of="$MNT/large" bs=64k count=3200 2>/dev/null
dd if=/dev/urandom of="$MNT/synced" bs=64k count=64 conv=fsync 2>"$SCRATCH/dd" && say "there was room for 4 MiB more"
must rm "$MNT/large"
must fs_umount
must fs_check
say pass
