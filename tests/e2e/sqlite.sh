#!/bin/bash
# sqlite.sh - SQLite on the mount with write-ahead log and with rollback journals; each acknowledged row survives.
# needs: sqlite3
# limit: 400
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
need sqlite3
e2e_begin 512M
modes=(wal delete truncate persist)
prepare() {
    local mode
    for mode in "${modes[@]}"; do
        [ "$(sqlite3 "$MNT/$mode.db" "PRAGMA journal_mode=$mode; CREATE TABLE rows(n INTEGER PRIMARY KEY, body BLOB);")" = "$mode" ] || return
    done
}
# EXTRA: with FULL, SQLite does not sync the removal of a rollback journal, and so may roll the last commit back.
# One connection a mode, rows of random size, some removed; the number of each committed row goes to the acknowledgements.
load() {
    local mode=$1 rows=$2 i=1
    {
        echo "PRAGMA synchronous=EXTRA; PRAGMA busy_timeout=5000;"
        while [ "$i" -le "$rows" ]; do
            echo "INSERT INTO rows(body) VALUES(randomblob(abs(random()) % 9000)); SELECT max(n) FROM rows;"
            [ $((i % 10)) = 0 ] && echo "BEGIN; UPDATE rows SET body=randomblob(3000) WHERE n % 7 = $i % 7; COMMIT;"
            [ $((i % 50)) = 0 ] && echo "PRAGMA wal_checkpoint(PASSIVE);"
            i=$((i + 1))
        done
    } | sqlite3 -bail "$MNT/$mode.db" >>"$SCRATCH/acknowledged.$mode"
}
workload() {
    local mode pids=() pid status=0
    for mode in "${modes[@]}"; do load "$mode" "${ROWS:-$(slice 300 60)}" & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid" || status=1; done
    [ $status = 0 ] || return
    for mode in "${modes[@]}"; do sqlite3 "$MNT/$mode.db" "VACUUM;" || return; done
}
verify() {
    local mode last there
    for mode in "${modes[@]}"; do
        [ "$(sqlite3 "$MNT/$mode.db" "PRAGMA integrity_check;")" = ok ] || { say "$mode.db is damaged"; return 1; }
        # wal_checkpoint answers in the form 0|n|n, which is not a row; the last line may be torn by the kill.
        last=$(grep -x '[0-9]*' "$SCRATCH/acknowledged.$mode" 2>/dev/null | tail -n 1)
        there=$(sqlite3 "$MNT/$mode.db" "SELECT coalesce(max(n), 0) FROM rows;")
        say "$mode.db: $there rows, ${last:-0} acknowledged"
        [ "$there" -ge "${last:-0}" ] || { say "$mode.db: row $last was acknowledged, the last is $there"; return 1; }
    done
}
after_crash() { verify; }
e2e_workload 6
