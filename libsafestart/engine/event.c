/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* event: with events=pull, the application takes what it is told. Any thread. */
#include <errno.h>
#include <string.h>

#include "engine/engine.h"
#include "run/run.h"

int safestart_event_fd(struct safestart *ss)
{
	return ss != NULL && ss->mailbox != NULL ? ss->mailbox->read_fd : -EINVAL;
}

/* Under the handle's lock: a run that is told of lasts, for its finish needs the lock. */
static int take_locked(struct safestart *ss, struct safestart_event *event)
{
	int taken = mailbox_take(ss->mailbox, event);

	if (event->run != NULL)
		event->run_number = event->run->number;
	return taken;
}

int safestart_next_event(struct safestart *ss, struct safestart_event *event)
{
	struct safestart_event told = {.size = sizeof(told)};

	if (ss == NULL || event == NULL || event->size < sizeof(told) || ss->mailbox == NULL)
		return -EINVAL;
	int revived = ss->revive(ss);
	if (revived < 0)
		return revived;
	pthread_mutex_lock(&ss->lock);
	int result = take_locked(ss, &told);
	pthread_mutex_unlock(&ss->lock);
	told.size = event->size;
	*event = told;
	return result;
}
