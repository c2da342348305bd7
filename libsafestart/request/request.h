/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* request: the door, where requests come in. Requesters are any thread and any signal handler, and
 * take no lock; the dispatching thread takes the requests out, one batch at a time. It must not
 * know the gate, the clock or the run. */
#ifndef SAFESTART_REQUEST_H
#define SAFESTART_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/invariant.h"

/* A request is made in signal handlers: it must not take a lock, nor may an atomic. [P5] */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_POINTER_LOCK_FREE == 2,
	       "this processor has no lock-free 64-bit atomics; name a newer one, such as "
	       "-march=i586 or -march=armv7-a");

#define REQUEST_REASON_SIZE 128

/* Flags of a batch, in the low byte of the word. */
enum request_flag {
	REQUEST_PENDING = 1, /* the open batch has a request */
	REQUEST_SEEN = 2,    /* the loop will look by itself soon: no need to wake it */
	REQUEST_FRESH = 4,   /* a request came since the loop last looked */
	REQUEST_FORCE = 8,
	REQUEST_URGENT = 16,
	REQUEST_SHUT = 32, /* for good: no more tickets */
	/* Of the door, not of a batch: closing a batch passes a barrier on every thread, so a
	 * request that would change nothing may be a plain load. */
	REQUEST_LOAD = 64
};

/* The count stops at 65535, which then means "at least". */
#define REQUEST_COUNT_MAX (UINT64_C(0xffff) << 8)
#define REQUEST_ONE_TICKET (UINT64_C(1) << 24)

struct request_reason {
	/* 0: free; ticket * 2: a thread is inside; ticket * 2 + 1: ready to be read. Acquired by
	 * compare-and-swap, released by a store; see request.c. */
	_Atomic uint64_t owner;
	char text[REQUEST_REASON_SIZE]; /* guarded by owner */
};

struct request_door {
	_Atomic uint64_t word; /* sequence | count | flags; see request.c */
	int wake_fd;           /* eventfd; set before the first request, the number never changes */
	/* By the parity of the ticket: one for the open batch, one for the batch being closed. */
	struct request_reason reasons[2];
};

/* What the loop took out. */
struct request_batch {
	uint64_t ticket;
	uint64_t requests;
	uint32_t flags;
	char reason[REQUEST_REASON_SIZE];
};

void request_init(struct request_door *door, int wake_fd);

/* The part of request_enter() that changes the word. */
uint64_t request_join(struct request_door *door, uint32_t flags, const char *reason);

/* Any thread, any signal handler. Returns: the ticket; 0 when the door is shut. [P5] */
static inline uint64_t request_enter(struct request_door *door, uint32_t flags, const char *reason)
{
	const uint64_t joined =
		REQUEST_COUNT_MAX | REQUEST_PENDING | REQUEST_SEEN | REQUEST_FRESH | REQUEST_LOAD;

	/* Joining would leave the word as it is, so a load is enough, and many threads do not take
	 * its cache line from each other. What this thread wrote before may still be in its store
	 * buffer when the batch is closed: request_close() has the partner of this load. [P2] */
	if (flags == 0 && reason == NULL) {
		/* The compiler must not move the load before what was written. */
		atomic_signal_fence(memory_order_seq_cst);
		uint64_t word = atomic_load_explicit(&door->word, memory_order_relaxed);
		if ((word & (joined | REQUEST_SHUT)) == joined) {
			invariant(word / REQUEST_ONE_TICKET > 0); /* 0 means shut */
			return word / REQUEST_ONE_TICKET;
		}
	}
	return request_join(door, flags, reason);
}

/* Returns: did a request come since the last look? Sets *flags to the open batch's. From here on
 * requests do not wake the loop until request_listen() or request_close(). Loop only. */
bool request_look(struct request_door *door, uint32_t *flags);

/* Requests wake the loop again. Returns true when a request came since the last look without
 * waking it: look again. Loop only. */
bool request_listen(struct request_door *door);

/* Close the open batch, if it has a request, and open the next one. All that its requesters wrote
 * before they asked is visible to the caller. [P2] Returns false when it has none; batch->ticket is
 * then that of the batch closed last: a forked child answers what its parent was working on. Loop
 * only. */
bool request_close(struct request_door *door, struct request_batch *batch);

/* No more tickets. Returns: the last ticket that was issued. Any thread. */
uint64_t request_shut(struct request_door *door);
bool request_is_shut(const struct request_door *door);

/* Returns: the newest ticket that was issued; in *open_requests (may be NULL) how many requests the
 * open batch has. Any thread. */
uint64_t request_issued(const struct request_door *door, uint64_t *open_requests);

/* In a forked child: no loop is looking yet, whatever the word says. */
void request_after_fork(struct request_door *door);

#endif
