/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events: the newest outcomes and log lines, for clients that follow them at the control socket,
 * and one message of the control thread for the log. Posted by the dispatching thread and the
 * worker, which must never wait for a client: a small lock guards it all, and nothing slow is done
 * under it. Memory is constant: a ring that overwrites the oldest event. [P19] */
#ifndef SAFESTART_BASE_EVENTS_H
#define SAFESTART_BASE_EVENTS_H

#include <pthread.h>
#include <safestart/safestart.h>
#include <stdbool.h>

#define EVENTS_KEPT 256

struct event {
	uint64_t n;      /* its number, from 1 */
	int64_t wall_ms; /* wall clock, for printing only [P8] */
	bool is_log;
	int level; /* of a log line, as in syslog */
	union {
		struct safestart_outcome outcome;
		char message[640];
	};
};

struct events {
	pthread_mutex_t lock; /* guards all of it */
	uint64_t newest;      /* number of the newest event; 0: there was none yet */
	bool watched;         /* a client waits: the next event wakes the control thread */
	int wake_fd;          /* the control thread's; -1: there is none */
	/* The control thread's message for the log; "": none. A newer one replaces it. */
	int level;
	char log_message[640];
	/* Event n is in slot n % EVENTS_KEPT, until event n + EVENTS_KEPT takes its place. */
	struct event ring[EVENTS_KEPT];
};

struct events *events_new(void);         /* NULL: out of memory */
void events_free(struct events *events); /* NULL is fine */

/* Add an event, and wake the control thread if a client waits. NULL: there is no control socket,
 * and nothing is done. */
void events_post_outcome(struct events *events, const struct safestart_outcome *outcome);
void events_post_log(struct events *events, int level, const char *message);
/* Only wake: a ticket may have been answered without an event. */
void events_wake(struct events *events);

/* For the control thread: the eventfd that wakes it (-1: none), and whether a client waits. */
void events_listen(struct events *events, int wake_fd);
void events_watch(struct events *events, bool watched);
uint64_t events_newest(struct events *events);

/* Copy event n, or the oldest one that is kept if that is newer (to->n tells). False: there is no
 * event n yet. */
bool events_get(struct events *events, uint64_t n, struct event *to);

int64_t events_wall_ms(void); /* wall clock, for printing only; 0 before 1970 */

/* A message for the log: left by the control thread, taken by the dispatching thread, which alone
 * may call the application's log. events_take_words() returns its level; -1: there is none. */
void events_leave_words(struct events *events, int level, const char *message);
int events_take_words(struct events *events, char *message, size_t size);

/* Around fork. The child starts without events: those were the parent's. [P17] */
void events_before_fork(struct events *events);
void events_after_fork_parent(struct events *events);
void events_after_fork_child(struct events *events);

#endif
