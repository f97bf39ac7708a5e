/* cmd/boot.h — the first apply of a boot: at once, and again when the uplink is there.
 * Files    $NOTIFY_SOCKET: READY=1 once the first apply is done, STATUS= with what is pending;
 *          sd_notify(3). */
#ifndef CMD_BOOT_H
#define CMD_BOOT_H
#include "cmd/converge.h"

/* Applies. In the first run of a boot it then waits up to args.boot_wait_ms for the default routes
 * and the resolver that the spec needs, and applies again. CMD_LOCKED: all else is applied, and
 * these are still missing. */
enum cmd_exit cmd_boot_apply(struct cmd *c, struct cmd_converge *v);
#endif
