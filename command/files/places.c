/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* places: finds the entries that the library means, by their ids or by what its reasons say. Main
 * thread. */
#include "files/places.h"

#include <errno.h>
#include <safestart/safestart.h>
#include <stdlib.h>
#include <string.h>

#include "files/file_sd.h"

/* Reads `words` and the number behind them, and moves *at behind both. */
static bool parse_number(const char **at, const char *words, size_t *number)
{
	size_t length = strlen(words);
	char *end;

	if (strncmp(*at, words, length) != 0 || (*at)[length] < '0' || (*at)[length] > '9')
		return false;
	*number = strtoul(*at + length, &end, 10);
	*at = end;
	return true;
}

bool places_of_refusal(const char *why, const char *text, struct place *place)
{
	const char *at = why, *line = strstr(at, "line ");
	size_t group, target = 0;
	struct place found;

	*place = (struct place){0};
	if (parse_number(&at, "group ", &group)) {
		(void)parse_number(&at, ": target ", &target);
		*place = position_find(text, group, target);
		return true;
	}
	if (strncmp(at, "the document ", 13) == 0 && line != NULL &&
	    parse_number(&line, "line ", &found.line) &&
	    parse_number(&line, ", column ", &found.column))
		*place = found;
	return false;
}

/* All that would be quarantined under one id. */
struct fault {
	const char *id;
	json_t *result;
	struct file_sd_entry first;
	/* Of the first entry that is wrong by itself; if none is, and they only differ, of the
	 * first. */
	struct place place;
	size_t count; /* entries with this id */
	bool wrong;   /* an entry is wrong by itself */
	/* Where the reason itself says that it stands; group 0: it does not. */
	size_t group, target;
	bool twice; /* an entry without an id is named like the id of another */
};

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct fault *)a)->id, ((const struct fault *)b)->id);
}

/* The library says where something is that has no id, and a group that is wrong as a whole. */
static void read_place(struct fault *fault)
{
	const char *at = json_string_value(json_object_get(fault->result, "why"));

	if (at != NULL && parse_number(&at, "group ", &fault->group))
		(void)parse_number(&at, ": target ", &fault->target);
}

/* One fault for each quarantined id, sorted by id. NULL: no memory. */
static struct fault *list_faults(const json_t *quarantined)
{
	size_t count = json_array_size(quarantined);
	struct fault *faults = calloc(count + 1, sizeof(*faults));

	if (faults == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		json_t *result = json_array_get(quarantined, i);
		faults[i] = (struct fault){.id = json_string_value(json_object_get(result, "id")),
					   .result = result};
		read_place(&faults[i]);
	}
	qsort(faults, count, sizeof(*faults), by_id);
	for (size_t i = 1; i < count; i++) {
		if (by_id(&faults[i - 1], &faults[i]) == 0)
			faults[i - 1].twice = faults[i].twice = true;
	}
	return faults;
}

/* Would the entry be quarantined if it were the only one? */
static bool is_wrong(const struct file_sd_entry *entry)
{
	/* The id label names a target only if it is alone in its group. For any other the target is
	 * written twice, which is still one node. */
	json_t *document = json_pack("[{s:[s,s*],s:O*}]", "targets", entry->address,
				     entry->alone ? NULL : entry->address, "labels", entry->labels);
	char *text = document != NULL ? json_dumps(document, 0) : NULL;
	bool wrong = text != NULL && safestart_check(NULL, text, NULL, 0) == -EINVAL;

	free(text);
	json_decref(document);
	return wrong;
}

static void add_entry(struct fault *fault, const struct file_sd_entry *entry, struct place place)
{
	if (fault->count++ == 0) {
		fault->first = *entry;
		fault->place = place;
		return;
	}
	if (fault->count == 2)
		fault->wrong = is_wrong(&fault->first);
	if (!fault->wrong && is_wrong(entry)) {
		fault->wrong = true;
		fault->place = place;
	}
}

/* Adds every entry to the fault with its id. */
static void add_entries(struct fault *faults, size_t count, const struct file_sd *file_sd)
{
	struct position_walk walk = position_begin(file_sd->text);
	struct file_sd_entry entry = {0};

	while (file_sd_next(file_sd, &entry)) {
		struct place place =
			position_advance(&walk, (size_t)(entry.in - file_sd->groups) + 1,
					 entry.target + 1);
		struct fault *fault = bsearch(&(struct fault){.id = entry.id}, faults, count,
					      sizeof(*faults), by_id);
		if (fault != NULL)
			add_entry(fault, &entry, place);
	}
}

static int by_place(const void *a, const void *b)
{
	const struct fault *left = *(struct fault *const *)a, *right = *(struct fault *const *)b;

	if (left->group != right->group)
		return left->group < right->group ? -1 : 1;
	return left->target < right->target ? -1 : left->target > right->target;
}

/* What is where its reason says, in one walk. */
static void place_by_reason(struct fault *faults, size_t count, const char *text)
{
	struct fault **told = calloc(count + 1, sizeof(*told));
	struct position_walk walk = position_begin(text);
	size_t number = 0;

	for (size_t i = 0; told != NULL && i < count; i++) {
		if (faults[i].group > 0)
			told[number++] = &faults[i];
	}
	if (number > 1)
		qsort(told, number, sizeof(struct fault *), by_place);
	for (size_t i = 0; i < number; i++) {
		struct fault *fault = told[i];
		/* Several nodes may be left out for one reason. */
		bool same = i > 0 && by_place(&told[i - 1], &told[i]) == 0;
		fault->place = same ? told[i - 1]->place
				    : position_advance(&walk, fault->group, fault->target);
		fault->twice = false;
		fault->count += fault->count == 0;
	}
	free((void *)told);
}

void places_of_quarantined(json_t *quarantined, char *text, size_t length)
{
	struct fault *faults = list_faults(quarantined);
	struct file_sd file_sd;
	char why[300];

	if (file_sd_take(&file_sd, text, length, false, why, sizeof(why)) == 0 && faults != NULL) {
		add_entries(faults, json_array_size(quarantined), &file_sd);
		place_by_reason(faults, json_array_size(quarantined), file_sd.text);
	}
	for (size_t i = 0; faults != NULL && i < json_array_size(quarantined); i++) {
		const struct fault *fault = &faults[i];
		if (fault->place.line == 0 || fault->twice)
			continue;
		json_object_set_new(fault->result, "line",
				    json_integer((json_int_t)fault->place.line));
		json_object_set_new(fault->result, "column",
				    json_integer((json_int_t)fault->place.column));
		json_object_set_new(fault->result, "more",
				    json_integer((json_int_t)fault->count - 1));
	}
	file_sd_close(&file_sd);
	free(faults);
}
