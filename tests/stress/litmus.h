/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Askers: threads and their signal handlers that write plain memory and then make a request. The
 * thread that covers a ticket (the looker) checks that it sees what was written. Between the two
 * there is only the door: no lock, and only relaxed atomics, which order nothing for the thread
 * sanitizer either. */
#ifndef LITMUS_H
#define LITMUS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define ASKERS 2 /* and the looker: more than the cores */

/* What one requester wrote, by request. */
struct written {
	uint64_t *plain; /* written once each, before the request */
	_Atomic uint64_t
		*tickets;       /* what the request returned; 0: it has not returned yet. Relaxed */
	_Atomic uint64_t count; /* how many plain ones are written. Relaxed */
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

/* Each thread calls `ask` `requests` times (0: the door is shut, and the thread ends). If
 * `interrupted`, a signal handler interrupts it every millisecond and makes a request too. Odd
 * requests have a reason. */
void askers_start(uint64_t (*ask)(const char *reason), uint64_t requests, bool interrupted);
bool askers_at_work(void);

/* The newest ticket that any of them has noted so far. */
uint64_t askers_newest(void);

/* Called by the thread that covers all tickets up to this one: false when something that was
 * written is not there. */
bool askers_look(uint64_t covered);
/* Also called by the looker: this ticket had so many requests, except those of other threads. */
void askers_counted(uint64_t ticket, uint64_t requests);
/* Is this the whole reason of an asker that got this ticket, or was about to? */
bool askers_gave(const char *reason, uint64_t ticket);

/* Join them. Returns how many requests were accepted. */
uint64_t askers_join(void);
/* After the last check: tickets never fell, each check saw everything that it had to see, and
 * every request was counted under its own ticket. Frees everything. */
void askers_check(void);
/* The same, without the counts. */
void askers_check_uncounted(void);

#endif
