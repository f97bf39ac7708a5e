#!/bin/sh
# Root writes into a repository of another user only through cmd/owned_dir.c. This lists every other call in the hook code that opens,
# makes, renames, removes or gives away a file by its path. Each line below was looked at: its path belongs to root, or a user without
# root runs it. A new line here is a decision about safety.
set -eu
cd "$(dirname "$0")/.."
want=$(
    cat <<'END'
cmd/hook_listen.c fopen(CMD_ENV_FILE
cmd/hook_listen.c rec_dir_make("/etc/berth"
cmd/hook_listen.c rec_dir_make(LOOK_DROPIN
cmd/hook_listen.c rec_file_write(CMD_ENV_FILE
cmd/hook_listen.c rec_file_write(CMD_ENV_FILE
cmd/hook_listen.c rec_file_write(LOOK_DROPIN_FILE
cmd/hook_listen.c rmdir(LOOK_DROPIN)
cmd/hook_listen.c unlink(LOOK_DROPIN_FILE)
cmd/hook_look.c chmod(CMD_LOOK_DIR
cmd/hook_look.c chmod(path
cmd/hook_look.c lchown(fresh
cmd/hook_look.c open(a->path
cmd/hook_look.c open(file
cmd/hook_look.c open(file
cmd/hook_look.c open(path
cmd/hook_look.c rec_dir_make(CMD_LOOK_DIR
cmd/hook_look.c rec_file_write(fresh
cmd/hook_look.c rename(fresh
cmd/hook_look.c unlink(path)
cmd/hook_turn.c open("/dev/null"
cmd/hook_turn.c open("/run/berth/hook.running"
cmd/hook_turn.c open(path
cmd/hook_turn.c rec_dir_make("/run/berth"
END
)
calls='(open|openat|openat2|creat|fopen|freopen|rename|renameat|renameat2|unlink|unlinkat|remove|rmdir|mkdir|mkdirat|symlink|symlinkat|link|linkat|chown|lchown|fchown|fchownat|chmod|fchmod|fchmodat|truncate|mknod|mknodat|mkfifo|mkfifoat|utimensat|rec_file_write|rec_dir_make|rec_dir_remove)'
have=$(grep -oE "(^|[^A-Za-z0-9_])$calls\([^,()]+\)?" cmd/hook_*.c cmd/cmd_hook.c | sed -E 's/:[^A-Za-z]?/ /' | LC_ALL=C sort)
if [ "$have" != "$want" ]; then
    printf 'calls outside of cmd/owned_dir.c:\n%s\n\nexpected:\n%s\n' "$have" "$want"
    exit 1
fi
# In owned_dir.c itself, only a file that was made there is given away, and every name counts from a held descriptor.
! grep -nE "(^|[^A-Za-z0-9_])(fopen|rename|unlink|rmdir|mkdir|symlink|link|chown|lchown|fchownat|chmod|fchmodat|truncate|mknod)\(" cmd/owned_dir.c
[ "$(grep -c 'fchown(' cmd/owned_dir.c)" = 1 ]
# Its callers.
callers=$(grep -lE 'owned_(write|give|rename|unlink|rmdir|mkdir|symlink)\(' cmd/*.c cmd/*/*.c | grep -v owned_dir.c | LC_ALL=C sort | tr '\n' ' ')
[ "$callers" = "cmd/hook_files.c cmd/hook_listen.c " ] || { echo "new callers: $callers"; exit 1; }
