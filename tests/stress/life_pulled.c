/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* life with events=pull: a thread that sleeps until the descriptor is readable, and does what the
 * callbacks would have done. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "stress/life.h"

static pthread_t taker;
static void *left[64]; /* handed over, and live when nothing more comes */
static size_t left_count;

static void take(const struct safestart_event *event)
{
	switch (event->kind) {
	case SAFESTART_EVENT_PREPARE:
		safestart_run_finish(event->run, life_prepare(event->run));
		break;
	case SAFESTART_EVENT_RESTART: safestart_run_finish(event->run, 0); break;
	case SAFESTART_EVENT_RETIRE:
	case SAFESTART_EVENT_RETIRE_NODE: life_retire((void *)(uintptr_t)event->key); break;
	case SAFESTART_EVENT_OUTCOME: now.outcomes++; break;
	default: break;
	}
}

static void *takes(void *argument)
{
	struct pollfd descriptor = {.fd = safestart_event_fd(now.ss), .events = POLLIN};
	struct safestart_event event = {.size = sizeof(event)};
	int result = 0;

	while (result >= 0) {
		poll(&descriptor, 1, -1);
		while ((result = safestart_next_event(now.ss, &event)) == 1)
			take(&event);
	}
	TRUE(result == -ECANCELED);
	return argument;
}

void life_begin_taking(void)
{
	ck_assert_int_eq(pthread_create(&taker, NULL, takes, NULL), 0);
}

void life_end_taking(void)
{
	safestart_shutdown(now.ss);
	if (now.lasting)
		failing_stop();
	pthread_join(taker, NULL);
	const struct safestart_snapshot *live = safestart_read_lock(now.ss);
	left_count = 0;
	left[left_count++] = safestart_snapshot_data(live);
	for (size_t i = 0; i < safestart_snapshot_size(live); i++)
		left[left_count++] = safestart_node_data(safestart_snapshot_at(live, i));
	safestart_read_unlock(now.ss);
}

void life_give_back(void)
{
	for (size_t i = 0; i < left_count; i++) {
		if (left[i] != NULL)
			life_retire(left[i]);
	}
}
