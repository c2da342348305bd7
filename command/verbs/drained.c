/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* drained: reads the notes beside the node files that processes name as their source. Changes
 * nothing; locks nothing. */
#include "verbs/drained.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/table.h"
#include "base/text.h"
#include "files/drains.h"
#include "hosts/reference.h"

#define LINES_MAX 20

/* Two processes may name one file. A relative path is relative to the directory of that process,
 * which is not known here. */
static bool is_new_file(const struct processes *processes, size_t at)
{
	const char *source = member_text(peer_status(&processes->peers[at]), "source");

	for (size_t i = 0; i < at; i++) {
		if (strcmp(member_text(peer_status(&processes->peers[i]), "source"), source) == 0)
			return false;
	}
	return strncmp(source, "file:/", 6) == 0;
}

json_t *drained_find(const struct processes *processes)
{
	json_t *all = json_array(), *one;
	int failed = all == NULL;
	size_t index;

	for (size_t i = 0; failed == 0 && i < processes->count; i++) {
		const char *source = member_text(peer_status(&processes->peers[i]), "source");
		if (!is_new_file(processes, i))
			continue;
		json_t *list = drains_list_at(source + 5, time(NULL));
		failed |= list == NULL;
		json_array_foreach(list, index, one)
			failed |= json_object_set_new(one, "file", json_string(source + 5));
		failed |= json_array_extend(all, list);
		json_decref(list);
	}
	if (failed == 0)
		return all;
	json_decref(all);
	return NULL;
}

static void print_one(const json_t *one)
{
	bool in_file = member_bool(one, "in_file", false);
	char words[DRAINS_WORDS_SIZE];

	drains_words(one, words);
	fputs(in_file ? colour_on(COLOUR_BAD) : "", stdout);
	text_print(member_text(one, "id"));
	fputs(in_file ? colour_off() : "", stdout);
	fputs(": ", stdout);
	text_print(words);
	fputs(in_file ? ", but in the file: the servers use it: " : ": ", stdout);
	text_print(member_text(one, "file"));
	putchar('\n');
}

void drained_print(const json_t *drained)
{
	size_t index, printed = 0;
	const json_t *one;

	for (int in_file = 1; in_file >= 0; in_file--) {
		json_array_foreach(drained, index, one) {
			if (member_bool(one, "in_file", false) == (in_file == 1) &&
			    printed++ < LINES_MAX)
				print_one(one);
		}
	}
	if (printed > LINES_MAX)
		printf("and %zu more drained nodes; for all of them: safestart status --json\n",
		       printed - LINES_MAX);
}
