/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* position: where in the text of a file_sd document its groups and targets stand, for words to
 * people: no parser keeps that. The text has been taken for JSON by one; of any other text nothing
 * is promised but an end. Pure. */
#ifndef SAFESTART_COMMAND_POSITION_H
#define SAFESTART_COMMAND_POSITION_H

#include <stdbool.h>
#include <stddef.h>

/* As the library counts for malformed JSON: from 1, columns in characters. */
struct place {
	size_t line, column; /* 0: not known */
};

/* A walk over a document. */
struct position_walk {
	size_t group, target; /* from 1; target 0: the group itself */
	struct place place;   /* where that begins */
	const char *at;       /* where the walk is, and ... */
	struct place here;    /* ... that in lines */
	enum {
		POSITION_BEFORE,
		POSITION_GROUPS,
		POSITION_MEMBERS,
		POSITION_TARGETS,
		POSITION_AFTER
	} inside;
};

struct position_walk position_begin(const char *text);

/* The next in the order of the text: a group, then each of its targets. False: there is no more.
 * The targets of a group whose key for them is written with escapes are left out, as is what else
 * is no array. */
bool position_next(struct position_walk *walk);

/* One of them, target 0: the group. The walk goes there, from where it is, and no further: asked in
 * order, all cost one walk. */
struct place position_advance(struct position_walk *walk, size_t group, size_t target);
struct place position_find(const char *text, size_t group, size_t target);

#endif
