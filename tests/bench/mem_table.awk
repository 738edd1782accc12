# mem_table.awk - "LOAD HEAP SECONDS KIB MICROSECONDS" lines become a table: of each load and heap the least CPU time, its median and the
# least peak; geometric means against jemalloc; and the rows in which weft is slower than the best of the others.
{
  if (!($1 in seen)) { order[++loads] = $1; seen[$1] = 1 }
  key = $1 SUBSEP $2
  runs[key]++
  cpu[key, runs[key]] = $3
  if (!(key in time) || $3 < time[key]) time[key] = $3
  if (!(key in peak) || $4 < peak[key]) peak[key] = $4
  if (!(key in wall) || $5 < wall[key]) wall[key] = $5
}
function median(key, n, i, j, swap) {
  n = runs[key]
  for (i = 1; i <= n; i++) sorted[i] = cpu[key, i]
  for (i = 1; i < n; i++) for (j = i + 1; j <= n; j++) if (sorted[j] < sorted[i]) { swap = sorted[i]; sorted[i] = sorted[j]; sorted[j] = swap }
  return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}
function row(name, values, i) {
  printf "%-16s", name
  for (i = 1; i <= count; i++) printf "%20.2f", exp(values[i] / loads)
  print ""
}
END {
  count = split(heaps, heap, " ")
  printf "%-16s", "s, median / MiB"
  for (i = 1; i <= count; i++) printf "%20s", heap[i]
  print ""
  for (n = 1; n <= loads; n++) {
    printf "%-16s", order[n]
    base = order[n] SUBSEP "jemalloc"
    best = 0
    for (i = 1; i <= count; i++) {
      key = order[n] SUBSEP heap[i]
      printf "  %5.3f %5.3f %6.1f", time[key], median(key), peak[key] / 1024
      t[i] += log((time[key] + 0.001) / (time[base] + 0.001))
      w[i] += log(wall[key] / wall[base])
      m[i] += log(peak[key] / peak[base])
      if (heap[i] != "weft" && heap[i] != "hardened" && (best == 0 || time[key] < best)) { best = time[key]; who = heap[i] }
    }
    print ""
    ours = time[order[n], "weft"]
    if (ours > best * 1.1) slower[++late] = sprintf("%s %.2f of %s", order[n], ours / best, who)
    h += log((time[order[n], "hardened"] + 0.001) / (ours + 0.001))
  }
  row("CPU, geo. mean", t)
  row("clock", w)
  row("peak", m)
  printf "hardened mode takes %.2f of the fast one's time\n", exp(h / loads)
  for (i = 1; i <= late; i++) print "slower than 1.1 of the best other: " slower[i]
}
