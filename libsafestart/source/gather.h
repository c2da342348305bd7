/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gather: one reading of a source: what the source may ask meanwhile, and what it hands over. Part
 * of the run that reads; used on the thread that is inside the source, after SAFESTART_LATER on the
 * one it finishes on: one at a time. */
#ifndef SAFESTART_SOURCE_GATHER_H
#define SAFESTART_SOURCE_GATHER_H

#include <safestart/source.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/log.h"
#include "nodes/nodeset.h"

/* What a source warns of at every reading is logged as a failure that repeats. Atomic, for a
 * gather that is past its deadline may warn while the next one does. */
struct gather_warnings {
	_Atomic uint32_t words; /* a hash of the newest ones */
	_Atomic uint32_t times; /* readings in a row with these words */
	_Atomic bool said;      /* in the newest reading */
};

struct safestart_gather {
	/* Constant while it is open. */
	const struct nodeset_limits *limits;
	const struct log *log;
	struct gather_warnings *warnings; /* the source's */
	bool forced;
	bool may_be_unchanged; /* there is a previous one, of which the result is remembered */
	bool (*cancelled)(const struct safestart_gather *gather);
	int (*finish)(struct safestart_gather *gather, int error);

	/* The result. */
	struct nodeset *set; /* what was handed over last; NULL: nothing */
	bool unchanged;
	char words[256]; /* why it failed; "": it did not, or did not say why */
};

#endif
