# sched_table.awk - turns the figures of sched.sh (one JSON object a line) into Markdown: times, memory, and whether the aims are met.
# Needs figures.awk. Variables: order (names of the systems; ours is weft), machine (one line about the run).
# Exit status 1 if an aim is missed.

{
    system_of = field("system")
    row = field("row")
    if (!(row in unit)) { rows[++row_count] = row; unit[row] = field("unit") }
    sample(system_of SUBSEP row, field("median"))
    sample("min" SUBSEP system_of SUBSEP row, field("min"))
    if (field("peak_kb") != "") sample("peak" SUBSEP system_of SUBSEP row, field("peak_kb"))
}
function median(name, row) { return median_of(name SUBSEP row) }
# More is better for what is counted in a second, less for all else.
function more_is_better(row) { return unit[row] ~ /\/s$/ }
function best(name, row) { return more_is_better(row) ? most_of("min" SUBSEP name SUBSEP row) : least_of("min" SUBSEP name SUBSEP row) }
function best_peer(row,    i, value, found) {
    found = -1e18
    best_name = ""
    for (i = 1; i <= columns; i++) {
        value = median(names[i], row)
        if (names[i] != "weft" && has(value) && (!has(found) || (more_is_better(row) ? value > found : value < found))) { found = value; best_name = names[i] }
    }
    return found
}
# How many times as good ours is: above 1 is better.
function ratio(row, own, peer) {
    # A difference of two times may be below zero.
    if (own <= 0 || peer <= 0) return own <= peer ? 1 : 0
    return more_is_better(row) ? own / peer : peer / own
}
function header_of(first,    i, text, rule) {
    text = "| " first
    rule = "| ---"
    for (i = 1; i <= columns; i++) { text = text " | " names[i]; rule = rule " | ---:" }
    return text "\n" rule
}
function aim(what, row, asked, holds, shown) {
    aims = aims sprintf("| %s | %s | %s | %s |\n", what, asked, shown, holds ? "met" : "**missed**")
    if (!holds) missed++
}
function at_most(what, row, limit,    own) {
    own = median("weft", row)
    if (has(own)) aim(what, row, "at most " limit " " unit[row], own <= limit, short(own))
}
END {
    columns = split(order, names, " ")
    print "Scheduler benchmark: " machine ". Each figure: best / median of the rounds; the ratio is of medians, of the best peer to ours,"
    print "above 1 is better.\n"
    header = header_of("row")
    sub(/\n/, " | ratio |\n", header)
    print header " | ---: |"
    for (r = 1; r <= row_count; r++) {
        row = rows[r]
        if (row ~ /^file_cpu/) continue
        text = "| " row ", " unit[row]
        for (i = 1; i <= columns; i++) {
            value = median(names[i], row)
            text = text " | " (!has(value) ? "-" : short(best(names[i], row)) " / " short(value))
        }
        peer = best_peer(row)
        own = median("weft", row)
        print text " | " (has(peer) && has(own) ? sprintf("%.2f", ratio(row, own, peer)) : "-") " |"
    }
    print "\nThe most memory resident in a row, MiB:\n"
    header = header_of("row")
    sub(/\n/, " |\n", header)
    print header " |"
    for (r = 1; r <= row_count; r++) {
        row = rows[r]
        text = "| " row
        some = 0
        for (i = 1; i <= columns; i++) {
            value = most_of("peak" SUBSEP names[i] SUBSEP row)
            if (has(value)) some = 1
            text = text " | " (!has(value) ? "-" : sprintf("%.0f", value / 1024))
        }
        if (some) print text " |"
    }

    at_most("yield", "yield_2", 15)
    at_most("yield among 1,000", "yield_1000", 15)
    at_most("spawn and join", "spawn_join", 40)
    at_most("batch of 100,000", "batch_100k", 60)
    at_most("batch of 1,000,000", "batch_1m", 60)
    at_most("a fork", "fib", 15)
    at_most("skynet", "skynet_1m", 20)
    peak = most_of("peak" SUBSEP "weft" SUBSEP "skynet_1m")
    if (has(peak)) aim("skynet's memory", "skynet_1m", "under 64 MiB", peak < 65536, sprintf("%.0f", peak / 1024))
    at_most("mutex", "mutex_free", 8)
    at_most("channel round trip, one worker", "channel_same", 100)
    at_most("the same across workers", "channel_across", 1000)
    at_most("timer armed and cancelled", "timer_arm_cancel", 50)
    for (r = 1; r <= row_count; r++) {
        row = rows[r]
        own = median("weft", row)
        if (!has(own) || row ~ /^file_/) continue
        peer = best_peer(row)
        if (has(peer)) aim("no slower than the best peer: " row, row, best_name " " short(peer), ratio(row, own, peer) >= 1, short(own))
    }
    for (r = 1; r <= row_count; r++) {
        row = rows[r]
        if (row !~ /^file_read/) continue
        fio = median("fio", row)
        own = median("weft", row)
        if (fio > 0 && has(own)) aim("reads a second: " row, row, "0.95 of fio's " short(fio), own >= 0.95 * fio, short(own))
        cpu = row
        sub(/read/, "cpu", cpu)
        if (median("fio", cpu) > 0 && own > 0)
            aim("processor time for a read: " row, cpu, "as fio (1.05)", median("weft", cpu) / own <= 1.05 * median("fio", cpu) / fio,
                sprintf("%.2f of fio's", median("weft", cpu) / own / (median("fio", cpu) / fio)))
    }
    printf "\n| aim | asked | ours | |\n| --- | --- | ---: | --- |\n%s", aims
    exit missed > 0
}
