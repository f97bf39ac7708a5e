# Lines `phase=… n=… calls=… messages=… …` of two sizes, to figures per container held against the goals.
{
    split($1, phase, "=")
    split($2, n, "=")
    for (i = 3; i <= NF; i++) {
        split($i, pair, "=")
        count[phase[2], n[2], pair[1]] = pair[2]
    }
}
function slope(phase, what) {
    return (count[phase, many, what] - count[phase, few, what]) / (many - few)
}
function judge(phase, what, unit, value, goal,    missed) {
    if (!((phase, many, "calls") in count) || !((phase, few, "calls") in count)) {
        printf "%-8s was not run\n", phase
        faults++
        return
    }
    missed = value > goal
    faults += missed
    printf "%-8s %-9s %-14s %8.2f  goal %5.2f%s\n", phase, what, unit, value, goal, missed ? "  MISSED" : ""
}
function per_container(phase, what, goal) {
    judge(phase, what, "per container", slope(phase, what), goal)
}
function in_all(phase, what, goal) {
    judge(phase, what, "in all", count[phase, many, what], goal)
}
END {
    # An apply reads the host once more when it is done, to prove itself: that is the observe phase's price, and counted there.
    per_container("create", "changes", 8)
    judge("create", "calls", "less the proof", slope("create", "calls") - slope("observe", "calls"), 14)
    in_all("create", "moved", 0)
    in_all("create", "renamed", 0)
    in_all("create", "programs", 0)
    per_container("create", "sysctls", 0)
    split("observe plan", quiet, " ")
    for (q = 1; q in quiet; q++) {
        per_container(quiet[q], "calls", 10)
        in_all(quiet[q], "changes", 0)
        in_all(quiet[q], "programs", 0)
        in_all(quiet[q], "sysctls", 0)
    }
    in_all("destroy", "dellinks", 2)
    in_all("destroy", "programs", 0)
    exit faults > 0
}
