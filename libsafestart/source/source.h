/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source: the life of the source that a handle reads: opened, its descriptor taken, closed; in a
 * forked child closed and opened again. On the thread that opens or closes the handle, and on the
 * worker. Calls the source's own functions, so no lock is held. */
#ifndef SAFESTART_SOURCE_SOURCE_H
#define SAFESTART_SOURCE_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "source/gather.h"
#include "source/push.h"
#include "source/sources.h"

enum source_kind {
	SOURCE_PUSH, /* by call */
	SOURCE_NONE,
	SOURCE_ADDED /* one that settings know: file, or the application's */
};

/* The handle's part that this storey guards. */
struct source_part {
	enum source_kind kind; /* constant */
	const char *name;      /* constant: as the setting has it, "file:PATH" */
	struct push push;
	const struct source_entry *entry; /* SOURCE_ADDED; the settings' */
	void *state;                      /* worker, and open and close */
	_Atomic int fd; /* for hints; -1: none yet. Once there is one it stays; dispatching thread
			   and worker */
	bool open;
	bool inherited; /* the state is the parent's: open it again before the first gather */
	bool torn;      /* and the parent was inside it: leave it alone */
	struct gather_warnings warnings;
};

/* Of settings' `sources`, by settings' `source`; opens nothing. */
void source_init(struct source_part *source, const struct source_entry *sources, const char *name);

/* Nothing of it for push and none. 0 or -errno, and the words. */
int source_open(struct source_part *source, char *why, size_t why_size);
void source_close(struct source_part *source);

/* Read. What SOURCE_ADDED's gather returned; or why it could not be opened. Worker. */
int source_gather(struct source_part *source, struct safestart_gather *gather);

/* The descriptor is readable: is there something new? Worker. */
bool source_hint(struct source_part *source);

/* In a forked child no function of the application may be called: its state is left where it is. */
void source_abandon(struct source_part *source);

#endif
