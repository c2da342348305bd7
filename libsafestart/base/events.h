/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events: what happened lately, for whoever listens at the control socket: the newest outcomes and
 * log lines, and words that the control thread wants in the log. Posted by the dispatching thread
 * and the worker, which never wait for who listens: under a small lock that nothing slow is done
 * with. */
#ifndef SAFESTART_CONTROL_EVENTS_H
#define SAFESTART_CONTROL_EVENTS_H

#include <pthread.h>
#include <safestart/safestart.h>
#include <stdbool.h>

#define EVENTS_KEPT 256

struct event {
	uint64_t n;      /* counts from 1 */
	int64_t wall_ms; /* for printing only */
	bool is_log;
	int level; /* of a log line, as in syslog */
	union {
		struct safestart_outcome outcome;
		char message[640];
	};
};

struct events {
	pthread_mutex_t lock; /* guards all of it */
	uint64_t newest;      /* its number; 0: there was none yet */
	bool watched;         /* somebody waits for the next: wake them */
	int wake_fd;          /* the control thread's; -1: there is none */
	int level;
	char words[640]; /* for the log; "": nothing */
	struct event ring[EVENTS_KEPT];
};

struct events *events_new(void);         /* NULL: no memory */
void events_free(struct events *events); /* NULL is fine */

/* Post one; wake who watches. With NULL nobody could ever listen, and nothing is done. */
void events_post_outcome(struct events *events, const struct safestart_outcome *outcome);
void events_post_log(struct events *events, int level, const char *message);
/* Only wake: a ticket may have been answered without a run. */
void events_wake(struct events *events);

/* The control thread's: whom to wake (-1: nobody), and whether anybody wants to know. */
void events_listen(struct events *events, int wake_fd);
void events_watch(struct events *events, bool watched);
uint64_t events_newest(struct events *events);

/* Copy the event with that number, or the oldest that is kept, if it is newer. False: not there
 * yet. */
bool events_get(struct events *events, uint64_t n, struct event *to);

int64_t events_wall_ms(void); /* the time of day, for printing */

/* Words for the log: left by the control thread; taken by the dispatching thread, which alone may
 * log. Returns the level, -1: none. */
void events_leave_words(struct events *events, int level, const char *words);
int events_take_words(struct events *events, char *words, size_t size);

void events_before_fork(struct events *events);
void events_after_fork_parent(struct events *events);
void events_after_fork_child(struct events *events); /* what happened, happened to the parent */

#endif
