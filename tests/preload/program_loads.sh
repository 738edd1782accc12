# shellcheck shell=bash
# program_loads.sh - what programs.sh and tests/trace/record.sh have real programs do.
#
# A load is a function NAME_load. It runs in an empty folder of its own, $FOLDER, prints what must be the same with every heap, and
# puts `run` in front of the program whose heap is meant. Nothing listens but on sockets in that folder, and servers are ended by
# their number. QUICK=1: a slice. Sourced with `measured`, PRELOAD and FOLDER set, FOLDER before each load.
export LC_ALL=C TZ=UTC
QUICK=${QUICK:-}
slice() { if [ -n "$QUICK" ]; then echo "$2"; else echo "$1"; fi; }
# The C library in front of itself changes nothing, but where a program brings another heap along (redis: jemalloc).
glibc=$(ldconfig -p | awk '$1 == "libc.so.6" && /64/ { print $NF; exit }')
bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)

# Sets itself before the program: measured, with the heap at hand, and with an end.
run() { "$measured" "$FOLDER/usage" "$PRELOAD" timeout -k 10 "${LIMIT:-300}" "$@"; }
# wait_until COMMAND... : up to thirty seconds.
wait_until() {
  local tries
  for tries in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  return 1
}

all=(redis sqlite3 python3 gxx node git postgres)
declare -A program=([redis]=redis-check-rdb [sqlite3]=sqlite3 [python3]=/usr/bin/python3 [gxx]=g++ [node]=node [git]=git
  [postgres]=${bin:-/usr/lib/postgresql/15/bin}/postgres)

sqlite3_load() {
  local rows
  rows=$(slice 400000 30000)
  run sqlite3 db <<SQL
pragma journal_mode = wal;
create table t(a integer primary key, b text, c blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < $rows)
  insert into t select i, hex(i * 7919), zeroblob(i % 200) from n;
create index by_b on t(b);
select count(*), sum(length(b)), max(b), min(b) from t;
with recursive n(i) as (select 1 union all select i + 1 from n where i < $rows / 4)
  select sum(length((select b from t where a = 1 + i * 7 % $rows))) from n;
update t set b = b || 'x', c = zeroblob(a % 900) where a % 5 = 0;
delete from t where a % 3 = 0;
select substr(b, 1, 2) as p, count(*), group_concat(a % 10, '') from t where a < 5000 group by p order by p;
vacuum;
pragma integrity_check;
select count(*), sum(length(c)) from t;
SQL
}

python3_load() {
  # Its own small-object allocator would keep most of them away from malloc.
  export PYTHONMALLOC=malloc PYTHONHASHSEED=0
  local modules='test_json test_dict test_list test_bytes test_pickle test_re test_zlib test_gc test_threading test_weakref test_set test_array
    test_memoryview test_unicode test_ast test_deque test_functools test_thread test_itertools test_tokenize test_heapq test_sort'
  if [ -n "$QUICK" ] || ! /usr/bin/python3 -c 'import test.test_json' 2>/dev/null; then
    run /usr/bin/python3 -c "
import json, threading
d = {str(i): list(range(i % 50)) for i in range($(slice 200000 5000))}
s = json.dumps(d)
threads = [threading.Thread(target=json.loads, args=(s,)) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(s), hash(s), json.loads(s) == d)"
    return
  fi
  # shellcheck disable=SC2086
  LIMIT=500 run /usr/bin/python3 -m test -v --timeout 120 $modules >log 2>&1
  local status=$?
  grep -E '^(test|Test|setUp)[^ ]* \(.*\.\.\. (ok|skipped|expected failure|FAIL|ERROR)' log | sed 's/ skipped.*/ skipped/' | sort
  grep -E '^(All [0-9]+ tests OK|Tests result: |[0-9]+ tests? (failed|OK))' log
  [ $status = 0 ] || { tail -n 30 log; return 1; }
}

gxx_load() {
  local i
  {
    echo '#include <bits/stdc++.h>'
    for i in $(seq "$(slice 60 1)"); do
      cat <<CODE
std::size_t f$i(const std::string& text) {
  std::map<std::array<int, $i>, std::variant<int, std::string, std::vector<std::array<char, $i>>>> map;
  std::unordered_map<std::string, std::function<std::size_t(int)>> calls;
  for (std::size_t at = 0; at < text.size(); ++at) {
    map[{static_cast<int>(at)}] = text;
    calls[text + std::to_string(at)] = [&, at](int n) { return at + n + map.size(); };
  }
  std::vector<std::pair<std::string, std::size_t>> sorted;
  for (auto& [name, call] : calls) sorted.emplace_back(name, call($i));
  std::ranges::sort(sorted, [](auto& a, auto& b) { return a.second < b.second; });
  return sorted.size();
}
CODE
    done
    [ -n "$QUICK" ] || echo 'bool matches(const std::string& s) { return std::regex_match(s, std::regex("(a|b)*c{2,3}[[:digit:]]+")); }'
  } >unit.cc
  run g++ -std=c++20 -O"$(slice 2 0)" -g -c unit.cc -o unit.o && sha256sum unit.o
}

node_load() {
  cat >load.js <<'CODE'
const crypto = require('crypto'), zlib = require('zlib');
const count = Number(process.argv[2]);
const map = new Map();
for (let i = 0; i < count; i++) map.set('key' + i * 7919 % count, { n: i, text: 'x'.repeat(i % 300), list: [i, i + 1, { deep: i }] });
const text = JSON.stringify([...map]);
const buffers = [];
for (let i = 0; i < count / 20; i++) buffers.push(Buffer.from(text.slice(i * 100, i * 100 + 1 + i % 9000)));
const sum = data => crypto.createHash('sha256').update(data).digest('hex');
console.log(text.length, sum(text), sum(Buffer.concat(buffers)));
console.log(zlib.inflateSync(zlib.deflateSync(text)).toString() === text, JSON.parse(text).length);
console.log(text.split(/"key\d+"/).map(s => s.replace(/x+/g, m => m.length)).join('').length);
Promise.all(buffers.slice(0, 200).map((b, i) => new Promise(done => zlib.gzip(b, (e, z) => zlib.gunzip(z, (e, back) => done(back.equals(b)))))))
  .then(all => console.log(all.length, all.every(Boolean)));
CODE
  run node load.js "$(slice 300000 10000)"
}

git_load() {
  export GIT_AUTHOR_DATE=2026-01-01T00:00:00Z GIT_COMMITTER_DATE=2026-01-01T00:00:00Z GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
  local round i
  git init -q -b trunk repository && cd repository || return
  git config user.name weft && git config user.email weft@localhost && git config gc.auto 0
  for round in $(seq "$(slice 30 3)"); do
    for i in $(seq "$(slice 120 20)"); do seq "$i" "$round" $((i * 17 + round * 900)) >"file$i"; done
    git add -A && git commit -qm "round $round" || return
  done
  run git gc -q --aggressive --prune=now || return
  git fsck --strict 2>&1 && git log --format=%H | head -n 3 && git count-objects -v | grep -E '^(count|in-pack|packs)'
  git cat-file --batch-all-objects --batch-check | sha256sum
  run git log -p --stat | sha256sum
}

redis_load() {
  # In redis-tools lies the server, and does what its name says.
  ln -s "$(command -v redis-check-rdb)" redis-server
  local socket=$PWD/socket
  run ./redis-server --port 0 --unixsocket "$socket" --save '' --enable-debug-command yes --daemonize no --pidfile "$PWD/pid" >server.log 2>&1 &
  local server=$!
  wait_until redis-cli -s "$socket" ping || { tail server.log; return 1; }
  redis-benchmark -s "$socket" -q -n "$(slice 200000 20000)" -c 20 -P 8 -r 100000 -d 100 -t set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100,mset >benchmark.log 2>&1 ||
    { tail benchmark.log server.log; kill "$(cat pid)"; return 1; }
  # What chance had a part in goes; what stays is known to the byte.
  redis-cli -s "$socket" flushall sync
  redis-cli -s "$socket" eval "for i = 1, $(slice 200000 10000) do
      redis.call('set', 'text' .. i, string.rep('v', i % 700))
      redis.call('hset', 'hash' .. i % 1000, 'field' .. i, i)
      redis.call('zadd', 'scores' .. i % 100, i, 'member' .. i)
      redis.call('rpush', 'list' .. i % 50, string.rep('e', i % 90))
      if i % 3 == 0 then redis.call('del', 'text' .. i / 3) end
      if i % 5 == 0 then redis.call('append', 'text' .. i - 1, string.rep('a', 1000)) end
    end return redis.status_reply('filled')" 0
  redis-cli -s "$socket" debug digest && redis-cli -s "$socket" dbsize
  redis-cli -s "$socket" bgsave >/dev/null && wait_until grep -q 'Background saving terminated with success' server.log && echo saved
  redis-cli -s "$socket" debug reload && redis-cli -s "$socket" debug digest
  redis-cli -s "$socket" shutdown nosave
  wait "$server"
}

postgres_load() {
  id postgres >/dev/null 2>&1 && [ "$(id -u)" = 0 ] || { echo "needs root and the user postgres"; return 77; }
  mkdir run data && chown postgres run data "$FOLDER" && chmod 700 data && chmod 755 "$FOLDER"
  local as=(runuser -u postgres -- env PATH="$bin:$PATH" PGHOST="$PWD/run" PGDATABASE=postgres) server
  "${as[@]}" initdb -D "$PWD/data" -A trust --no-sync >/dev/null || return
  run "${as[@]}" postgres -D "$PWD/data" -k "$PWD/run" -c listen_addresses= -c shared_buffers=32MB -c fsync=off >server.log 2>&1 &
  server=$!
  if wait_until "${as[@]}" psql -qtAc 'select 1' && "${as[@]}" pgbench -i -q -s "$(slice 5 1)" 2>init.log &&
    "${as[@]}" pgbench -n -c 4 -j 2 -t "$(slice 3000 100)" --random-seed=42 >bench.log 2>&1; then
    # Additions, in whatever order: the sums are known.
    "${as[@]}" psql -qtA <<'SQL'
select count(*), sum(abalance), md5(string_agg(aid || ':' || abalance, ',' order by aid)) from pgbench_accounts;
select count(*), sum(delta) from pgbench_history;
select md5(string_agg(t.n || repeat('z', t.n % 50), '' order by t.n desc)) from generate_series(1, 300000) as t(n);
select jsonb_object_agg('k' || n, n)::text like '%k77%', count(distinct md5(n::text)) from generate_series(1, 50000) n;
SQL
  else
    tail -n 5 server.log init.log bench.log
  fi
  kill -INT "$(head -n 1 data/postmaster.pid)"
  wait "$server"
}
