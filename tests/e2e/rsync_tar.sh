#!/bin/bash
# rsync_tar.sh - rsync -aHAX and tar carry hard links, holes, ACLs, extended attributes, owners and times to the mount and back.
# needs: rsync acl attr tar
# limit: 300
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
need rsync tar setfacl setfattr getfattr
need_root
e2e_begin 1G
# One of everything, on the file system of the scratch folder.
prepare() {
    local s=$SCRATCH/source i
    mkdir -p "$s/deep/er" "$s/sticky" "$s/acl" && chmod 1777 "$s/sticky" || return
    cp -a /usr/include/linux "$s/headers" || return
    for i in $(seq 50); do head -c $((i * 997)) /dev/urandom >"$s/deep/$i"; done
    ln "$s/deep/1" "$s/deep/er/hard" && ln -s ../1 "$s/deep/er/soft" && mkfifo "$s/fifo" && mknod "$s/null" c 1 3 || return
    truncate -s 50M "$s/sparse" && printf end >>"$s/sparse" || return
    setfacl -m u:65521:rw,g:65522:r,m::rw "$s/deep/2" && setfacl -d -m u:65521:rwx "$s/acl" || return
    setfattr -n user.color -v blue "$s/deep/3" && setfattr -n user.bytes -v 0x000102ff "$s/deep" || return
    setfattr -n trusted.secret -v for-root "$s/deep/4" || return
    for i in $(seq 20); do setfattr -n "user.many.$i" -v "$(printf '%0100d' "$i")" "$s/deep/5" || return; done
    chown 65521:65522 "$s/deep/6" && chmod 6755 "$s/deep/7" && chmod 000 "$s/deep/8" || return
    touch -d '1970-01-02 20:17:40.123456789' "$s/deep/9" && touch -d '2106-02-08 00:00:00.000000001' "$s/deep/10" || return
    printf 'name with\nnewline' >"$s/$(printf 'new\nline')" && printf x >"$s/$(printf '\377\001 odd')" || return
    describe "$s" >"$SCRATCH/source.description"
}
# Everything that must come across, as text.
describe() {
    (cd "$1" && {
        find . -printf '%P %y %m %U %G %n %l\n' | grep -v '^ ' | sort
        find . -type f -printf '%P %s %T@\n' | sort
        find . -type f -print0 | sort -z | xargs -0 sha1sum
        find . ! -type l -print0 | sort -z | xargs -0 getfacl -n 2>/dev/null
        getfattr -R -h -d -m '^(user|trusted)\.' -e hex . 2>/dev/null | sort
    })
}
same() { describe "$1" | diff - "$SCRATCH/source.description" >"$SCRATCH/difference" || { head -n 20 "$SCRATCH/difference"; return 1; }; }
workload() {
    rsync -aHAXS --delete "$SCRATCH/source/" "$MNT/rsync/" || return
    [ -z "$(rsync -aHAXSnc --delete --itemize-changes "$SCRATCH/source/" "$MNT/rsync/")" ] || { say "rsync sees differences"; return 1; }
    tar -C "$SCRATCH/source" --format=pax --acls --xattrs --xattrs-include='*' --sparse --numeric-owner -cf "$MNT/all.tar" . || return
    rm -rf "$MNT/tar" && mkdir "$MNT/tar" || return
    tar -C "$MNT/tar" --acls --xattrs --xattrs-include='*' --numeric-owner -xpf "$MNT/all.tar" || return
    # And back again.
    tar -C "$MNT/rsync" --format=pax --acls --xattrs --xattrs-include='*' --sparse --numeric-owner -cf "$SCRATCH/back.tar" . || return
    rm -rf "$SCRATCH/back" && mkdir "$SCRATCH/back" || return
    tar -C "$SCRATCH/back" --acls --xattrs --xattrs-include='*' --numeric-owner -xpf "$SCRATCH/back.tar" || return
    same "$SCRATCH/back" || { say "what came back differs"; return 1; }
}
verify() {
    same "$MNT/rsync" || { say "the rsync copy differs"; return 1; }
    same "$MNT/tar" || { say "the tar copy differs"; return 1; }
    [ "$(stat -c %b "$MNT/rsync/sparse")" -lt 2048 ] || { say "holes were filled"; return 1; }
}
e2e_workload 3
