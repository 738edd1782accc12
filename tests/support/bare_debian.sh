#!/bin/bash
# tests/support/bare_debian.sh - do `make test` and `make run` work for a stranger with a bare Debian 12 and only make?
#
#   make test-bare  ->  [bare_debian.sh]  ->  debootstrap --variant=minbase --include=make, then both commands in there
#
# The checkout is a clean clone of HEAD. The mirror is this machine's own, from its apt sources (or WEFT_BARE_MIRROR).
# The root is kept in WEFT_BARE_ROOT if that is given (then a second run is quicker), else made anew and removed.
# WEFT_BARE_GOALS changes what is made there ("test run"). Needs root, debootstrap and git; runs in mount and process
# namespaces of its own, so that nothing it mounts or starts outlives it.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" != 0 ]; then echo "make test-bare needs root." >&2; exit 1; fi
for needed in debootstrap git unshare; do
  command -v "$needed" >/dev/null || { echo "make test-bare needs $needed: apt-get install $needed" >&2; exit 1; }
done
if [ "${WEFT_BARE_INSIDE:-}" != 1 ]; then
  exec env WEFT_BARE_INSIDE=1 timeout --kill-after=20 "${WEFT_BARE_SECONDS:-3600}" \
    unshare --mount --pid --fork --kill-child --propagation private bash "$0"
fi
# Copies of mounts in this name space would keep their servers alive after umount outside.
umount -l -a -t fuse.weft,fuseblk.weft 2>/dev/null || true

# The first mirror and suite of the usual two kinds of source files, and every further line for apt inside.
mirror_of_this_machine() {
  local files=(/etc/apt/sources.list.d/*.sources)
  if [ -e "${files[0]}" ]; then sed -nE 's/^URIs: *([^ ]+).*/\1/p' "${files[@]}" | head -n 1 && return; fi
  sed -nE 's/^deb +(\[[^]]*\] *)?([^ ]+).*/\2/p' /etc/apt/sources.list | head -n 1
}
mirror=${WEFT_BARE_MIRROR:-$(mirror_of_this_machine)}
[ -n "$mirror" ] || { echo "no mirror found in /etc/apt; give WEFT_BARE_MIRROR" >&2; exit 1; }

root=${WEFT_BARE_ROOT:-}
if [ -z "$root" ]; then
  root=$(mktemp -d /tmp/weft-bare.XXXXXX)
  chmod 755 "$root"  # it becomes "/", which every user walks through
  trap 'umount -R "$root" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
fi

if [ ! -x "$root/usr/bin/make" ]; then
  echo "A bare Debian 12 in $root ..."
  mkdir -p "$root"
  # http_proxy and apt's own proxy settings hold for debootstrap as for apt.
  proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy 2>/dev/null | head -n 1)
  ${proxy:+env http_proxy="$proxy"} debootstrap --variant=minbase --include=make bookworm "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; exit 1; }
  rm -f "$root.log"
  # The same sources, keys and proxies as here; trust and sources are this machine's business, not the project's.
  rm -f "$root/etc/apt/sources.list"
  cp -a /etc/apt/sources.list* /etc/apt/apt.conf.d "$root/etc/apt/" 2>/dev/null || true
  cp -a /etc/apt/apt.conf "$root/etc/apt/" 2>/dev/null || true
  cp -a /usr/share/keyrings/*.gpg "$root/usr/share/keyrings/" 2>/dev/null || true
  if [ -d /etc/apt/keyrings ]; then cp -a /etc/apt/keyrings "$root/etc/apt/"; fi
  rm -f "$root"/var/lib/apt/lists/*Packages* "$root"/var/lib/apt/lists/*Release*
fi
cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true

# As "/" is everywhere else, a mount: else no name space of mounts can be made in there.
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/dev" "$root/sys"
mount -t proc proc "$root/proc"
# The few devices that a container has; with the host's /dev a mistake in there would reach the host's disks.
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty fuse; do
  if [ -e "/dev/$device" ]; then : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; fi
done
mkdir -p "$root/dev/shm" "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount --rbind /sys "$root/sys"

rm -rf "$root/weft"
git clone -q --no-hardlinks . "$root/weft"
for goal in ${WEFT_BARE_GOALS:-test run}; do
  echo "== make $goal, with $(chroot "$root" dpkg-query -W | wc -l) packages to begin with"
  chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb make -C /weft "$goal"
  if [ "$goal" = run ]; then
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -eu -c \
      'cd /weft; echo hello >build/run/mnt/hello; make run; make stop; make run; grep hello build/run/mnt/hello; make stop; build/release/bin/fsck.weft -n build/run/weft.img'
  fi
done
echo "A bare Debian 12: all well."
