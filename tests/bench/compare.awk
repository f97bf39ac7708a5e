# Lines `ROUND VARIANT phase=… n=… us=… [rss_kb=…]` to a table. Of several figures of a phase in one run the least counts.
{
    phase = us = rss = ""
    for (i = 3; i <= NF; i++) {
        split($i, pair, "=")
        if (pair[1] == "phase") phase = pair[2]
        if (pair[1] == "us") us = pair[2]
        if (pair[1] == "rss_kb") rss = pair[2]
    }
    if (phase == "" || us == "") next
    key = phase SUBSEP $2 SUBSEP $1
    if (!(key in least) || us + 0 < least[key]) least[key] = us + 0
    if (rss + 0 > peak[$2]) peak[$2] = rss + 0
    if (!(phase in known)) { known[phase] = 1; phases[++n_phases] = phase }
    if ($1 + 0 > rounds) rounds = $1 + 0
}
function median(a, size,    i, j, v) {
    for (i = 2; i <= size; i++) {
        v = a[i]
        for (j = i - 1; j > 0 && a[j] > v; j--) a[j + 1] = a[j]
        a[j + 1] = v
    }
    return size % 2 ? a[(size + 1) / 2] : (a[size / 2] + a[size / 2 + 1]) / 2
}
# `plan` has no phase of its own in the limit: it is compared with observe.
function base_of(phase, round) {
    return least[(phase == "plan" && base_variant == "limit" ? "observe" : phase) SUBSEP base_variant SUBSEP round]
}
END {
    n_variants = split(variants, variant, ",")
    base_variant = ("," variants "," ~ /,limit,/) ? "limit" : variant[1]
    printf "n=%-13d", n
    for (v = 1; v <= n_variants; v++) printf "%22s", variant[v]
    print ""
    for (p = 1; p <= n_phases; p++) {
        printf "%-15s", phases[p]
        for (v = 1; v <= n_variants; v++) {
            times = ratios = 0
            for (r = 1; r <= rounds; r++) {
                key = phases[p] SUBSEP variant[v] SUBSEP r
                if (!(key in least)) continue
                time[++times] = least[key]
                base = base_of(phases[p], r)
                if (base) ratio[++ratios] = least[key] / base
            }
            if (!times) printf "%22s", "-"
            else if (!ratios) printf "%12.2f ms       ", median(time, times) / 1000
            else printf "%10.2f ms (%7.2f)", median(time, times) / 1000, median(ratio, ratios)
        }
        print ""
    }
    for (v = 1; v <= n_variants; v++)
        if (peak[variant[v]]) printf "peak memory of %s: %d KiB\n", variant[v], peak[variant[v]]
}
