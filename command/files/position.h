/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* position: line and column of groups and targets in the text of a file_sd document, for messages;
 * no JSON parser keeps them. The text must have been parsed before; on any other text the walk
 * still ends. Pure: no I/O, no memory. */
#ifndef SAFESTART_COMMAND_POSITION_H
#define SAFESTART_COMMAND_POSITION_H

#include <stdbool.h>
#include <stddef.h>

/* Counted as the library counts for malformed JSON: from 1, columns in characters. */
struct place {
	size_t line, column; /* 0: not known */
};

/* A walk over a document. */
struct position_walk {
	size_t group, target; /* from 1; target 0: the group itself */
	struct place place;   /* where it begins */
	const char *at;       /* where the walk is */
	struct place here;    /* the same as line and column */
	enum {
		POSITION_BEFORE,
		POSITION_GROUPS,
		POSITION_MEMBERS,
		POSITION_TARGETS,
		POSITION_AFTER
	} inside;
};

struct position_walk position_begin(const char *text);

/* Moves on in the order of the text: a group, then each of its targets. False: no more. Left out
 * are targets whose key is written with escapes, and targets that are not an array. */
bool position_next(struct position_walk *walk);

/* The place of one target, or with target 0 of its group. The walk goes there from where it is and
 * no further: asked in ascending order, all cost one walk together. */
struct place position_advance(struct position_walk *walk, size_t group, size_t target);
struct place position_find(const char *text, size_t group, size_t target);

#endif
