#!/bin/bash
# self_build.sh - this project is built inside the mount, and its unit tests run there.
# needs: g++ make
# limit: 1800
. "$(dirname "$0")/lib.sh" || exit 1
need make g++ git
e2e_begin 4G
prepare() {
    mkdir "$MNT/weft" && (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard 2>/dev/null |
        xargs -0 -r cp --parents -a -t "$MNT/weft" 2>/dev/null)
    [ -f "$MNT/weft/Makefile" ]
}
workload() {
    # Without the compiler cache: it would hand the objects out instead of making them.
    CCACHE_DISABLE=1 limit 1500 make -C "$MNT/weft" -j"$(nproc)" all >"$SCRATCH/build.log" 2>&1 || { tail -n 20 "$SCRATCH/build.log"; return 1; }
    limit 600 make -C "$MNT/weft" unit-tests >"$SCRATCH/test.log" 2>&1 || { tail -n 40 "$SCRATCH/test.log"; return 1; }
    tail -n 1 "$SCRATCH/test.log"
    manifest "$MNT/weft" >"$SCRATCH/built"
}
# No clean-up in between: what was built is there byte for byte after a clean unmount and mount.
verify() { manifest "$MNT/weft" | diff - "$SCRATCH/built" >"$SCRATCH/difference" || { head -n 10 "$SCRATCH/difference"; return 1; }; }
e2e_workload 60
