# mem_table.awk - "LOAD HEAP SECONDS KIB" lines become a table of least values, and geometric means against jemalloc.
{
  if (!($1 in seen)) { order[++loads] = $1; seen[$1] = 1 }
  key = $1 SUBSEP $2
  if (!(key in time) || $3 < time[key]) time[key] = $3
  if (!(key in peak) || $4 < peak[key]) peak[key] = $4
}
function row(name, values, format, i) {
  printf "%-16s", name
  for (i = 1; i <= count; i++) printf format, values[i]
  print ""
}
END {
  count = split(heaps, heap, " ")
  printf "%-16s", "seconds / MiB"
  for (i = 1; i <= count; i++) printf "%20s", heap[i]
  print ""
  for (n = 1; n <= loads; n++) {
    printf "%-16s", order[n]
    for (i = 1; i <= count; i++) {
      key = order[n] SUBSEP heap[i]
      printf "%12.2f %7.1f", time[key], peak[key] / 1024
      base = order[n] SUBSEP "jemalloc"
      t[i] += log((time[key] + 0.001) / (time[base] + 0.001)); m[i] += log(peak[key] / peak[base])
    }
    print ""
  }
  for (i = 1; i <= count; i++) { t[i] = exp(t[i] / loads); m[i] = exp(m[i] / loads) }
  row("time, geo. mean", t, "%20.2f")
  row("peak, geo. mean", m, "%20.2f")
}
