#!/bin/bash
# git.sh - repositories on the mount: init, add, commit, branch, merge, gc, fsck, clone, worktree.
# needs: git
# limit: 600
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
need git
e2e_begin 2G
export HOME=$SCRATCH GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=weft GIT_AUTHOR_EMAIL=w@example.org
export GIT_COMMITTER_NAME=weft GIT_COMMITTER_EMAIL=w@example.org GIT_TERMINAL_PROMPT=0
git config --global core.fsync all
git config --global core.fsyncMethod fsync
git config --global gc.autoDetach false
git config --global init.defaultBranch main
git config --global advice.detachedHead false

workload() {
    local repo=$MNT/repo.$RANDOM$RANDOM i commit
    git init -q "$repo" && cd "$repo" || return
    cp -r /usr/include/linux"$(slice "" /netfilter)" . && git add -A && git commit -qm "headers" || return
    for i in $(seq "$(slice 30 8)"); do
        echo "$i" >>"log" && git add log && git commit -qm "change $i" || return
        # The commit is synced: what it names has to be there after a crash.
        commit=$(git rev-parse HEAD) && echo "$repo $commit" >>"$SCRATCH/commits" || return
    done
    git checkout -q -b side HEAD~5 && git mv "$(slice linux netfilter)" renamed && git commit -qam "moved" || return
    git checkout -q main && git merge -q -X no-renames side -m "merged" >/dev/null || return
    git gc -q --aggressive --prune=now && git fsck --full --strict --no-progress || return
    git clone -q --no-hardlinks "$repo" "$repo.clone" && git clone -q "$repo" "$repo.linked" || return
    git -C "$repo.clone" fsck --full --no-progress || return
    diff -r --exclude=.git "$repo" "$repo.clone" && git worktree add -q "$repo.tree" side || return
    [ -z "$(git status --porcelain)" ] || return
    cd / || return
}
verify() {
    local repo
    for repo in "$MNT"/repo.*; do
        [ -e "$repo/.git" ] || continue
        git -C "$repo" fsck --full --no-progress >/dev/null && git -C "$repo" diff --quiet HEAD || return
    done
}
after_crash() {
    [ -f "$SCRATCH/commits" ] || return 0
    local repo commit
    while read -r repo commit; do
        git -C "$repo" cat-file -e "$commit^{tree}" || { say "commit $commit of $repo is gone"; return 1; }
        git -C "$repo" rev-list --objects "$commit" >/dev/null || { say "history of $commit is damaged"; return 1; }
    done <"$SCRATCH/commits"
    say "$(wc -l <"$SCRATCH/commits") commits are there"
    # A dead git leaves its locks: the user removes them.
    find "$MNT" -name '*.lock' -delete
}
e2e_workload 8
