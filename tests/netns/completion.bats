#!/usr/bin/env bats
# Completion, asked of the shells themselves.
load ../lab/lib

setup() {
    need_berth
    # The shells call the program by its name.
    mkdir "$BATS_TEST_TMPDIR/bin"
    ln -s "$BERTH" "$BATS_TEST_TMPDIR/bin/berth"
    PATH=$BATS_TEST_TMPDIR/bin:$PATH
    cd "$BATS_TEST_TMPDIR"
    mkdir folder
    touch afile
}

# Each of these prints what its shell offers for a line, sorted, on one line.
in_bash() {
    bash --norc -c '
        source <(berth completion bash)
        # As readline splits them: = is a word.
        read -ra COMP_WORDS <<<"${1//=/ = }"
        [[ $1 == *[\ =] ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _berth
        printf "%s\n" "${COMPREPLY[@]}"' bash "$1" | sort | xargs
}
in_fish() {
    HOME=$BATS_TEST_TMPDIR fish --no-config -c 'berth completion fish | source; complete -C "$argv[1]"' "$1" | cut -f1 | sort | xargs
}
# zsh has no way to ask: the real editor of a zsh on a terminal completes, and compadd notes what it is given.
in_zsh() {
    "$BERTH" completion zsh >_berth
    cat >ask.zsh <<-'END'
	zmodload zsh/zpty
	zpty -b z zsh -f -i
	zpty -w z 'PS1=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D'
	zpty -w z 'compadd() { local -a kept; builtin compadd -A kept "$@"; print -rl -- $kept >>offered; builtin compadd "$@" }'
	zpty -w z 'finish() { print >finished; exit }; zle -N finish; bindkey "^I" complete-word "^X" finish; : >offered; print >ready'
	read <ready
	while zpty -r z line; do :; done     # what it has printed; the rest fits into the terminal's buffer
	zpty -w -n z "$1"$'\t\x18'
	read <finished
	END
    rm -f ready finished
    mkfifo ready finished
    timeout 60 zsh -f ask.zsh "$1"
    sort -u offered | xargs
}

need_shell() { command -v "$1" >/dev/null || skip "$1 is not installed"; }

# offers SHELL LINE WORDS: all of WORDS, and nothing else.
offers() { assert_eq "$("in_$1" "$2")" "$3" "$1 after '$2'"; }

check() {
    local shell=$1
    offers "$shell" 'berth hook ' 'install status uninstall'
    offers "$shell" 'berth hook un' 'uninstall'
    offers "$shell" 'berth completion ' 'bash fish zsh'
    offers "$shell" 'berth plan --color ' 'always auto never'
    offers "$shell" 'berth apply --deny rest' 'restart'
    offers "$shell" 'berth up --color n' 'never'
    assert_match " $("in_$shell" 'berth help ') " ' validate '
    assert_match " $("in_$shell" 'berth plan --git ') " ' folder/? '
    refute_match " $("in_$shell" 'berth plan --git ') " ' afile '
    assert_match " $("in_$shell" 'berth apply --metrics af') " ' afile '
}

@test "bash: actions of hook, words of --deny and --color, files and folders" {
    check bash
    offers bash 'berth apply --deny ' 'delete recreate reload restart'
    offers bash 'berth apply --deny=re' 'recreate reload restart'
    offers bash 'berth apply --deny restart,re' 'restart,recreate restart,reload'
    offers bash 'berth hook install --color=' 'always auto never'
    # -f takes a file, but after `logs` it takes none.
    assert_match " $(in_bash 'berth plan -f af') " ' afile '
    refute_match " $(in_bash 'berth logs -f af') " ' afile '
}

@test "zsh: actions of hook, words of --deny and --color, files and folders" {
    need_shell zsh
    check zsh
    offers zsh 'berth apply --deny ' 'delete recreate reload restart'
}

@test "fish: actions of hook, words of --deny and --color, files and folders" {
    need_shell fish
    check fish
    offers fish 'berth apply --deny ' 'delete recreate reload restart'
    # fish's own helper for lists offers a word again that is there already.
    assert_match " $(in_fish 'berth apply --deny restart,re') " ' restart,recreate restart,reload '
}
