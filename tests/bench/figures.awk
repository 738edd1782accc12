# figures.awk - what the tables of this folder share: figures out of JSON, medians, and numbers that can be read at a glance.
# Read before another: awk -f figures.awk -f fs_table.awk FILE.jsonl

# The value of a name in an object on one line.
function field(name,    at, rest) {
    at = index($0, "\"" name "\":")
    if (!at) return ""
    rest = substr($0, at + length(name) + 3)
    sub(/^"/, "", rest)
    sub(/[",}].*/, "", rest)
    return rest
}
# A sample of whatever the key stands for.
function sample(key, value) { samples[key, ++count[key]] = value + 0 }
# Far below zero where there is none.
function has(value) { return value > -1e17 }
function median_of(key,    n, i, j, t, v) {
    n = count[key]
    if (!n) return -1e18
    for (i = 1; i <= n; i++) v[i] = samples[key, i]
    for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j] < v[j - 1]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
function least_of(key,    i, least) {
    if (!count[key]) return -1e18
    least = samples[key, 1]
    for (i = 2; i <= count[key]; i++) if (samples[key, i] < least) least = samples[key, i]
    return least
}
function most_of(key,    i, most) {
    if (!count[key]) return -1e18
    most = samples[key, 1]
    for (i = 2; i <= count[key]; i++) if (samples[key, i] > most) most = samples[key, i]
    return most
}
# Thousands become k, so that a row can be read at a glance.
function short(value) {
    if (value >= 100000) return sprintf("%.0fk", value / 1000)
    if (value >= 10000) return sprintf("%.1fk", value / 1000)
    if (value >= 100) return sprintf("%.0f", value)
    if (value >= 10) return sprintf("%.1f", value)
    return sprintf("%.2f", value)
}
