/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Askers: threads, and their signal handlers, that write plain memory and then ask; whoever covers
 * a ticket looks whether it sees what was written. Between the two there is nothing but the door:
 * no lock, and only relaxed atomics, which order nothing for the thread sanitizer either. */
#ifndef LITMUS_H
#define LITMUS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define ASKERS 2 /* and whoever looks: more than the cores */

/* What one requester wrote, by request. */
struct written {
	uint64_t *plain;           /* written once each, before asking */
	_Atomic uint64_t *tickets; /* what asking returned; 0: it has not yet. Relaxed */
	_Atomic uint64_t count;    /* how many plain ones are written. Relaxed */
	uint64_t size;
	uint64_t looked; /* the looker's: so far */
	uint64_t *seen;  /* the looker's: `count`, by the ticket it looked for */
};

struct asker {
	_Alignas(64) struct written by_thread;
	struct written by_handler;
	_Atomic uint64_t newest; /* ticket */
	_Atomic bool fell;       /* a ticket was older than one before */
	pthread_t thread;
	timer_t timer;
};

/* Each of them asks `requests` times by `ask` (0: it is shut, and the asker leaves), interrupted
 * every millisecond by a handler that asks as well, if `interrupted`. Odd requests give a reason.
 */
void askers_start(uint64_t (*ask)(const char *reason), uint64_t requests, bool interrupted);
bool askers_at_work(void);

/* The newest ticket that any of them has noted so far. */
uint64_t askers_newest(void);

/* By whoever covers all tickets up to this one, on one thread: false when something is not there.
 */
bool askers_look(uint64_t covered);
/* Also by the looker: so many requests had this ticket, but for other people's. */
void askers_counted(uint64_t ticket, uint64_t requests);
/* Is this the whole reason of somebody who asked for this ticket, or was about to? */
bool askers_gave(const char *reason, uint64_t ticket);

/* Join them. Returns how many requests were accepted. */
uint64_t askers_join(void);
/* After the last look: tickets never fell, each look saw all there was to be seen, and every
 * request was counted under its own ticket. Frees everything. */
void askers_check(void);
/* The same, but nobody counted. */
void askers_check_uncounted(void);

#endif
