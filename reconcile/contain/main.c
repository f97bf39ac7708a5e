/* berth-contain — keeps a container within its limits. berth and berth's units start it.
 *
 *     berth-contain etc DIR PROGRAM ARGUMENT...   mount a limited copy of DIR over DIR, then
 *                                                 execute PROGRAM
 *     berth-contain log FILE                      write standard input to FILE and FILE.old
 */
#include "reconcile/contain/contain.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FAILED = 126, USAGE = 64 };

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "log"))
        return contain_log(argv[2]) ? FAILED : 0;
    if (argc < 4 || strcmp(argv[1], "etc") != 0) {
        dprintf(2, "berth-contain: berth starts this program, see berth.yaml(5)\n");
        return USAGE;
    }
    if (contain_etc(argv[2]))
        return FAILED;
    execv(argv[3], argv + 3);
    dprintf(2, "%s: %s\n", argv[3], strerror(errno));
    return FAILED;
}
