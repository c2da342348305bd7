/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events: the ring behind events.h. Any thread, under its own lock, which is held for copying one
 * event at most and never across a call that can block. */
#include "base/events.h"

#include <stdlib.h>
#include <syslog.h>
#include <time.h>

#include "base/invariant.h"
#include "base/loop.h"
#include "base/message.h"

/* The number of the oldest event that is kept. */
static uint64_t oldest_locked(const struct events *events)
{
	return events->newest >= EVENTS_KEPT ? events->newest - EVENTS_KEPT + 1 : 1;
}

/* Numbers increase by one, and each kept event is in the slot of its number. */
static bool is_consistent_locked(const struct events *events)
{
	uint64_t newest = events->newest, oldest = oldest_locked(events);

	return newest == 0 ||
	       (newest - oldest < EVENTS_KEPT && events->ring[newest % EVENTS_KEPT].n == newest &&
		events->ring[oldest % EVENTS_KEPT].n == oldest &&
		(newest == 1 || events->ring[(newest - 1) % EVENTS_KEPT].n == newest - 1));
}

struct events *events_new(void)
{
	struct events *events = calloc(1, sizeof(*events)); /* pages are used as events come */

	if (events == NULL)
		return NULL;
	pthread_mutex_init(&events->lock, NULL);
	events->wake_fd = -1;
	return events;
}

void events_free(struct events *events)
{
	if (events == NULL)
		return;
	pthread_mutex_destroy(&events->lock);
	free(events);
}

int64_t events_wall_ms(void)
{
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	return wall.tv_sec > 0 ? (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 : 0;
}

/* The slot of the next event; the oldest event is overwritten. */
static struct event *next_locked(struct events *events)
{
	struct event *event = &events->ring[++events->newest % EVENTS_KEPT];

	event->n = events->newest;
	event->wall_ms = events_wall_ms();
	invariant(is_consistent_locked(events));
	return event;
}

/* The control thread sleeps in epoll; without a client that waits it is left asleep. Under the
 * lock, so that wake_fd is still open. */
static void wake_locked(const struct events *events)
{
	if (events->watched && events->wake_fd >= 0)
		loop_wake(events->wake_fd);
}

void events_post_outcome(struct events *events, const struct safestart_outcome *outcome)
{
	if (events == NULL)
		return;
	pthread_mutex_lock(&events->lock);
	struct event *event = next_locked(events);
	event->is_log = false;
	event->outcome = *outcome;
	wake_locked(events);
	pthread_mutex_unlock(&events->lock);
}

void events_post_log(struct events *events, int level, const char *message)
{
	if (events == NULL)
		return;
	invariant(level >= LOG_EMERG && level <= LOG_DEBUG);
	pthread_mutex_lock(&events->lock);
	struct event *event = next_locked(events);
	event->is_log = true;
	event->level = level;
	message_copy(event->message, sizeof(event->message), message);
	wake_locked(events);
	pthread_mutex_unlock(&events->lock);
}

void events_wake(struct events *events)
{
	if (events == NULL)
		return;
	pthread_mutex_lock(&events->lock);
	wake_locked(events);
	pthread_mutex_unlock(&events->lock);
}

void events_listen(struct events *events, int wake_fd)
{
	invariant(wake_fd >= -1);
	pthread_mutex_lock(&events->lock);
	events->wake_fd = wake_fd;
	pthread_mutex_unlock(&events->lock);
}

void events_watch(struct events *events, bool watched)
{
	pthread_mutex_lock(&events->lock);
	events->watched = watched;
	pthread_mutex_unlock(&events->lock);
}

uint64_t events_newest(struct events *events)
{
	pthread_mutex_lock(&events->lock);
	uint64_t newest = events->newest;
	pthread_mutex_unlock(&events->lock);
	return newest;
}

bool events_get(struct events *events, uint64_t n, struct event *to)
{
	invariant(n > 0);
	pthread_mutex_lock(&events->lock);
	bool there = n <= events->newest;
	if (n < oldest_locked(events))
		n = oldest_locked(events);
	if (there)
		*to = events->ring[n % EVENTS_KEPT];
	invariant(!there || to->n == n);
	pthread_mutex_unlock(&events->lock);
	/* The caller sees from to->n how many were overwritten before it read them. */
	return there;
}

void events_leave_words(struct events *events, int level, const char *message)
{
	invariant(message[0] != '\0' && level >= LOG_EMERG && level <= LOG_DEBUG);
	pthread_mutex_lock(&events->lock);
	events->level = level;
	message_copy(events->log_message, sizeof(events->log_message), message);
	pthread_mutex_unlock(&events->lock);
}

int events_take_words(struct events *events, char *message, size_t size)
{
	int level = -1;

	if (events == NULL)
		return level;
	pthread_mutex_lock(&events->lock);
	if (events->log_message[0] != '\0') { /* taken once */
		level = events->level;
		message_copy(message, size, events->log_message);
		events->log_message[0] = '\0';
	}
	pthread_mutex_unlock(&events->lock);
	return level;
}

void events_before_fork(struct events *events)
{
	if (events != NULL)
		pthread_mutex_lock(&events->lock);
}

void events_after_fork_parent(struct events *events)
{
	if (events != NULL)
		pthread_mutex_unlock(&events->lock);
}

void events_after_fork_child(struct events *events)
{
	if (events == NULL)
		return;
	/* Old events stay in the ring; with newest 0 no number leads to them. */
	events->newest = 0;
	events->watched = false;
	events->wake_fd = -1;
	events->log_message[0] = '\0';
	pthread_mutex_unlock(&events->lock);
}
