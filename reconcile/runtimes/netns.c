/* The namespace alone: no settings, no process. Kinds netns and port do all of it. */
#include "reconcile/runtime.h"

const struct rec_runtime rec_runtime_netns = {.name = "netns", .id = SPEC_RT_NETNS};
