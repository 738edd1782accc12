#!/bin/bash
# posix.sh - every file-system call behaves on the mount as it does on ext4; the image is sound afterwards.
# limit: 600
. "$(dirname "$0")/lib.sh" || exit 1
need_root
e2e_begin 2G
must fs_mkfs
fs_mount || fail "cannot mount"
# shellcheck disable=SC2054
programs=(posix_names posix_data posix_space posix_locks posix_attributes posix_permissions)
failed=()
for program in "${programs[@]}"; do
    path=$(helper "$program") || exit 1
    say "$program"
    limit 300 "$path" "$MNT" --seed "$SEED" ${LONG:+--long} ${QUICK:+--quick} || failed+=("$program")
done
fs_cycle
must fs_umount
[ ${#failed[@]} = 0 ] || fail "${failed[*]}"
