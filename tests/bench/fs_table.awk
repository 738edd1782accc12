# fs_table.awk - turns the figures of fs.sh (one JSON object a line) into a Markdown table of medians and ratios, and
# says of every floor whether it is kept. Exit status 1 if one is missed.
# Needs figures.awk. Variables: order (names of the file systems, in the order of columns), machine (one line about the run).

{ sample(field("fs") SUBSEP field("row"), field("value")) }
function median(fs, row) { return median_of(fs SUBSEP row) }
# Peers in memory are compared with ours in memory, all others with ours on the disk.
function ours(fs) { return fs ~ /tmpfs/ ? "weft-tmpfs" : "weft" }
function line(row, title, less_is_better,    text, i, value, own, ratio) {
    text = "| " title
    for (i = 1; i <= columns; i++) {
        value = median(names[i], row)
        if (value < 0) { text = text " | -"; continue }
        own = median(ours(names[i]), row)
        ratio = ""
        if (names[i] !~ /^weft/ && own > 0 && value > 0) ratio = sprintf(" (%.2f)", less_is_better ? value / own : own / value)
        text = text " | " short(value) ratio
    }
    print text " |"
}
function floor_of(title, own, row, peer, factor,    a, b) {
    a = median(own, row)
    b = median(peer, row)
    if (a < 0 || b < 0) return
    if (a < b * factor) missed++
    floors = floors sprintf("| %s | %s | %s | %s %.2f | %.2f | %s |\n", row, title, short(a), peer, factor, a / b, a >= b * factor ? "pass" : "**miss**")
}
END {
    columns = split(order, names, " ")
    print "File system benchmark: " machine ". Medians; in brackets ours as a multiple of this peer's, above 1 is better.\n"
    head = "| row"
    rule = "| ---"
    for (i = 1; i <= columns; i++) { head = head " | " names[i]; rule = rule " | ---:" }
    print head " |\n" rule " |"
    plain = "create write stat open readdir rename unlink"
    split(plain, rows, " ")
    for (i = 1; i in rows; i++) line(rows[i], (rows[i] == "write" ? "write 4 KiB" : rows[i]) ", ops/s", 0)
    line("durable.1", "create+write+fsync, 1 thread, ops/s", 0)
    line("durable.8", "create+write+fsync, 8 threads, ops/s", 0)
    line("append.1", "append 4 KiB+fsync, 1 thread, ops/s", 0)
    line("append.8", "append 4 KiB+fsync, 8 threads, ops/s", 0)
    line("rand.read.1", "random read 4 KiB O_DIRECT, depth 1, ops/s", 0)
    line("rand.read.32", "random read 4 KiB O_DIRECT, depth 32, ops/s", 0)
    line("rand.write.1", "random write 4 KiB O_DIRECT, depth 1, ops/s", 0)
    line("rand.write.32", "random write 4 KiB O_DIRECT, depth 32, ops/s", 0)
    line("stream.read", "cold read 1 MiB, KiB/s", 0)
    line("stream.write", "write 1 MiB + fsync, KiB/s", 0)
    split("durable.1 durable.8 append.1 append.8", synced, " ")
    for (i = 1; i <= 4; i++) line(synced[i] ".p50_us", synced[i] ", median us", 1)
    for (i = 1; i <= 4; i++) line(synced[i] ".flushes_per_op", synced[i] ", device flushes per op", 1)
    for (i = 1; i <= 4; i++) line(synced[i] ".kib_per_op", synced[i] ", device KiB written per op", 1)
    line("server.cpu_ms", "server CPU, ms for all rows", 1)
    line("server.peak_kib", "server peak memory, KiB", 1)

    for (i = 1; i in rows; i++) floor_of("", "weft", rows[i], "fuse2fs", 1)
    floor_of("durable create", "weft", "durable.1", "ext4", 1)
    floor_of("durable create", "weft", "durable.8", "ext4", 1)
    split("append.1 append.8", others, " ")
    for (i = 1; i <= 2; i++) floor_of("", "weft", others[i], "fuse2fs", 1)
    # fuse2fs has no way to read or write its device but through the page cache, so both from memory.
    split("rand.read.1 rand.write.1", others, " ")
    for (i = 1; i <= 2; i++) floor_of("both on tmpfs", "weft-tmpfs", others[i], "fuse2fs-tmpfs", 1)
    split("rand.read.32 rand.write.32", deep, " ")
    for (i = 1; i <= 2; i++) {
        floor_of("both on tmpfs", "weft-tmpfs", deep[i], "pt-tmpfs", 0.5)
        floor_of("same disk", "weft", deep[i], "ext4", 0.7)
    }
    floor_of("streaming", "weft", "stream.read", "ext4", 0.7)
    floor_of("streaming", "weft", "stream.write", "ext4", 0.7)
    if (floors != "") printf "\n| floor | | ours | at least | ratio | |\n| --- | --- | ---: | --- | ---: | --- |\n%s", floors
    exit missed > 0
}
