/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source/push: the desired set comes by function call. The one source that is part of the handle,
 * since its input does not come from outside. Any thread. */
#ifndef SAFESTART_SOURCE_PUSH_H
#define SAFESTART_SOURCE_PUSH_H

#include <pthread.h>

#include "nodes/nodeset.h"

struct push {
	pthread_mutex_t lock;    /* also orders a set with the request for it */
	struct nodeset *desired; /* guarded by lock; NULL: nothing was pushed yet */
};

void push_init(struct push *push);
void push_clear(struct push *push);

/* A reference to the desired set; NULL: nothing was pushed yet. */
struct nodeset *push_desired(struct push *push);

#endif
