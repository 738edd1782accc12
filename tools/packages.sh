#!/bin/bash
# tools/packages.sh - the one list of the Debian packages Weft is built from, and what installs the missing ones.
#
#   tools/packages.sh GROUP...          installs what is missing of the groups; says nothing if nothing is
#   tools/packages.sh --list GROUP...   prints the packages, one a line
#
# Groups: build, test, lint, coverage, e2e, bench, programs, jemalloc. The Makefile calls it before anything is compiled, with the groups
# that the goals at hand need. Needs root, or sudo; without either it prints the command for somebody who has.
set -euo pipefail
cd "$(dirname "$0")/.."

# Prints "package  why" lines. A line is added in the commit that starts to need the package.
packages_of() {
  case "$1" in
    build) cat <<'LIST'
g++                   the compiler
libc6-dev             C library headers
libfuse3-dev          FUSE, the mount (fs/fuse)
fuse3                 fusermount3, for mounts by ordinary users
mount                 mount(8) and umount(8)
liburing-dev          io_uring (kernel)
libboost-context-dev  stack switching (sched)
libisal-dev           crc32c (kernel)
libxxhash-dev         hashes of disk contents (kernel)
libfmt-dev            text
libcli11-dev          command lines (tools)
nlohmann-json3-dev    JSON (tools)
libseccomp-dev        what system calls a server may make (tools)
libblkid-dev          what a disk already holds (tools)
libgtest-dev          unit tests
LIST
      ;;
    # What the end-to-end scripts say themselves ("# needs: PACKAGE..."); ps and pgrep for all of them.
    test | e2e)
      echo "procps  the end-to-end tests"
      if [ "$1" = test ]; then echo "google-perftools  its pprof reads profiles of the heap"; fi
      if [ "$1" = test ]; then scripts=$(awk '{ sub(/#.*/, "") } NF { print "tests/e2e/" $1 }' tests/e2e/quick; echo tests/library/*.sh); else scripts=$(echo tests/e2e/*.sh); fi
      # shellcheck disable=SC2086
      sed -n 's/^# needs: *//p' $scripts | tr -s ' ' '\n' | sed 's/$/  the end-to-end tests/'
      ;;
    lint) cat <<'LIST'
clang-19              second compiler: sanitizers and fuzzers
libclang-rt-19-dev    sanitizer and fuzzer run-times
llvm-19               readable sanitizer stacks
clang-tidy-19         static checks
clang-format-19       layout
git                   which files are ours, and which changed
LIST
      ;;
    coverage) cat <<'LIST'
gcovr                 coverage report
LIST
      ;;
    bench) cat <<'LIST'
libbenchmark-dev      micro benchmarks
fio                   random and streaming I/O
fuse2fs               a peer: ext4 through FUSE
e2fsprogs             a peer: ext4 on a loop device
xfsprogs              a peer: xfs on a loop device
pkgconf               builds libfuse's passthrough_ll, a peer
libboost-fiber-dev    a peer: Boost.Fiber
libtbb-dev            a peer: oneTBB
golang-go             a peer: goroutines
libjemalloc2          a peer: jemalloc
libmimalloc2.0        a peer: mimalloc
libtcmalloc-minimal4  a peer: tcmalloc, of google-perftools
valgrind              counts instructions of malloc and free
LIST
      ;;
    jemalloc) cat <<'LIST'
libjemalloc2          the heap of HEAP=jemalloc
LIST
      ;;
    programs) cat <<'LIST'
git                       a program that the heap is preloaded into
g++                       another
libpython3.11-testsuite   python3 with its own tests
nodejs                    another
postgresql                another, and pgbench
redis-tools               redis-benchmark, and the server under its other name, redis-check-rdb
sqlite3                   another
LIST
      ;;
    *) echo "tools/packages.sh: no such group: $1" >&2; exit 2 ;;
  esac
}

list_only=
if [ "${1:-}" = --list ]; then list_only=1; shift; fi
wanted=$(for group in "$@"; do packages_of "$group"; done | sort -u -k1,1)
names=$(awk '{ print $1 }' <<<"$wanted")
if [ -n "$list_only" ]; then echo "$names"; exit; fi

if ! command -v dpkg-query >/dev/null; then
  echo "Not a Debian system: Weft needs what Debian calls" $names
  exit 0
fi

# shellcheck disable=SC2086  # one word a package
missing=$(comm -23 <(echo "$names") <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2>/dev/null |
  awk '$1 == "installed" { print $2 }' | sort -u))
[ -n "$missing" ] || exit 0

echo "Installing Debian packages that are missing here:"
for package in $missing; do grep -E "^${package//+/\\+} " <<<"$wanted" | sed 's/^/  /'; done

as_root=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=(sudo)
  else
    echo "This needs root. As root, run:  apt-get install --no-install-recommends" $missing >&2
    exit 1
  fi
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=600 "$@" >"$log" 2>&1 </dev/null
}
# shellcheck disable=SC2086
install_missing() { apt_get install --no-install-recommends $missing; }

# Lists may be absent (a fresh container) or so old that the pool no longer has what they name.
if ! compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || ! install_missing; then
  apt_get update && install_missing || { tail -n 30 "$log" >&2; echo "apt-get could not install:" $missing >&2; exit 1; }
fi
echo "Installed."
