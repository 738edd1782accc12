#!/bin/bash
# fio_verify.sh - fio writes and verifies checksummed blocks of many sizes: O_DIRECT, buffered and mapped.
# needs: fio
# limit: 600
# crash: yes
. "$(dirname "$0")/lib.sh" || exit 1
need fio
e2e_begin 1G
size=${FIO_SIZE:-$(slice 32M 4M)}
# fio NAME OPTIONS... : writes, then reads back what it wrote; header and crc32c in each block.
verified() {
    local name=$1
    shift
    say "fio $name: $*"
    limit 120 fio --name="$name" --directory="$MNT" --size="$size" --verify=crc32c --verify_fatal=1 --do_verify=1 --randrepeat=1 \
        --randseed="$SEED" --minimal "$@" >>"$SCRATCH/fio.log" 2>&1 || { tail -n 20 "$SCRATCH/fio.log"; return 1; }
    rm -f "$MNT/$name".*
}
workload() {
    local bytes
    for bytes in 512 4k 5000 64k 1m; do
        verified "buffered.$bytes" --rw=randwrite --bs=$bytes --ioengine=psync --fsync=64 || return
    done
    for bytes in 4k 16k 128k 1m; do
        verified "direct.$bytes" --rw=randwrite --bs=$bytes --direct=1 --ioengine=libaio --iodepth=16 || return
    done
    verified mapped --rw=randwrite --bs=4k --ioengine=mmap || return
    verified mixed --rw=randrw --bsrange=4k-64k --bs_unaligned --ioengine=psync || return
    verified uring --rw=randwrite --bs=4k --direct=1 --ioengine=io_uring --iodepth=32 || return
    verified jobs --rw=randwrite --bs=8k --direct=1 --ioengine=libaio --iodepth=4 --numjobs=4 || return
    verified overlapping --rw=randwrite --bs=4k --ioengine=psync --norandommap --fallocate=none --verify_backlog=64 || return
    verified stream --rw=write --bs=1m --ioengine=psync --end_fsync=1 || return
}
e2e_workload 20
