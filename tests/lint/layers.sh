#!/bin/bash
# tests/lint/layers.sh - who may include whom, and the one door of each third-party library.
#
#   kernel <- sched, mem <- fs, net <- tools;   tests include anything, nobody includes tests
#
# Prints what breaks a rule as FILE:LINE: reason.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2

{ find kernel sched mem fs net tools tests \( -name '*.h' -o -name '*.cc' \) -print0 2>/dev/null || true; } | sort -z | xargs -0 -r awk '
  BEGIN {
    split("kernel sched mem fs net tools tests", rooms)
    for (i in rooms) room[rooms[i]] = 1
    may["kernel"] = " kernel "
    may["sched"] = " kernel sched "
    may["mem"] = " kernel mem "
    may["fs"] = " kernel sched mem fs "
    may["net"] = " kernel sched mem net "
    may["tools"] = " kernel sched mem fs net tools "
    may["tests"] = " kernel sched mem fs net tools tests "
  }
  function complain(why) { printf "%s:%d: %s\n", FILENAME, FNR, why; bad = 1 }
  FNR == 1 { split(FILENAME, path, "/"); here = path[1] }
  !/^[ \t]*#[ \t]*include/ { next }
  {
    name = $0
    sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*/, "", name)
    split(name, part, "/")
    if (name ~ /(^|\/)\.\.?\//) complain("includes are named from the root: " name)
    # Helpers of the end-to-end scripts stand alone, with headers beside them.
    if ($0 ~ /"/ && !(part[1] in room) && FILENAME !~ /^tests\/e2e\//) complain("not one of our headers, or not named from the root: " name)
    if ((part[1] in room) && $0 ~ /"/ && index(may[here], " " part[1] " ") == 0) complain(here " may not include " part[1] ": " name)
    if (here == "tests") next
    if (name ~ /^liburing/ && FILENAME !~ /^kernel\/uring[a-z_]*\.cc$/) complain("liburing belongs to kernel/uring.cc")
    if (name ~ /^(fuse|linux\/fuse)/ && FILENAME !~ /^fs\/fuse\//) complain("FUSE belongs to fs/fuse/")
    if (name ~ /^boost\/context/) { if (here != "sched") complain("Boost.Context belongs to sched"); context[FILENAME] = FNR }
    if (name ~ /^(isa-l|crc\.h|isal)/ && FILENAME != "kernel/crc32c.cc") complain("ISA-L belongs to kernel/crc32c.cc")
    if (name ~ /^openssl\//) { if (here != "net") complain("OpenSSL belongs to net"); openssl[FILENAME] = FNR }
    if (name ~ /^(gtest|gmock|benchmark)\//) complain("test libraries belong to tests/")
    if (name ~ /^CLI\//  && here != "tools") complain("command lines belong to tools/")
  }
  END {
    for (f in context) doors++
    if (doors > 1) for (f in context) { printf "%s:%d: Boost.Context has more than one door\n", f, context[f]; bad = 1 }
    for (f in openssl) ssl++
    if (ssl > 1) for (f in openssl) { printf "%s:%d: OpenSSL has more than one door\n", f, openssl[f]; bad = 1 }
    exit bad
  }'
