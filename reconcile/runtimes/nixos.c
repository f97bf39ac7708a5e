/* The row for NixOS containers: its place is kept, and asking for it is refused with what to do instead. */
#include "reconcile/runtime.h"

static const char *refuse(const struct rec_run *run, const struct spec_container *c)
{
    (void)run, (void)c;
    return "this version of berth does not run NixOS containers yet; `runtime: nspawn` with a `root`, or `runtime: netns`, does";
}

const struct rec_runtime rec_runtime_nixos = {.name = "nixos", .id = SPEC_RT_NIXOS, .refuse = refuse};
