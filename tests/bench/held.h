/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench: documents of n nodes, and a source that hands over one of two held in memory, which differ
 * in one node. */
#ifndef HELD_H
#define HELD_H

#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stddef.h>

struct held_documents {
	char *texts[2];
	size_t lengths[2];
	size_t strings; /* bytes of ids, hosts and labels of one document, with their NULs */
	_Atomic unsigned which;
};

void held_make(struct held_documents *held, size_t nodes); /* ends the program when out of memory */
void held_free(struct held_documents *held);

/* Opens a handle with source=held: and "key=value" strings ended by NULL; generation 1 is live.
 * `held` NULL: source=none. Ends the program if the handle cannot be opened. */
struct safestart *held_open(struct held_documents *held,
			    const struct safestart_callbacks *callbacks, void *user_data,
			    const char *first, ...);

void held_flip(struct held_documents *held); /* hands over the other document from now on */
void held_close(struct safestart *ss);

#endif
