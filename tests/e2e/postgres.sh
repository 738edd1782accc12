#!/bin/bash
# postgres.sh - a PostgreSQL cluster on the mount under pgbench; committed transactions survive, and its own checks pass.
# needs: postgresql
# limit: 600
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
need_root
bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
[ -n "$bin" ] || skip "no PostgreSQL on this machine"
id postgres >/dev/null 2>&1 || skip "no user postgres"
e2e_begin 2G
as_postgres() { runuser -u postgres -- env PATH="$bin:$PATH" PGHOST="$SCRATCH/run" PGDATABASE=postgres "$@"; }
start_database() {
    # What a crash left of the pid file would be taken for a running server.
    rm -f "$MNT/data/postmaster.pid"
    as_postgres pg_ctl -D "$MNT/data" -w -t 90 -l "$SCRATCH/run/log" -o "-k $SCRATCH/run -c listen_addresses= -c shared_buffers=32MB" start >/dev/null ||
        { tail -n 20 "$SCRATCH/run/log"; return 1; }
    head -n 1 "$MNT/data/postmaster.pid" >"$SCRATCH/postmaster"
}
stop_database() { as_postgres pg_ctl -D "$MNT/data" -w -t 60 -m fast stop >/dev/null; }
# By its number, as the files that pg_ctl would ask are gone with the mount.
end_database() {
    [ -s "$SCRATCH/postmaster" ] || return 0
    local pid waited=0 children
    pid=$(cat "$SCRATCH/postmaster")
    children=$(pgrep -P "$pid")
    kill -QUIT "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && [ $waited -lt 50 ]; do sleep 0.1; waited=$((waited + 1)); done
    kill -KILL "$pid" 2>/dev/null
    # One may be stuck where it was told to go, and would hold the dead mount for ever.
    for pid in $children; do [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = postgres ] && kill -KILL "$pid" 2>/dev/null; done
    rm -f "$SCRATCH/postmaster"
    return 0
}
at_exit() { end_database; }
prepare() {
    mkdir -p "$SCRATCH/run" "$MNT/data" && chown postgres "$SCRATCH/run" "$MNT/data" && chmod 700 "$MNT/data" || return
    as_postgres initdb -D "$MNT/data" --data-checksums -A trust >/dev/null || return
    start_database && as_postgres pgbench -i -q -s "${SCALE:-3}" 2>/dev/null || return
    as_postgres psql -qc 'CREATE TABLE acknowledged(n bigint PRIMARY KEY)' || return
    # Before the first crash everything is in the log at least.
    [ "$CRASH" != 1 ] || as_postgres psql -qc CHECKPOINT
}
workload() {
    as_postgres pgbench -n -c 4 -j 2 -T "${PG_SECONDS:-15}" >"$SCRATCH/pgbench.log" 2>&1 &
    local bench=$! n last
    last=$(cat "$SCRATCH"/committed 2>/dev/null | tail -n 1)
    # A row at a time, each in a transaction of its own; the number is written down once the commit was confirmed.
    for n in $(seq $((${last:-0} + 1)) $((${last:-0} + 100000))); do
        echo "INSERT INTO acknowledged VALUES($n) ON CONFLICT DO NOTHING RETURNING n;"
        kill -0 $bench 2>/dev/null || break
    done | as_postgres psql -qtA -v ON_ERROR_STOP=1 2>/dev/null | grep --line-buffered -x '[0-9]*' >>"$SCRATCH/committed"
    wait $bench || { tail -n 5 "$SCRATCH/pgbench.log"; return 1; }
    grep -E '^(tps|number of transactions actually)' "$SCRATCH/pgbench.log"
}
verify_database() {
    local count
    count=$(as_postgres psql -qtAc 'SELECT count(*) FROM acknowledged') || return
    say "$count rows, $(cat "$SCRATCH/committed" 2>/dev/null | wc -l) acknowledged"
    [ "$count" -ge "$(wc -l <"$SCRATCH/committed" 2>/dev/null || echo 0)" ] ||
        { say "$count rows, $(wc -l <"$SCRATCH/committed") were committed"; return 1; }
    [ "$(as_postgres psql -qtAc 'SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)')" = t ] ||
        { say "the books of pgbench do not balance"; return 1; }
    as_postgres pg_dumpall >/dev/null || return
}
offline_checks() { as_postgres pg_checksums --check -D "$MNT/data" >/dev/null; }
verify() {
    [ -s "$SCRATCH/postmaster" ] || start_database || return
    verify_database && stop_database && rm -f "$SCRATCH/postmaster" && offline_checks
}
after_crash() {
    end_database
    start_database && verify_database || return
    # The next round starts with it running; a clean end of the mount needs it down.
    stop_database && rm -f "$SCRATCH/postmaster" && offline_checks
}
if [ "$CRASH" = 1 ]; then
    # Each round begins on a fresh mount with the data base down.
    eval "$(declare -f workload | sed '1s/workload/run_pgbench/')"
    workload() { [ -s "$SCRATCH/postmaster" ] || start_database || return; run_pgbench; }
fi
e2e_workload 10
