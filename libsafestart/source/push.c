/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* push: the set that was pushed, under its own lock, which orders it with the request for it. */
#include "source/push.h"

void push_init(struct push *push)
{
	pthread_mutex_init(&push->lock, NULL);
	push->desired = NULL;
}

void push_clear(struct push *push)
{
	nodeset_unref(push->desired);
	pthread_mutex_destroy(&push->lock);
}

struct nodeset *push_desired(struct push *push)
{
	pthread_mutex_lock(&push->lock);
	struct nodeset *desired = push->desired != NULL ? nodeset_ref(push->desired) : NULL;
	pthread_mutex_unlock(&push->lock);
	return desired;
}
