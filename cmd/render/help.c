/* Help, manual and completion, all out of the two tables of args.c. */
#include "cmd/render/render.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static size_t flag_text(const struct cmd_flag *f, char *out, size_t room)
{
    int n =
        snprintf(out, room, "%c%c%s--%s%s%s", f->letter ? '-' : ' ', f->letter ? f->letter : ' ',
                 f->letter ? ", " : "  ", f->name, f->value ? " " : "", f->value ? f->value : "");
    return (size_t)n;
}

static void flags(struct cmd_out *o, const struct cmd_verb *v)
{
    for (size_t i = 0; i < cmd_n_flags; i++) {
        const struct cmd_flag *f = &cmd_flags[i];
        char left[64];
        if (f->hidden || !cmd_flag_of(f, v))
            continue;
        size_t n = flag_text(f, left, sizeof left);
        cmd_put(o, "  ");
        cmd_put(o, left);
        cmd_pad(o, n < 24 ? 24 - n : 2);
        cmd_put(o, f->help);
        if (f->env)
            cmd_printf(o, " [$%s]", f->env);
        cmd_put(o, "\n");
    }
}

static void heading(struct cmd_out *o, const char *text)
{
    cmd_style(o, CMD_BOLD);
    cmd_put(o, text);
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, "\n");
}

/* "Also: berth ls, berth ps": nothing where a verb has no alias. */
static void aliases(struct cmd_out *o, const struct cmd_verb *v, const char *before,
                    const char *between, const char *after)
{
    size_t n = 0;
    for (size_t i = 0; i < cmd_n_words; i++)
        if (cmd_words[i].alias && !strcmp(cmd_words[i].alias, v->name))
            cmd_printf(o, "%s%s", n++ ? between : before, cmd_words[i].word);
    if (n)
        cmd_put(o, after);
}

void cmd_render_help(struct cmd_out *o, const struct cmd_verb *v)
{
    if (v) {
        cmd_printf(o, "berth %s%s%s [flags]: %s\n\n", v->name, *v->synopsis ? " " : "", v->synopsis,
                   v->summary);
        if (*v->text) {
            cmd_wrap(o, v->text, 0, 0, CMD_WIDTH);
            cmd_put(o, "\n\n");
        }
        aliases(o, v, "Also: berth ", ", berth ", "\n\n");
        heading(o, "Flags");
        flags(o, v);
        cmd_put(o, "\n");
        heading(o, "Example");
        cmd_printf(o, "  %s\n", v->example);
        return;
    }
    cmd_put(o, "berth makes this host what a file says: a bridge, NAT, containers.\n\n");
    heading(o, "Usage");
    cmd_put(o, "  berth VERB [SPEC] [flags]\n\n");
    heading(o, "Verbs");
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        size_t n = strlen(cmd_verbs[i].name);
        cmd_printf(o, "  %s", cmd_verbs[i].name);
        cmd_pad(o, n < 12 ? 12 - n : 2);
        cmd_printf(o, "%s", cmd_verbs[i].summary);
        aliases(o, &cmd_verbs[i], " (also: ", ", ", ")");
        cmd_put(o, "\n");
    }
    cmd_put(o, "\n");
    heading(o, "Flags of every verb");
    flags(o, NULL);
    cmd_put(
        o,
        "\nSPEC is the argument, else $BERTH_SPEC, ./berth.yaml, /etc/berth/berth.yaml; - is\n"
        "standard input. `berth help VERB` tells more of a verb; `man berth`, `man berth.yaml`.\n");
}

/* roff: backslashes and leading dots are commands, and a plain hyphen is no minus. */
static void roff(struct cmd_out *o, const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p == '\\')
            cmd_put(o, "\\e");
        else if (*p == '-')
            cmd_put(o, "\\-");
        else if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n'))
            cmd_printf(o, "\\&%c", *p);
        else
            cmd_putn(o, p, 1);
}

static void manual_flag(struct cmd_out *o, const struct cmd_flag *f)
{
    cmd_put(o, ".TP\n");
    if (f->letter) {
        cmd_printf(o, ".BR \\-%c ,\\  \\-\\-", f->letter);
        roff(o, f->name);
    } else {
        cmd_put(o, ".BR \\-\\-");
        roff(o, f->name);
    }
    if (f->value)
        cmd_printf(o, " \" \\fI%s\\fR\"", f->value);
    cmd_put(o, "\n");
    char text[200];
    snprintf(text, sizeof text, "%c%s.", toupper((unsigned char)f->help[0]), f->help + 1);
    roff(o, text);
    if (f->env) {
        cmd_put(o, "\nAlso \\fB");
        roff(o, f->env);
        cmd_put(o, "\\fR.");
    }
    cmd_put(o, "\n");
}

void cmd_render_manual(struct cmd_out *o)
{
    cmd_put(o, ".SH VERBS\n");
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        const struct cmd_verb *v = &cmd_verbs[i];
        cmd_put(o, ".SS berth ");
        cmd_put(o, v->name);
        cmd_put(o, *v->synopsis ? " " : "");
        roff(o, v->synopsis);
        cmd_put(o, "\n");
        char text[200];
        snprintf(text, sizeof text, "%c%s.", toupper((unsigned char)v->summary[0]), v->summary + 1);
        roff(o, text);
        cmd_put(o, "\n");
        if (*v->text) {
            roff(o, v->text);
            cmd_put(o, "\n");
        }
        aliases(o, v, "Also \\fBberth ", "\\fR, \\fBberth ", "\\fR.\n");
        for (size_t k = 0; k < cmd_n_flags; k++)
            if (!cmd_flags[k].hidden && cmd_flags[k].verbs && cmd_flag_of(&cmd_flags[k], v))
                manual_flag(o, &cmd_flags[k]);
        cmd_put(o, ".PP\n.EX\n");
        roff(o, v->example);
        cmd_put(o, "\n.EE\n");
    }
    cmd_put(o, ".SH FLAGS OF EVERY VERB\n");
    for (size_t k = 0; k < cmd_n_flags; k++)
        if (!cmd_flags[k].hidden && !cmd_flags[k].verbs)
            manual_flag(o, &cmd_flags[k]);
}

static bool takes_names(const struct cmd_verb *v)
{
    switch (v->operands) {
    case CMD_TAKES_NAME:
    case CMD_TAKES_NAMES:
    case CMD_TAKES_ANY_NAMES:
    case CMD_TAKES_COMMAND:
    case CMD_TAKES_NAME_WORDS:
        return true;
    case CMD_TAKES_NOTHING:
    case CMD_TAKES_SPEC:
    case CMD_TAKES_WORD:
    case CMD_TAKES_WORDS:
    case CMD_TAKES_NAME_FILE:
    case CMD_TAKES_FILE:
    case CMD_TAKES_ANY_FILE:
        break;
    }
    return false;
}

static bool takes_file(const struct cmd_verb *v)
{
    return v->operands == CMD_TAKES_SPEC || v->operands == CMD_TAKES_FILE ||
           v->operands == CMD_TAKES_ANY_FILE;
}

static void verb_words(struct cmd_out *o)
{
    for (size_t i = 0; i < cmd_n_verbs; i++)
        cmd_printf(o, "%s%s", i ? " " : "", cmd_verbs[i].name);
}

/* bash: what follows a flag that takes a value. */
static void bash_values(struct cmd_out *o, const struct cmd_verb *v)
{
    cmd_put(o, "            case $prev in\n");
    for (size_t k = 0; k < cmd_n_flags; k++) {
        const struct cmd_flag *f = &cmd_flags[k];
        if (f->hidden || !f->value || !cmd_flag_of(f, v))
            continue;
        const struct cmd_offers *offers = cmd_flag_offers(f);
        cmd_printf(o, "                --%s", f->name);
        if (f->letter)
            cmd_printf(o, "|-%c", f->letter);
        cmd_put(o, ") ");
        switch (offers->offer) {
        case CMD_OFFERS_WORDS:
            cmd_printf(o, "COMPREPLY=($(compgen -W '%s' -- \"$cur\")); ", offers->words);
            break;
        case CMD_OFFERS_LIST:
            cmd_printf(o, "_berth_list %s; ", offers->words);
            break;
        case CMD_OFFERS_FILES:
            cmd_put(o, "_berth_paths -f; ");
            break;
        case CMD_OFFERS_FOLDERS:
            cmd_put(o, "_berth_paths -d; ");
            break;
        case CMD_OFFERS_NOTHING:
            break;
        }
        cmd_put(o, "return ;;\n");
    }
    cmd_put(o, "            esac\n");
}

static void bash(struct cmd_out *o)
{
    cmd_put(o, "# bash completion for berth\n"
               "_berth_paths()\n{\n"
               "    compopt -o filenames 2>/dev/null\n"
               "    mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\")\n"
               "}\n"
               "# Words with commas between: those that are not there yet.\n"
               "_berth_list()\n{\n"
               "    local before= word\n"
               "    [[ $cur == *,* ]] && before=${cur%,*},\n"
               "    compopt -o nospace 2>/dev/null\n"
               "    for word; do\n"
               "        [[ ,$before == *,$word,* ]] || COMPREPLY+=($(compgen -W \"$before$word\" "
               "-- \"$cur\"))\n"
               "    done\n"
               "}\n"
               "_berth()\n{\n"
               "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= i\n"
               "    COMPREPLY=()\n"
               "    # --flag=value comes as three words.\n"
               "    if [[ $cur == = ]]; then cur=\n"
               "    elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
               "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
               "        [[ ${COMP_WORDS[i]} != -* ]] && { verb=${COMP_WORDS[i]}; break; }\n"
               "    done\n"
               "    case $verb in\n        '') COMPREPLY=($(compgen -W '");
    verb_words(o);
    cmd_put(o, "' -- \"$cur\")) ;;\n");
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        const struct cmd_verb *v = &cmd_verbs[i];
        cmd_printf(o, "        %s", v->name);
        aliases(o, v, "|", "|", "");
        cmd_put(o, ")\n");
        bash_values(o, v);
        cmd_put(o, "            if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '");
        for (size_t k = 0, n = 0; k < cmd_n_flags; k++)
            if (!cmd_flags[k].hidden && cmd_flag_of(&cmd_flags[k], v))
                cmd_printf(o, "%s--%s", n++ ? " " : "", cmd_flags[k].name);
        cmd_put(o, "' -- \"$cur\"))\n");
        const struct cmd_offers *offers = cmd_verb_offers(v);
        if (takes_names(v))
            cmd_put(o, "            else COMPREPLY=($(compgen -W \"$(berth completion names "
                       "2>/dev/null)\" -- \"$cur\")); fi ;;\n");
        else if (v->operands == CMD_TAKES_NAME_FILE)
            cmd_put(o, "            else compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -W "
                       "\"$(berth completion names 2>/dev/null)\" "
                       "-- \"$cur\") $(compgen -f -- \"$cur\")); fi ;;\n");
        else if (takes_file(v))
            cmd_put(o, "            else _berth_paths -f; fi ;;\n");
        else if (offers->words)
            cmd_printf(o,
                       "            elif ((i == COMP_CWORD - 1)); then COMPREPLY=($(compgen -W "
                       "'%s' -- \"$cur\")); fi ;;\n",
                       offers->words);
        else if (v->run == cmd_help) {
            cmd_put(o, "            else COMPREPLY=($(compgen -W '");
            verb_words(o);
            cmd_put(o, "' -- \"$cur\")); fi ;;\n");
        } else
            cmd_put(o, "            fi ;;\n");
    }
    cmd_put(o, "    esac\n}\ncomplete -F _berth berth\n");
}

/* Within '…' of a shell, and brackets of zsh's _arguments. */
static void quoted(struct cmd_out *o, const char *text, bool zsh)
{
    for (const char *p = text; *p; p++)
        if (*p == '\'')
            cmd_put(o, zsh ? "'\\''" : "\\'");
        else if (zsh && strchr("[]:\\", *p))
            cmd_printf(o, "\\%c", *p);
        else
            cmd_putn(o, p, 1);
}

/* zsh: ":VALUE:ACTION", the rest of a flag's specification. */
static void zsh_value(struct cmd_out *o, const struct cmd_flag *f)
{
    const struct cmd_offers *offers = cmd_flag_offers(f);
    cmd_printf(o, ":%s:", f->value);
    switch (offers->offer) {
    case CMD_OFFERS_WORDS:
        cmd_printf(o, "(%s)", offers->words);
        break;
    case CMD_OFFERS_LIST:
        cmd_printf(o, "_values -s , %s %s", f->value, offers->words);
        break;
    case CMD_OFFERS_FILES:
        cmd_put(o, "_files");
        break;
    case CMD_OFFERS_FOLDERS:
        cmd_put(o, "_files -/");
        break;
    case CMD_OFFERS_NOTHING:
        break;
    }
}

static void zsh(struct cmd_out *o)
{
    cmd_put(o, "#compdef berth\n# zsh completion for berth\n_berth_names() { local -a n; "
               "n=(${(f)\"$(berth completion names "
               "2>/dev/null)\"}); compadd -a n }\n_berth()\n{\n    local -a verbs\n    verbs=(\n");
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        cmd_printf(o, "        '%s:", cmd_verbs[i].name);
        quoted(o, cmd_verbs[i].summary, true);
        cmd_put(o, "'\n");
    }
    cmd_put(o, "    )\n    if (( CURRENT == 2 )); then _describe verb verbs; return; fi\n    local "
               "verb=$words[2]\n"
               "    words=(\"${words[@]:1}\"); (( CURRENT-- ))\n    case $verb in\n");
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        const struct cmd_verb *v = &cmd_verbs[i];
        cmd_printf(o, "        %s", v->name);
        aliases(o, v, "|", "|", "");
        cmd_put(o, ") _arguments -s");
        for (size_t k = 0; k < cmd_n_flags; k++) {
            const struct cmd_flag *f = &cmd_flags[k];
            if (f->hidden || !cmd_flag_of(f, v))
                continue;
            for (int letter = f->letter ? 1 : 0; letter >= 0; letter--) {
                cmd_put(o, " \\\n            '");
                if (letter)
                    cmd_printf(o, "-%c[", f->letter);
                else
                    cmd_printf(o, "--%s%s[", f->name, f->value ? "=" : "");
                quoted(o, f->help, true);
                cmd_put(o, "]");
                if (f->value)
                    zsh_value(o, f);
                cmd_put(o, "'");
            }
        }
        if (takes_names(v))
            cmd_put(o, v->operands == CMD_TAKES_COMMAND
                           ? " \\\n            '1:container:_berth_names' '*::command:_normal'"
                           : " \\\n            '*:container:_berth_names'");
        else if (v->operands == CMD_TAKES_NAME_FILE)
            cmd_put(o, " \\\n            '1:container:_berth_names' '2:file:_files'");
        else if (takes_file(v))
            cmd_put(o, " \\\n            '1:file:_files'");
        else if (cmd_verb_offers(v)->words)
            cmd_printf(o, " \\\n            '1:word:(%s)'", cmd_verb_offers(v)->words);
        else if (v->run == cmd_help) {
            cmd_put(o, " \\\n            '1:verb:(");
            verb_words(o);
            cmd_put(o, ")'");
        }
        cmd_put(o, " ;;\n");
    }
    cmd_put(o, "    esac\n}\n_berth \"$@\"\n");
}

/* fish: the beginning of a line that counts after this verb; its quote is still open. */
static void fish_after(struct cmd_out *o, const struct cmd_verb *v)
{
    cmd_printf(o, "complete -c berth -n '__fish_seen_subcommand_from %s", v->name);
    aliases(o, v, " ", " ", "");
}

static void fish_value(struct cmd_out *o, const struct cmd_offers *offers)
{
    switch (offers->offer) {
    case CMD_OFFERS_WORDS:
        cmd_printf(o, " -x -a '%s'", offers->words);
        break;
    case CMD_OFFERS_LIST:
        cmd_printf(o, " -x -a '(__fish_append , %s)'", offers->words);
        break;
    case CMD_OFFERS_FILES:
        cmd_put(o, " -r -F");
        break;
    case CMD_OFFERS_FOLDERS:
        cmd_put(o, " -x -a '(__fish_complete_directories)'");
        break;
    case CMD_OFFERS_NOTHING:
        cmd_put(o, " -x");
        break;
    }
}

static void fish(struct cmd_out *o)
{
    cmd_put(o, "# fish completion for berth\ncomplete -c berth -f\n");
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        cmd_printf(o, "complete -c berth -n __fish_use_subcommand -a %s -d '", cmd_verbs[i].name);
        quoted(o, cmd_verbs[i].summary, false);
        cmd_put(o, "'\n");
    }
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        const struct cmd_verb *v = &cmd_verbs[i];
        for (size_t k = 0; k < cmd_n_flags; k++) {
            const struct cmd_flag *f = &cmd_flags[k];
            if (f->hidden || !cmd_flag_of(f, v))
                continue;
            fish_after(o, v);
            cmd_printf(o, "' -l %s", f->name);
            if (f->letter)
                cmd_printf(o, " -s %c", f->letter);
            if (f->value)
                fish_value(o, cmd_flag_offers(f));
            cmd_put(o, " -d '");
            quoted(o, f->help, false);
            cmd_put(o, "'\n");
        }
        const struct cmd_offers *offers = cmd_verb_offers(v);
        bool names = takes_names(v) || v->operands == CMD_TAKES_NAME_FILE;
        bool files = takes_file(v) || v->operands == CMD_TAKES_NAME_FILE;
        if (!names && !files && !offers->words && v->run != cmd_help)
            continue;
        fish_after(o, v);
        if (offers->words)
            cmd_printf(o, "; and not __fish_seen_subcommand_from %s' -a '%s", offers->words,
                       offers->words);
        cmd_put(o, files ? "' -F" : "'");
        if (names)
            cmd_put(o, " -a '(berth completion names 2>/dev/null)'");
        if (v->run == cmd_help) {
            cmd_put(o, " -a '");
            verb_words(o);
            cmd_put(o, "'");
        }
        cmd_put(o, "\n");
    }
}

bool cmd_render_completion(struct cmd_out *o, const char *shell)
{
    if (!strcmp(shell, "bash"))
        bash(o);
    else if (!strcmp(shell, "zsh"))
        zsh(o);
    else if (!strcmp(shell, "fish"))
        fish(o);
    else
        return false;
    return true;
}
