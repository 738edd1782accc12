# shellcheck shell=bash
# lib.sh - what every end-to-end script stands on: an image, a mount of it, a server that may be killed, and a cleanup
# that leaves neither mount nor loop device nor process behind.
#
#   tests/run -> NAME.sh -> [lib.sh] -> mkfs.weft, mount.weft, fsck.weft (or a peer's)
#
# Every script runs unchanged over a peer, chosen by FSTYPE, so that a failing test can be told from a failing file
# system: what fails on ext4 is a broken test.
#
# From the environment
#   FSTYPE         weft (default) | ext4 | fuse2fs | passthrough
#   WEFT_BIN       folder of mkfs.weft, mount.weft, fsck.weft     (build/release/bin)
#   TEST_BIN       folder of the C++ helpers of tests/e2e         (build/release/tests/e2e)
#   WEFT_TMP       where images and mount points are made         (/tmp/weft-e2e)
#   CRASH          1: kill the server again and again under the workload; CRASH_ROUNDS times (3)
#   SEED           of the moments of those kills; printed, so that a run can be repeated
#   MOUNT_OPTIONS  for every mount of the script: io_uring=off,no_writeback, plain_fuse ...
#   QUICK          1: a slice of the script, for make test
#   KEEP           1: leave image and logs behind for a look
#
# Invariants   E1  whatever is mounted or attached is written to $SCRATCH/state first, so that tests/run can undo it
#                  even when the script itself was killed
#              E2  nothing here waits for a mount without a time limit, and none ever calls sync(1) on the whole machine

set -u -o pipefail
E2E_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$E2E_DIR/../.." && pwd)
FSTYPE=${FSTYPE:-weft}
WEFT_BIN=${WEFT_BIN:-$ROOT/build/release/bin}
TEST_BIN=${TEST_BIN:-$ROOT/build/release/tests/e2e}
E2E_SCRATCH=${WEFT_TMP:-/tmp/weft-e2e}
CRASH=${CRASH:-0}
CRASH_ROUNDS=${CRASH_ROUNDS:-$([ -n "${QUICK:-}" ] && echo 2 || echo 3)}
SEED=${SEED:-${WEFT_TEST_SEED:-$(($$ * 7919 + 17))}}
NAME=$(basename "$0" .sh)
QUICK=${QUICK:-}
export LC_ALL=C
# slice WHOLE QUICK : one of the two.
slice() { if [ -n "$QUICK" ]; then printf '%s\n' "$2"; else printf '%s\n' "$1"; fi; }

# ---------------------------------------------------------------- saying

say() { printf '[%s/%s] %s\n' "$NAME" "$FSTYPE" "$*"; }
skip() { say "SKIP: $*"; exit 77; }
fail() {
    say "FAIL: $*" >&2
    if [ -s "${SERVER_LOG:-/nonexistent}" ]; then
        printf -- '--- last lines of the server log\n' >&2
        tail -n 20 "$SERVER_LOG" >&2
    fi
    exit 1
}
# must COMMAND... : runs it, or ends the script with the command's name.
must() { "$@" || fail "exit $? of: $*"; }
# limit SECONDS COMMAND... : as timeout(1), TERM first and KILL 10 s later.
limit() { timeout -k 10 "$@"; }

# need COMMAND... : skips the script where one is not installed.
need() {
    local each
    for each; do command -v "$each" >/dev/null 2>&1 || skip "no $each on this machine"; done
}
need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }

# ---------------------------------------------------------------- helpers in C++

# helper NAME : prints the path of the program built from tests/e2e/NAME.cc, building it first if make(1) has not.
helper() {
    local out=$TEST_BIN/$1 source=$E2E_DIR/$1.cc
    if [ ! -x "$out" ] || [ "$source" -nt "$out" ] || [ -n "$(find "$E2E_DIR" -name '*.h' -newer "$out")" ]; then
        mkdir -p "$TEST_BIN"
        # Beside the target first: two scripts may build at once.
        g++ -std=c++23 -O2 -Wall -Wextra -pthread "$source" -o "$out.$$" >&2 || fail "cannot build $source"
        mv "$out.$$" "$out"
    fi
    printf '%s\n' "$out"
}

# ---------------------------------------------------------------- undoing

# mounted DIR : asks the kernel's table, never the mount itself, which may hang.
mounted() { awk -v dir="$1" '$5 == dir { found = 1 } END { exit !found }' /proc/self/mountinfo; }

# fuse_connection DIR : the connection's number under /sys/fs/fuse/connections: the device number of the mount.
fuse_connection() {
    awk -v dir="$1" '$5 == dir { split($3, d, ":"); print d[1] * 1048576 + d[2] }' /proc/self/mountinfo | tail -n 1
}
fuse_abort() {
    local number control=/sys/fs/fuse/connections
    number=$(fuse_connection "$1")
    [ -n "$number" ] || return 0
    [ "$(id -u)" = 0 ] && ! mountpoint -q $control && mount -t fusectl fusectl $control 2>/dev/null
    [ -w "$control/$number/abort" ] && echo 1 >"$control/$number/abort"
    return 0
}

# force_umount DIR : gets rid of the mount whatever state it is in.
force_umount() {
    local try
    for try in 1 2 3 4 5; do
        mounted "$1" || return 0
        if [ "$(id -u)" = 0 ]; then limit 10 umount "$1" 2>/dev/null; else limit 10 fusermount3 -u "$1" 2>/dev/null; fi
        mounted "$1" || return 0
        [ "$try" -ge 2 ] && fuse_abort "$1"
        if [ "$(id -u)" = 0 ]; then limit 10 umount -l "$1" 2>/dev/null; else limit 10 fusermount3 -uz "$1" 2>/dev/null; fi
    done
    ! mounted "$1"
}

# own_mounts SECONDS FUNCTION : runs an exported function in a mount name space of its own. What other scripts have mounted
# goes from there first: such a copy would keep their server alive after their umount. A bare root has no /etc/mtab, without which
# fusermount3 does not unmount: there it has one.
own_mounts() {
    SCRATCH=$SCRATCH limit "$1" unshare --mount --propagation private bash -c '
        umount -l -a -t fuse.weft,fuseblk.weft 2>/dev/null
        if [ ! -e /etc/mtab ]; then
            etc=$SCRATCH/etc.$$
            cp -a /etc "$etc" && ln -s /proc/self/mounts "$etc/mtab" && mount --bind "$etc" /etc || exit
        fi
        '"$2"
}

# detach_loops FILE : frees loop devices whose backing file it is, also ones that the server attached.
detach_loops() {
    local device
    [ "$(id -u)" = 0 ] || return 0
    losetup -n -O NAME -j "$1" 2>/dev/null | while read -r device; do losetup -d "$device" 2>/dev/null; done
    return 0
}

# reap SCRATCH : undoes all that a script wrote down there (E1). Safe to call twice.
reap() {
    local kind what
    [ -f "$1/state" ] || return 0
    while read -r kind what; do
        case $kind in
        mount) force_umount "$what" ;;
        esac
    done < <(tac "$1/state")
    while read -r kind what; do
        case $kind in
        group) kill -KILL -- "-$what" 2>/dev/null ;;
        loop) detach_loops "$what" ;;
        esac
    done < <(tac "$1/state")
    mounted "$1/mnt" || chattr -i "$1/mnt" 2>/dev/null
    return 0
}

e2e_cleanup() {
    local status=$?
    trap - EXIT INT TERM HUP
    cd / || true
    if [ "${BASHPID:-$$}" != "$$" ]; then exit $status; fi
    if declare -F at_exit >/dev/null; then at_exit; fi
    end_strays
    reap "$SCRATCH"
    if [ "${KEEP:-0}" = 1 ]; then say "left behind: $SCRATCH"; else rm -rf --one-file-system "$SCRATCH"; fi
    exit $status
}

# ---------------------------------------------------------------- one image and its mount

# e2e_begin SIZE : scratch folder, paths, cleanup. SIZE as truncate(1) takes it.
e2e_begin() {
    IMAGE_SIZE=$1
    SCRATCH=$E2E_SCRATCH/$NAME.$$
    IMAGE=$SCRATCH/image
    MNT=$SCRATCH/mnt
    SERVER_LOG=$SCRATCH/server.log
    SERVER_PID=
    mkdir -p "$MNT" || fail "cannot make $SCRATCH"
    # Other users walk through it to the mount.
    chmod 755 "$E2E_SCRATCH" "$SCRATCH" 2>/dev/null
    # What is written when the mount is gone must fail, not end up on the disk below.
    chattr +i "$MNT" 2>/dev/null
    : >"$SCRATCH/state"
    trap e2e_cleanup EXIT
    trap 'exit 143' INT TERM HUP
    case $FSTYPE in
    weft)
        for tool in mkfs.weft mount.weft fsck.weft; do
            [ -x "$WEFT_BIN/$tool" ] || skip "no $WEFT_BIN/$tool: build first"
        done
        PATH=$WEFT_BIN:$PATH ;;
    ext4) need_root && need mkfs.ext4 e2fsck losetup ;;
    fuse2fs) need mkfs.ext4 e2fsck fuse2fs ;;
    passthrough) passthrough_ll >/dev/null ;;
    *) fail "unknown FSTYPE $FSTYPE" ;;
    esac
    if [ "$FSTYPE" != ext4 ] && [ ! -w /dev/fuse ]; then
        skip "no /dev/fuse: in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN"
    fi
    # Some tools leave files where they stand.
    cd "$SCRATCH" || exit 1
    RANDOM=$((SEED % 32768))
}

# passthrough_ll : builds libfuse's own example once and prints its path.
passthrough_ll() {
    local out=$ROOT/build/bench/passthrough_ll folder=/usr/share/doc/libfuse3-dev/examples
    if [ ! -x "$out" ]; then
        local source=$folder/passthrough_ll.c
        [ -f "$source" ] || [ -f "$source.gz" ] || skip "no $source: install libfuse3-dev"
        mkdir -p "$ROOT/build/bench/src"
        cp "$folder"/passthrough_* "$ROOT/build/bench/src/"
        gunzip -qf "$ROOT"/build/bench/src/*.gz 2>/dev/null
        # shellcheck disable=SC2046
        gcc -O2 -w "$ROOT/build/bench/src/passthrough_ll.c" $(pkg-config --cflags --libs fuse3) -o "$out.$$" >&2 ||
            fail "cannot build passthrough_ll"
        mv "$out.$$" "$out"
    fi
    printf '%s\n' "$out"
}

# fs_mkfs [options] : a fresh image with a fresh file system on it.
fs_mkfs() {
    rm -f "$IMAGE"
    truncate -s "$IMAGE_SIZE" "$IMAGE" || fail "cannot make $IMAGE"
    case $FSTYPE in
    weft) limit 60 mkfs.weft "$@" "$IMAGE" >>"$SCRATCH/mkfs.log" 2>&1 || { cat "$SCRATCH/mkfs.log"; fail "mkfs.weft"; } ;;
    ext4 | fuse2fs) must mkfs.ext4 -q -F -b 4096 -I 256 -E lazy_itable_init=0,lazy_journal_init=0 "$IMAGE" ;;
    passthrough) rm -rf "$SCRATCH/backing"; mkdir "$SCRATCH/backing"; chmod 755 "$SCRATCH/backing" ;;
    esac
}

# start_server COMMAND... : in a session of its own, so that nothing of it survives fs_kill.
start_server() {
    setsid "$@" >>"$SERVER_LOG" 2>&1 </dev/null &
    SERVER_PID=$!
    printf 'group %s\n' "$SERVER_PID" >>"$SCRATCH/state"
}

# fs_mount [OPTION,...] : returns once the mount answers.
fs_mount() {
    local options=${1:-}
    options+=${MOUNT_OPTIONS:+${options:+,}$MOUNT_OPTIONS}
    printf 'mount %s\nloop %s\n' "$MNT" "$IMAGE" >>"$SCRATCH/state"
    case $FSTYPE in
    weft) start_server mount.weft "$IMAGE" "$MNT" -f ${options:+-o "$options"} ;;
    ext4)
        # e2fsck's own replay is not wanted here: the kernel's is what a reboot would do.
        must limit 60 mount -t ext4 -o "loop${options:+,$options}" "$IMAGE" "$MNT"
        return ;;
    fuse2fs) start_server fuse2fs "$IMAGE" "$MNT" -f -o "allow_other,default_permissions${options:+,$options}" ;;
    passthrough)
        start_server "$(passthrough_ll)" -f -o "source=$SCRATCH/backing,allow_other,default_permissions,xattr" "$MNT" ;;
    esac
    local waited=0
    until mounted "$MNT"; do
        kill -0 "$SERVER_PID" 2>/dev/null || return 1
        [ $waited -lt 300 ] || { kill -KILL -- "-$SERVER_PID"; return 1; }
        sleep 0.1
        waited=$((waited + 1))
    done
    limit 30 stat -f "$MNT" >/dev/null
}

# fs_umount : orderly; fails if it has to be forced. When it returns, everything is in the image.
fs_umount() {
    local waited=0
    if [ "$(id -u)" = 0 ]; then limit "${UMOUNT_LIMIT:-60}" umount "$MNT"; else
        limit "${UMOUNT_LIMIT:-60}" fusermount3 -u "$MNT"
    fi || { fs_busy; force_umount "$MNT"; return 1; }
    # The kernel lets go of the loop device, and so of the last writes, a little later.
    while [ "$FSTYPE" = ext4 ] && [ -n "$(losetup -n -O NAME -j "$IMAGE")" ] && [ $waited -lt 100 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    [ -n "$SERVER_PID" ] || return 0
    while kill -0 "$SERVER_PID" 2>/dev/null; do
        # A name space that was made while it was mounted (a container's, say) has the mount too, and so it goes on.
        if [ $waited = 100 ] && held_elsewhere; then waited=-1000; fi
        [ $waited -lt 300 ] || { kill -KILL -- "-$SERVER_PID"; say "server outlives umount by 30 s"; return 1; }
        sleep 0.1
        waited=$((waited + 1))
    done
    wait "$SERVER_PID" 2>/dev/null
    SERVER_PID=
}
held_elsewhere() {
    local holder
    holder=$(grep -lsF " $MNT " /proc/[0-9]*/mountinfo | head -n 1)
    [ -n "$holder" ] && say "unmounted, but not in the mount name space of process $(cut -d/ -f3 <<<"$holder"); waiting for that"
}
fs_busy() { command -v fuser >/dev/null && fuser -vm "$MNT" 2>&1 | tail -n 5 >&2; return 0; }

# fs_kill : the crash. Unflushed state of the server is gone; for ext4 the kernel shuts the volume down without
# writing its log, which is the same to whoever had it mounted.
fs_kill() {
    case $FSTYPE in
    ext4)
        "$(helper shutdown_fs)" "$MNT" || fail "cannot shut ext4 down"
        force_umount "$MNT" ;;
    *)
        # By its own number too: it may not have come to lead its group yet.
        kill -KILL -- "-$SERVER_PID" "$SERVER_PID" 2>/dev/null
        wait "$SERVER_PID" 2>/dev/null
        SERVER_PID=
        force_umount "$MNT"
        [ "$FSTYPE" = weft ] && detach_loops "$IMAGE" ;;
    esac
    mounted "$MNT" && fail "the mount survives its dead server"
    return 0
}

# fs_mount_cut : a mount whose server is killed within its first moments, most often while it recovers.
fs_mount_cut() {
    local pause=$((RANDOM % 120))
    case $FSTYPE in
    weft) start_server mount.weft "$IMAGE" "$MNT" -f ;;
    fuse2fs) start_server fuse2fs "$IMAGE" "$MNT" -f ;;
    *) return 0 ;;
    esac
    printf 'mount %s\nloop %s\n' "$MNT" "$IMAGE" >>"$SCRATCH/state"
    sleep "0.$(printf '%03d' $pause)"
    fs_kill
}

# fs_check : the checker finds nothing. Of a crashed image only weft's checker is asked before the replay: e2fsck -n
# leaves the journal alone and would complain of what it holds.
fs_check() {
    local status
    case $FSTYPE in
    weft)
        limit "${FSCK_LIMIT:-300}" fsck.weft -n -f "$IMAGE" >"$SCRATCH/fsck.log" 2>&1
        status=$? ;;
    ext4 | fuse2fs)
        limit 300 e2fsck -n -f "$IMAGE" >"$SCRATCH/fsck.log" 2>&1
        status=$? ;;
    *) return 0 ;;
    esac
    [ $status = 0 ] && return 0
    tail -n 40 "$SCRATCH/fsck.log" >&2
    say "fsck exits with $status"
    return 1
}

# fs_cycle : unmounts, checks, mounts again: what is there now is there from the image alone.
fs_cycle() {
    must fs_umount
    must fs_check
    must fs_mount "$@"
}

# ---------------------------------------------------------------- workloads, whole and under crashes

# end_group PGID : ends a workload that we started with start_group, and what it started in groups of their own
# (stress-ng does), which is known by a word in its environment.
end_group() {
    kill -TERM -- "-$1" 2>/dev/null
    local waited=0
    while kill -0 -- "-$1" 2>/dev/null && [ $waited -lt 30 ]; do sleep 0.1; waited=$((waited + 1)); done
    kill -KILL -- "-$1" 2>/dev/null
    end_strays
    wait "$1" 2>/dev/null
    return 0
}
# Whoever of a workload is left.
end_strays() {
    local pid try
    for try in 1 2 3; do
        for pid in $(grep -lzFx "WEFT_E2E_LOAD=$SCRATCH" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3); do
            kill -KILL "$pid" 2>/dev/null && try=again
        done
        [ "$try" = again ] || return 0
        sleep 0.1
    done
}
# start_group COMMAND... : in the background, in a process group of its own; its number is left in GROUP.
start_group() {
    set -m
    (export WEFT_E2E_LOAD="$SCRATCH"; "$@") >>"$SCRATCH/workload.log" 2>&1 </dev/null &
    GROUP=$!
    set +m
    printf 'group %s\n' "$GROUP" >>"$SCRATCH/state"
}

# e2e_workload SECONDS : drives the script's functions, all optional but workload():
#   prepare        once, before anything, with the mount up
#   workload       the load itself; with CRASH=1 it is cut off by a dead server, and runs again on what is left
#   after_crash    is what must be there still there? runs on the recovered mount
#   verify         at the end of an undisturbed run, and again after a clean unmount and mount
# SECONDS is about how long the workload takes: kills fall within it.
e2e_workload() {
    local span=$1
    declare -F prepare >/dev/null || prepare() { :; }
    declare -F after_crash >/dev/null || after_crash() { :; }
    declare -F verify >/dev/null || verify() { :; }
    must fs_mkfs
    fs_mount || fail "cannot mount"
    must prepare
    if [ "$CRASH" != 1 ]; then
        workload || fail "workload"
        verify || fail "verify on the live mount"
        fs_cycle
        verify || fail "verify after a clean unmount and mount"
        must fs_umount
        must fs_check
        say "pass"
        return
    fi
    say "SEED=$SEED CRASH_ROUNDS=$CRASH_ROUNDS"
    must sync -f "$MNT"
    local round writer load writer_group pause
    writer=$(helper acked_writer) || exit 1
    for round in $(seq "$CRASH_ROUNDS"); do
        start_group workload
        load=$GROUP
        mkdir -p "$MNT/acked"
        start_group "$writer" write "$MNT/acked/$round" "$SCRATCH/acked.$round" --seed $((SEED + round))
        writer_group=$GROUP
        pause=$((300 + (RANDOM * 32768 + RANDOM) % (span * 1000)))
        sleep "$((pause / 1000)).$(printf '%03d' $((pause % 1000)))"
        say "round $round: kill after $pause ms"
        fs_kill
        end_group "$load"
        end_group "$writer_group"
        # Every other recovery is killed, too.
        [ $((round % 2)) = 1 ] || fs_mount_cut
        if [ "$FSTYPE" = weft ]; then fs_check || fail "fsck of the crashed image, round $round (SEED=$SEED)"; fi
        fs_mount || fail "cannot mount after crash $round"
        local past
        for past in $(seq "$round"); do
            [ -f "$SCRATCH/acked.$past" ] || continue
            limit 120 "$writer" verify "$MNT/acked/$past" "$SCRATCH/acked.$past" ||
                fail "acknowledged data of round $past is gone after crash $round (SEED=$SEED)"
        done
        after_crash || fail "after crash $round (SEED=$SEED)"
        # A small volume needs room for the next round.
        if stat -f -c '%b %f' "$MNT" | awk '{ exit !($2 < $1 * 0.6) }'; then
            rm -rf "$MNT/acked" "$SCRATCH"/acked.*
        fi
        fs_cycle
    done
    must fs_umount
    must fs_check
    say "pass, $CRASH_ROUNDS crashes"
}

# ---------------------------------------------------------------- comparing trees

# manifest DIR : one line per entry, with type, mode, owner, size of files, link target, time of change and checksum.
manifest() {
    (cd "$1" && {
        find . -type f -print0 | sort -z | xargs -0 -r sha1sum
        find . \( -type f -printf '%p f %m %U %G %s %T@ %n\n' \) -o \( -type l -printf '%p l %l\n' \) -o \
            \( -type d -printf '%p d %m %U %G\n' \) -o -printf '%p %y %m %U %G\n' | sort
    })
}
