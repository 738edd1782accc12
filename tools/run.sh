#!/bin/bash
# tools/run.sh - `make run` and `make stop`: a file system to try, mounted at build/run/mnt.
#
#   tools/run.sh start|stop BIN
#
# The image build/run/weft.img is sparse, 1 GiB or WEFT_RUN_SIZE, and is kept from one run to the next.
set -euo pipefail
cd "$(dirname "$0")/.."
command=$1 bin=$2
image=build/run/weft.img mnt=build/run/mnt

mounted() { awk -v dir="$PWD/$mnt" '$5 == dir { found = 1 } END { exit !found }' /proc/self/mountinfo; }

unmount() {
  if [ "$(id -u)" = 0 ]; then timeout 60 umount "$mnt"; else timeout 60 fusermount3 -u "$mnt"; fi
}

what_to_try() {
  cat <<TEXT

  cp -a /usr/include $mnt/ && diff -r /usr/include $mnt/include && du -sh $mnt
  df -h $mnt; $bin/weft stat $mnt

  make stop     unmounts it; then, to look at what is in the image:
                $bin/fsck.weft -n $image && $bin/weft info $image
  make run      mounts it again, with everything in it
TEXT
}

no_fuse() {
  cat >&2 <<'TEXT'
There is no usable /dev/fuse here, so nothing can be mounted. What to do:
  in a container   start it with   docker run --device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined ...
  on a machine     as root:        modprobe fuse
  no device node   as root:        mknod -m 666 /dev/fuse c 10 229
  not for you      as root:        chmod 666 /dev/fuse      (or run make as root)
TEXT
  exit 1
}

start() {
  mkdir -p build/run
  if mounted; then
    if timeout 10 stat -f "$mnt" >/dev/null 2>&1; then
      echo "Already mounted: $image at $mnt."
      what_to_try
      return
    fi
    # The server is gone ("Transport endpoint is not connected"); what it acknowledged is in the image.
    echo "The server of $mnt is gone; mounting anew."
    umount -l "$mnt" 2>/dev/null || fusermount3 -uz "$mnt"
  fi
  mkdir -p "$mnt"
  [ -c /dev/fuse ] && [ -r /dev/fuse ] && [ -w /dev/fuse ] || no_fuse

  if [ ! -e "$image" ]; then
    truncate -s "${WEFT_RUN_SIZE:-1G}" "$image.new"
    "$bin/mkfs.weft" -q -L try-me "$image.new"
    mv "$image.new" "$image"
  fi
  # It goes to the background by itself once the mount answers.
  if ! timeout 60 "$bin/mount.weft" "$image" "$mnt"; then
    echo "mount.weft could not mount $image at $mnt." >&2
    exit 1
  fi
  for _ in $(seq 100); do if mounted; then break; fi; sleep 0.1; done
  mounted || { echo "mount.weft went to the background, but nothing is mounted at $mnt." >&2; exit 1; }
  echo "Mounted: $image ($(du -h --apparent-size "$image" | cut -f1)) at $mnt. Try:"
  what_to_try
}

stop() {
  if ! mounted; then echo "Not mounted: $mnt."; return; fi
  if unmount; then
    echo "Unmounted: everything is in $image."
  else
    echo "Could not unmount $mnt: does a shell or program still stand in it? By force: umount -l $mnt" >&2
    exit 1
  fi
}

case $command in start) start ;; stop) stop ;; *) echo "usage: tools/run.sh start|stop BIN" >&2; exit 2 ;; esac
