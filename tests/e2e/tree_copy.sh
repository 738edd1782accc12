#!/bin/bash
# tree_copy.sh - a real tree of more than 50,000 files is copied onto the mount, compared, copied within it, and removed.
# limit: 1500
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
e2e_begin 6G
wanted=${FILES:-$(slice 50000 1500)}
sources=()
# shellcheck disable=SC2046
for each in $(slice "/usr/include /usr/share/doc /usr/lib/python3 /usr/lib/python3.11" /usr/include/linux); do [ -d "$each" ] && sources+=("$each"); done

# As many copies of the system's own headers and documents as it takes, in folders one, two, ...
prepare() {
    manifest_sources >"$SCRATCH/source.manifest"
    copies=$(((wanted + $(find "${sources[@]}" -type f | wc -l) - 1) / $(find "${sources[@]}" -type f | wc -l)))
    say "$copies copies of ${sources[*]}"
}
manifest_sources() {
    local each
    for each in "${sources[@]}"; do manifest "$each"; done
}
workload() {
    local n each
    for n in $(seq "$copies"); do
        rm -rf "$MNT/copy.$n"
        mkdir "$MNT/copy.$n" || return
        for each in "${sources[@]}"; do cp -a "$each" "$MNT/copy.$n/" || return; done
    done
}
manifest_copy() {
    local each
    for each in "${sources[@]}"; do manifest "$1/$(basename "$each")"; done
}
verify() {
    local n
    for n in $(seq "$copies"); do
        manifest_copy "$MNT/copy.$n" | cmp - "$SCRATCH/source.manifest" || return
    done
    [ "$(find "$MNT" -type f | wc -l)" -ge "$wanted" ]
}
# What a crash leaves of a file is the file, its beginning or nothing; all of it can be read.
after_crash() { find "$MNT" -type f -exec cat {} + | cat >/dev/null; }
e2e_workload 60

if [ "$CRASH" != 1 ]; then
    must fs_mount
    must cp -a --reflink=auto "$MNT/copy.1" "$MNT/inside"
    must diff -r --no-dereference "$MNT/copy.1" "$MNT/inside"
    must rm -rf "$MNT"/copy.* "$MNT/inside"
    [ "$(find "$MNT" -mindepth 1 ! -name lost+found | wc -l)" = 0 ] || fail "not empty after rm -rf"
    must fs_umount
    must fs_check
fi
