#!/bin/bash
# stress_ng.sh - stress-ng's file-system stressors, a few seconds each, two at a time.
# needs: stress-ng
# limit: 900
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
need stress-ng
e2e_begin 2G
seconds=${STRESS_SECONDS:-$(slice 5 1)}
# Left out: those that need their own kind of mount (bind-mount, binderfs, procfs) or ask what FUSE never passes on
# (fiemap, verity, sync-file with pages beyond RAM).
stressors=(access aiol chattr chdir chmod chown copy-file dentry dir dirdeep dirmany fallocate fcntl file-ioctl filename
    flock fpunch fstat getdent handle hdd inode-flags io iomix lease link locka lockf lockofd mknod mmap open readahead
    rename seek sendfile symlink sync-file touch utime xattr)
[ -z "$QUICK" ] || stressors=(dentry fallocate hdd mmap rename seek xattr)
workload() {
    local each failed=()
    mkdir -p "$MNT/stress"
    for each in "${stressors[@]}"; do
        say "$each"
        limit $((seconds * 4 + 60)) stress-ng --temp-path "$MNT/stress" --"$each" 2 --timeout "$seconds" --verify --hdd-bytes 64m \
            --iomix-bytes 64m --fallocate-bytes 64m --seek-size 32m --mmap-file --mmap-bytes 16m --quiet \
            >>"$SCRATCH/stress.log" 2>&1
        case $? in
        # 3 and 4: no resources, or not implemented here.
        0 | 3 | 4) ;;
        *) failed+=("$each"); tail -n 3 "$SCRATCH/stress.log" ;;
        esac
        rm -rf "$MNT/stress/"* 2>/dev/null
        stat "$MNT" >/dev/null || return
    done
    [ ${#failed[@]} = 0 ] || { say "failed: ${failed[*]}"; return 1; }
}
e2e_workload $((seconds * 6))
