/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* group: reads a group twice: the first time it is judged whole and its members are found, the
 * second time its labels and targets become entries. So nothing is built of what is skipped, and
 * what is built is one entry at a time. [P23] Any thread; no I/O. */
#include "nodes/group.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"

struct group {
	size_t start;
	size_t targets, labels; /* where their values begin; 0: there are none */
	size_t target_count;
	const char *id; /* the id label, decoded; NULL: none that can be used */
	size_t label_count;
	char *free;       /* the room behind what is decoded */
	char like[40];    /* a member whose name looks like "targets"; "": none */
	char reason[200]; /* why none of it can be used; "": it can */
};

/* The first reason counts. */
__attribute__((format(printf, 3, 4))) static void find_fault(struct group *group,
							     const struct group_reader *reader,
							     const char *format, ...)
{
	char words[150];
	va_list arguments;

	if (group->reason[0] != '\0')
		return;
	va_start(arguments, format);
	(void)vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	message_clean(words);
	snprintf(group->reason, sizeof(group->reason), "group %zu: %s", reader->number, words);
}

/* A scan of text that was judged before. */
static struct scan again_from(const struct group_reader *reader, size_t at)
{
	return (struct scan){.text = reader->scan.text, .length = reader->scan.length, .at = at};
}

/* ---- The first time: judged, and its members found ---- */

/* Moves over an array of targets. */
static bool judge_targets(struct group_reader *reader, struct group *group)
{
	struct scan *scan = &reader->scan;
	char first = scan_peek(scan);

	if (group->targets != 0)
		find_fault(group, reader, "targets is there twice");
	group->targets = scan->at;
	group->target_count = 0;
	if (first != '[') {
		if (!scan_value(scan))
			return false;
		find_fault(group, reader, "targets is %s, not an array of strings",
			   scan_type_name(first));
		return true;
	}
	if (!scan_enter(scan))
		return false;
	while (scan_next(scan, ']', &group->target_count)) {
		if (!scan_value(scan))
			return false;
	}
	return scan->fault == SCAN_FINE;
}

static bool judge_labels(struct group_reader *reader, struct group *group)
{
	struct scan *scan = &reader->scan;
	char first = scan_peek(scan);

	if (group->labels != 0)
		find_fault(group, reader, "labels is there twice");
	group->labels = first == '{' ? scan->at : 0;
	if (!scan_value(scan))
		return false;
	if (first != '{')
		find_fault(group, reader, "labels is %s, not an object", scan_type_name(first));
	return true;
}

/* "targets", and what was probably meant to be. Not strcasecmp(): it depends on the locale. */
static bool names_targets(const char *key)
{
	for (const char *letter = "target"; *letter != '\0'; letter++, key++) {
		if (*key != *letter && *key != *letter - 'a' + 'A')
			return false;
	}
	return true;
}

static bool judge_member(struct group_reader *reader, struct group *group)
{
	struct scan *scan = &reader->scan;
	size_t key = scan->at;

	if (!scan_key(scan))
		return false;
	(void)scan_decode(scan, key, reader->decoded);
	if (strcmp(reader->decoded, "targets") == 0)
		return judge_targets(reader, group);
	if (strcmp(reader->decoded, "labels") == 0)
		return judge_labels(reader, group);
	if (names_targets(reader->decoded))
		message_copy(group->like, sizeof(group->like), reader->decoded);
	nodeset_warn(&reader->entries->warnings,
		     "group %zu: the member \"%.40s\" is unknown and is ignored; a group has "
		     "targets and labels",
		     reader->number, reader->decoded);
	return scan_value(scan);
}

static bool judge(struct group_reader *reader, struct group *group)
{
	struct scan *scan = &reader->scan;
	char first = scan_peek(scan);
	size_t members = 0;

	group->start = scan->at;
	group->free = reader->decoded;
	if (first != '{') {
		if (!scan_value(scan))
			return false;
		snprintf(group->reason, sizeof(group->reason),
			 "group %zu is %s, not an object with targets and labels", reader->number,
			 scan_type_name(first));
		return true;
	}
	if (!scan_enter(scan))
		return false;
	while (scan_next(scan, '}', &members)) {
		if (!judge_member(reader, group))
			return false;
	}
	if (group->targets == 0 && group->like[0] != '\0')
		find_fault(group, reader, "targets is missing; there is \"%s\" instead",
			   group->like);
	else if (group->targets == 0)
		find_fault(group, reader, "targets is missing");
	return scan->fault == SCAN_FINE;
}

/* ---- The second time: labels ---- */

/* The string at the place of the scan, which moves behind it. */
static const char *take_string(struct scan *scan, char **room)
{
	char *text = *room;

	invariant(text != NULL);
	*room += scan_decode(scan, scan->at, text) + 1;
	bool fine = scan_value(scan);
	invariant(fine); /* it was judged */
	(void)fine;
	return text;
}

static void read_label(struct group_reader *reader, struct group *group, struct scan *scan)
{
	char *room = group->free;
	const char *name = take_string(scan, &room), *value = NULL;

	(void)scan_peek(scan); /* the colon */
	scan->at++;
	char first = scan_peek(scan);
	if (first == '"')
		value = take_string(scan, &room);
	else
		(void)scan_value(scan);
	if (value == NULL)
		find_fault(group, reader, "the label \"%.40s\" is %s, not a string", name,
			   scan_type_name(first));
	bool is_id = strcmp(name, "id") == 0;
	if (is_id && group->id != NULL)
		find_fault(group, reader, "the label \"id\" is there twice");
	if (is_id)
		group->id = value;
	/* More than there may be are only counted. */
	else if (++group->label_count <= NODE_LABELS_MAX && value != NULL)
		reader->labels[group->label_count - 1] =
			(struct node_label){.name = name, .value = value};
	group->free = room;
}

static void read_labels(struct group_reader *reader, struct group *group)
{
	struct scan scan = again_from(reader, group->labels);
	size_t members = 0;

	if (group->labels == 0)
		return;
	(void)scan_enter(&scan);
	while (scan_next(&scan, '}', &members))
		read_label(reader, group, &scan);
	if (group->label_count > NODE_LABELS_MAX)
		find_fault(group, reader, "it has %zu labels; at most %d are allowed",
			   group->label_count, NODE_LABELS_MAX);
}

/* ---- The second time: targets ---- */

static int read_targets(struct group_reader *reader, const struct group *group)
{
	struct scan scan = again_from(reader, group->targets);
	/* With several targets, an id label does not say which of them it means. */
	struct entry_text text = {.id = group->target_count == 1 ? group->id : NULL,
				  .labels = reader->labels,
				  .label_count = group->label_count,
				  .group = reader->number};
	char reason[100];
	int error = 0;

	(void)scan_enter(&scan);
	while (error == 0 && scan_next(&scan, ']', &text.target)) {
		char first = scan_peek(&scan), *room = group->free;
		text.address = first == '"' ? take_string(&scan, &room) : NULL;
		if (text.address != NULL) {
			error = entries_add(reader->entries, &text);
			continue;
		}
		(void)scan_value(&scan);
		snprintf(reason, sizeof(reason), "group %zu: target %zu is %s, not a string",
			 reader->number, text.target, scan_type_name(first));
		error = entries_add_fault(reader->entries, &text, reason);
	}
	return error;
}

/* ---- A group that cannot be used ---- */

/* What goes through the addresses that the group probably means: counts them, or adds a fault for
 * each. */
struct naming {
	struct group_reader *reader;
	const struct group *group;
	struct entry_text text;
	bool adds;
	int error;
};

static void name_string(struct naming *naming, struct scan *scan)
{
	char *room = naming->group->free;

	naming->text.target++;
	naming->text.address = take_string(scan, &room);
	if (naming->adds && naming->error == 0)
		naming->error = entries_add_fault(naming->reader->entries, &naming->text,
						  naming->group->reason);
}

static void name_value(struct naming *naming, struct scan *scan)
{
	size_t elements = 0;

	if (scan_peek(scan) == '"') {
		name_string(naming, scan);
	} else if (scan_peek(scan) != '[') {
		(void)scan_value(scan);
	} else {
		(void)scan_enter(scan);
		while (scan_next(scan, ']', &elements)) {
			if (scan_peek(scan) == '"')
				name_string(naming, scan);
			else
				(void)scan_value(scan);
		}
	}
}

static void name_each(struct naming *naming)
{
	struct scan scan = again_from(naming->reader, naming->group->start);
	size_t members = 0;

	naming->text.target = 0;
	if (scan_peek(&scan) != '{')
		return;
	(void)scan_enter(&scan);
	while (scan_next(&scan, '}', &members)) {
		(void)scan_decode(&scan, scan.at, naming->group->free);
		bool means_targets = names_targets(naming->group->free);
		(void)scan_key(&scan);
		if (means_targets)
			name_value(naming, &scan);
		else
			(void)scan_value(&scan);
	}
}

/* The group is quarantined by the names of its nodes, so that the live ones stay as they are. [P11]
 * A group that names none could mean any of them: then nothing is applied. [P9] */
static int quarantine(struct group_reader *reader, const struct group *group)
{
	struct naming naming = {.reader = reader,
				.group = group,
				.text = {.group = reader->number}};

	name_each(&naming);
	size_t count = naming.text.target;
	if (count <= 1)
		naming.text.id = group->id;
	if (count == 0 && (group->id == NULL || node_check_id(group->id, NULL, 0) < 0)) {
		if (!reader->refused)
			message_set(reader->entries->why, reader->entries->why_size, 0, "%s",
				    group->reason);
		reader->refused = true;
		return 0;
	}
	if (count == 0)
		return entries_add_fault(reader->entries, &naming.text, group->reason);
	naming.adds = true;
	name_each(&naming);
	return naming.error;
}

int group_read(struct group_reader *reader)
{
	struct group group = {0};

	if (!judge(reader, &group))
		return -EINVAL;
	read_labels(reader, &group);
	return group.reason[0] != '\0' ? quarantine(reader, &group) : read_targets(reader, &group);
}
