#!/bin/bash
# fs.sh - measures the file system against its peers, in turn within one run, and prints one table and the floors.
# needs: fio fuse2fs e2fsprogs libfuse3-dev pkgconf
#
#   weft         on a loop device (direct I/O) over a file on disk     weft-tmpfs   on an image in memory
#   ext4         the same loop device, the kernel's own                pt-tmpfs     libfuse's passthrough_ll over tmpfs
#   fuse2fs      the same loop device, ext4 through FUSE               pt-ext4      passthrough_ll over that ext4
#   fuse2fs-tmpfs   on an image in memory           before, before-tmpfs   as weft, with the programs in the folder WEFT_BEFORE
#
# Images are filled before, in memory as on disk, and no file system is told to discard them: nobody pays for their growing.
#
# Every round makes each file system anew and runs all rows on it; the table shows the median of the rounds, and in
# brackets ours as a multiple of the peer's (above 1 is better, also where less is better). Device rows count what the
# loop device completed meanwhile, from /sys/block/loopN/stat.
#
# Environment: FS (list of the names above), ROUNDS (3), FILES (10000), SYNC_OPS (1000), FIO_MIB (256), FIO_SECONDS (4),
#   QUICK=1 (one small round, to see that it works), BENCH_DISK (folder on the disk to measure, build/bench)
# Output: build/bench/fs.jsonl (each single figure) and build/bench/fs.md (the table). Exit 1 where a floor is missed.
. "$(dirname "$0")/../e2e/lib.sh" || exit 1
need_root
need fio losetup mkfs.ext4 awk
out=$ROOT/build/bench
mkdir -p "$out"
ROUNDS=${ROUNDS:-3} FILES=${FILES:-10000} SYNC_OPS=${SYNC_OPS:-1000} FIO_MIB=${FIO_MIB:-256} FIO_SECONDS=${FIO_SECONDS:-4} WEFT_BEFORE=${WEFT_BEFORE:-}
[ "${QUICK:-0}" = 1 ] && ROUNDS=1 FILES=500 SYNC_OPS=50 FIO_MIB=32 FIO_SECONDS=1
FS=${FS:-weft weft-tmpfs ext4 fuse2fs fuse2fs-tmpfs pt-tmpfs pt-ext4}
export WEFT_TMP=${BENCH_DISK:-$out}
E2E_SCRATCH=$WEFT_TMP
FSTYPE=passthrough e2e_begin 3G
FSTYPE=bench
memory=/dev/shm/weft-bench.$$
at_exit() {
    reap "$SCRATCH"
    rm -rf "$memory"
}
raw=$out/fs.jsonl
: >"$raw"
fs_ops=$ROOT/build/release/bench/fs_ops
if [ ! -x "$fs_ops" ] || [ "$ROOT/tests/bench/fs_ops_bench.cc" -nt "$fs_ops" ]; then
    mkdir -p "$(dirname "$fs_ops")"
    g++ -std=c++23 -O2 -pthread "$ROOT/tests/bench/fs_ops_bench.cc" -o "$fs_ops" || fail "cannot build fs_ops"
fi

# ---------------------------------------------------------------- one file system up and down

# attach : a loop device with direct I/O over a fresh file; its path in DEVICE.
attach() {
    rm -f "$IMAGE"
    fallocate -l 3G "$IMAGE" || truncate -s 3G "$IMAGE"
    printf 'loop %s\n' "$IMAGE" >>"$SCRATCH/state"
    DEVICE=$(losetup -f --show --direct-io=on "$IMAGE") || fail "no loop device with direct I/O"
}
# image_in_memory : a filled image; its path in SOURCE.
image_in_memory() {
    mkdir -p "$memory"
    SOURCE=$memory/image
    printf 'loop %s\n' "$SOURCE" >>"$SCRATCH/state"
    dd if=/dev/zero of="$SOURCE" bs=1M count=1024 status=none
}
# wait_mounted DIR
wait_mounted() {
    local waited=0
    until mounted "$1"; do
        kill -0 "$SERVER_PID" 2>/dev/null || return 1
        [ $waited -lt 300 ] || return 1
        sleep 0.1
        waited=$((waited + 1))
    done
}
ext4_on() { mkfs.ext4 -q -F -b 4096 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$1"; }
programs_of() { case $1 in before*) echo "$WEFT_BEFORE" ;; *) echo "$WEFT_BIN" ;; esac; }
start_weft() { start_server "$(programs_of "$1")/mount.weft" "$SOURCE" "$MNT" -f ${WEFT_OPTIONS:+-o "$WEFT_OPTIONS"}; }
up() {
    DEVICE=
    case $1 in weft | before | ext4 | fuse2fs | pt-ext4) attach ;; esac
    case $1 in
    weft | before | ext4 | fuse2fs | *-tmpfs | pt-*) printf 'mount %s\n' "$MNT" >>"$SCRATCH/state" ;;
    *) fail "unknown file system $1" ;;
    esac
    case $1 in
    weft | before | weft-tmpfs | before-tmpfs)
        SOURCE=$DEVICE
        case $1 in *-tmpfs) image_in_memory ;; esac
        "$(programs_of "$1")/mkfs.weft" --force --nodiscard "$SOURCE" >/dev/null || return
        start_weft "$1" ;;
    ext4)
        ext4_on "$DEVICE" && mount -t ext4 "$DEVICE" "$MNT"
        return ;;
    fuse2fs | fuse2fs-tmpfs)
        SOURCE=$DEVICE
        if [ "$1" = fuse2fs-tmpfs ]; then image_in_memory; fi
        ext4_on "$SOURCE" || return
        start_server fuse2fs "$SOURCE" "$MNT" -f -o allow_other,default_permissions ;;
    pt-tmpfs | pt-ext4)
        local backing=$memory/backing
        if [ "$1" = pt-ext4 ]; then
            backing=$SCRATCH/backing
            mkdir -p "$backing"
            printf 'mount %s\n' "$backing" >>"$SCRATCH/state"
            ext4_on "$DEVICE" && mount -t ext4 "$DEVICE" "$backing" || return
        fi
        mkdir -p "$backing"
        start_server "$(passthrough_ll)" -f -o "source=$backing,allow_other,default_permissions" "$MNT" ;;
    esac
    wait_mounted "$MNT"
}
down() {
    limit 120 umount "$MNT" || force_umount "$MNT"
    local waited=0
    while [ -n "$SERVER_PID" ] && kill -0 "$SERVER_PID" 2>/dev/null && [ $waited -lt 300 ]; do sleep 0.1; waited=$((waited + 1)); done
    [ -n "$SERVER_PID" ] && kill -KILL -- "-$SERVER_PID" 2>/dev/null
    SERVER_PID=
    if mounted "$SCRATCH/backing"; then limit 60 umount "$SCRATCH/backing"; fi
    if [ -n "$DEVICE" ]; then losetup -d "$DEVICE"; fi
    rm -rf "${memory:?}"
    rm -f "$IMAGE"
}

# ---------------------------------------------------------------- figures

figure() { printf '{"fs":"%s","round":%d,"row":"%s","value":%s}\n' "$1" "$round" "$2" "$3" >>"$raw"; }
# device_counts : bytes written and flushes completed so far by the device.
device_counts() { [ -n "$DEVICE" ] && awk '{ print $7 * 512, $16 }' "/sys/block/${DEVICE#/dev/}/stat"; }
# server_cpu_ms and server_peak_kib : of the server's whole session.
server_pids() { ps -o pid= -g "$SERVER_PID" 2>/dev/null; }
server_cpu_ms() {
    local pid
    for pid in $(server_pids); do sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null; done |
        awk -v tick="$(getconf CLK_TCK)" '{ sum += $12 + $13 } END { printf "%d", sum * 1000 / tick }'
}
server_peak_kib() {
    local pid
    for pid in $(server_pids); do sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null; done |
        awk '{ sum += $1 } END { printf "%d", sum }'
}
# ops FS THREADS PHASE... : runs fs_ops and writes down rate and latency of each phase, and what the device did in synced ones.
ops() {
    local fs=$1 threads=$2 phase before after line
    shift 2
    for phase; do
        before=$(device_counts)
        line=$(limit 300 "$fs_ops" "$MNT" --files "$FILES" --threads "$threads" --sync-ops "$((SYNC_OPS / threads + 1))" "$phase") ||
            { say "$fs: $phase fails"; continue; }
        after=$(device_counts)
        local rate median done_ops suffix=
        case $phase in durable | append) suffix=.$threads ;; esac
        rate=$(sed 's/.*"rate":\([0-9.]*\).*/\1/' <<<"$line")
        median=$(sed 's/.*"p50_us":\([0-9.]*\).*/\1/' <<<"$line")
        done_ops=$(sed 's/.*"ops":\([0-9]*\).*/\1/' <<<"$line")
        figure "$fs" "$phase$suffix" "$rate"
        [ -n "$suffix" ] || continue
        figure "$fs" "$phase$suffix.p50_us" "$median"
        [ -n "$before" ] || continue
        figure "$fs" "$phase$suffix.kib_per_op" "$(awk -v b="$before" -v a="$after" -v n="$done_ops" \
            'BEGIN { split(b, x); split(a, y); printf "%.2f", (y[1] - x[1]) / 1024 / n }')"
        figure "$fs" "$phase$suffix.flushes_per_op" "$(awk -v b="$before" -v a="$after" -v n="$done_ops" \
            'BEGIN { split(b, x); split(a, y); printf "%.3f", (y[2] - x[2]) / n }')"
    done
}
# fio_row FS ROW FIELD OPTIONS... : field 8 reads/s, 49 writes/s, 7 and 48 KiB/s of fio's terse output.
fio_row() {
    local fs=$1 row=$2 field=$3 value
    shift 3
    value=$(limit 300 fio --name=bench --filename="$MNT/fio" --size="${FIO_MIB}M" --output-format=terse --terse-version=3 --randrepeat=1 \
        --fallocate=none "$@" 2>>"$SCRATCH/fio.err" | awk -F ';' -v f="$field" '$1 == 3 && $5 == 0 { print $f }' | tail -n 1)
    if [[ $value =~ ^[0-9.]+$ ]]; then figure "$fs" "$row" "$value"; else say "$fs: $row fails: $(tail -n 1 "$SCRATCH/fio.err")"; fi
}
measure() {
    local fs=$1
    ops "$fs" 1 create write stat open readdir rename unlink durable append
    ops "$fs" 8 durable append
    fio_row "$fs" stream.write 48 --rw=write --bs=1m --end_fsync=1 --ioengine=psync
    # Cold: neither the mount's cache nor that of what lies below holds the file.
    remount "$fs" || return
    fio_row "$fs" stream.read 7 --rw=read --bs=1m --ioengine=psync
    local depth
    for depth in 1 32; do
        fio_row "$fs" "rand.read.$depth" 8 --rw=randread --bs=4k --direct=1 --ioengine=libaio --iodepth=$depth --runtime="$FIO_SECONDS" --time_based
        fio_row "$fs" "rand.write.$depth" 49 --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=$depth --runtime="$FIO_SECONDS" --time_based
    done
    if [ -n "$SERVER_PID" ]; then
        figure "$fs" server.cpu_ms $((cpu_so_far + $(server_cpu_ms)))
        figure "$fs" server.peak_kib "$(server_peak_kib)"
    fi
}
# remount FS : the same content under a new server; CPU time of the old one is kept.
remount() {
    [ -z "$SERVER_PID" ] || cpu_so_far=$(server_cpu_ms)
    sync -f "$MNT"
    limit 120 umount "$MNT" || return
    local waited=0
    while [ -n "$SERVER_PID" ] && kill -0 "$SERVER_PID" 2>/dev/null && [ $waited -lt 300 ]; do sleep 0.1; waited=$((waited + 1)); done
    case $1 in
    weft | before | weft-tmpfs | before-tmpfs) start_weft "$1" ;;
    ext4) mount -t ext4 "$DEVICE" "$MNT"; return ;;
    fuse2fs | fuse2fs-tmpfs) start_server fuse2fs "$SOURCE" "$MNT" -f -o allow_other,default_permissions ;;
    pt-tmpfs) start_server "$(passthrough_ll)" -f -o "source=$memory/backing,allow_other,default_permissions" "$MNT" ;;
    pt-ext4)
        umount "$SCRATCH/backing" && mount -t ext4 "$DEVICE" "$SCRATCH/backing" || return
        start_server "$(passthrough_ll)" -f -o "source=$SCRATCH/backing,allow_other,default_permissions" "$MNT" ;;
    esac
    wait_mounted "$MNT"
}

# ---------------------------------------------------------------- the run

for round in $(seq "$ROUNDS"); do
    for fs in $FS; do
        case $fs in
        weft* | before*) [ -x "$(programs_of "$fs")/mount.weft" ] || { say "no $(programs_of "$fs")/mount.weft: $fs is not measured"; continue; } ;;
        fuse2fs*) command -v fuse2fs >/dev/null || { say "no fuse2fs"; continue; } ;;
        esac
        say "round $round: $fs"
        SERVER_PID='' cpu_so_far=0
        if up "$fs"; then measure "$fs"; else say "$fs does not come up: $(tail -n 3 "$SERVER_LOG" 2>/dev/null)"; fi
        down
    done
done
awk -v order="$FS" -v machine="$(uname -r), $(nproc) CPUs, $ROUNDS rounds, $FILES files, $(date -u +%F)" -f "$ROOT/tests/bench/figures.awk" -f "$ROOT/tests/bench/fs_table.awk" "$raw" >"$out/fs.md"
status=$?
cat "$out/fs.md"
exit $status
