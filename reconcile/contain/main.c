/* berth-contain — keeps a container within its limits. berth and berth's units start it.
 *
 *     berth-contain start DIR NSPAWN ARGUMENT...   execute systemd-nspawn with sources that nobody
 *                                                  can exchange and, if DIR/etc is one of them, a
 *                                                  limited copy of that
 *     berth-contain log FILE                       write standard input to FILE and FILE.old
 */
#include "reconcile/contain/contain.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FAILED = 126, USAGE = 64 };

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "log"))
        return contain_log(argv[2]) ? FAILED : 0;
    if (argc < 4 || strcmp(argv[1], "start") != 0) {
        dprintf(2, "berth-contain: berth starts this program, see berth.yaml(5)\n");
        return USAGE;
    }
    contain_start(argv[2], argv + 3);
    return FAILED;
}
