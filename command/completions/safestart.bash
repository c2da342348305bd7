# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for safestart(1): the program itself says which words may come next.
_safestart() {
	local current=${COMP_WORDS[COMP_CWORD]} words word
	words=$("${COMP_WORDS[0]}" complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return
	COMPREPLY=()
	while IFS=$'\t' read -r word _; do
		case $word in
		@files) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current") ;;
		@directories) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$current") ;;
		@commands) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -c -- "$current") ;;
		"$current"*) COMPREPLY+=("$word") ;;
		esac
	done <<<"$words"
}
complete -o filenames -F _safestart safestart
