/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* request: the door. Requests come in from any thread and any signal handler, lock-free; the loop's
 * thread takes them out a batch at a time. Knows no gate, no clock and no run. */
#ifndef SAFESTART_REQUEST_H
#define SAFESTART_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_REASON_SIZE 128

/* Flags of a batch, in the low byte of the word. */
enum request_flag {
	REQUEST_PENDING = 1, /* somebody asked */
	REQUEST_SEEN = 2,    /* the loop looks by itself soon: no need to wake it */
	REQUEST_FRESH = 4,   /* somebody asked since the loop last looked */
	REQUEST_FORCE = 8,
	REQUEST_URGENT = 16,
	REQUEST_SHUT = 32, /* for good: no more tickets */
	/* The door's: closing drains store buffers, so a load may do for a request. */
	REQUEST_LOAD = 64
};

/* 65535 were counted: "at least" from there on. */
#define REQUEST_COUNT_MAX (UINT64_C(0xffff) << 8)
#define REQUEST_ONE_TICKET (UINT64_C(1) << 24)

struct request_reason {
	/* 0 free; ticket * 2: being written; ticket * 2 + 1: ready. See request.c. */
	_Atomic uint64_t owner;
	char text[REQUEST_REASON_SIZE]; /* guarded by owner */
};

struct request_door {
	_Atomic uint64_t word; /* sequence | count | flags; see request.c */
	int wake_fd;           /* eventfd; set before the first request, the number never changes */
	/* By the parity of the ticket: the open batch's and the closing one's. */
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

/* What request_enter() does where a load will not do. */
uint64_t request_join(struct request_door *door, uint32_t flags, const char *reason);

/* Any thread, any signal handler. Returns the ticket; 0: shut. */
static inline uint64_t request_enter(struct request_door *door, uint32_t flags, const char *reason)
{
	const uint64_t joined =
		REQUEST_COUNT_MAX | REQUEST_PENDING | REQUEST_SEEN | REQUEST_FRESH | REQUEST_LOAD;

	/* Joining would leave the word as it is, so a load is all it takes, and many threads don't
	 * take it from each other. What was written before may still be on its way when the batch
	 * is closed: request_close() says who sees to that. [P2] */
	if (flags == 0 && reason == NULL) {
		/* The compiler: not before what was written. */
		atomic_signal_fence(memory_order_seq_cst);
		uint64_t word = atomic_load_explicit(&door->word, memory_order_relaxed);
		if ((word & (joined | REQUEST_SHUT)) == joined)
			return word / REQUEST_ONE_TICKET;
	}
	return request_join(door, flags, reason);
}

/* Did anybody ask since the last look? Sets *flags to the open batch's. From here on requests do
 * not wake the loop until request_listen() or request_close(). Loop only. */
bool request_look(struct request_door *door, uint32_t *flags);

/* Requests wake the loop again. Returns true when one came in since the last look, unheard. Loop
 * only. */
bool request_listen(struct request_door *door);

/* Close the open batch, if anybody is in it, and open the next. All that its requesters wrote
 * before they asked is visible to the caller. Returns false when nobody was in it; batch->ticket is
 * then that of the batch closed last: a forked child answers what its parent had in hand. Loop
 * only. */
bool request_close(struct request_door *door, struct request_batch *batch);

/* No more tickets. Returns the last ticket that was issued. Any thread. */
uint64_t request_shut(struct request_door *door);
bool request_is_shut(const struct request_door *door);

/* The newest ticket that was issued, and how many requests the open batch has. Any thread. */
uint64_t request_issued(const struct request_door *door, uint64_t *open_requests);

/* In a forked child: nobody is looking, whatever the word says. */
void request_after_fork(struct request_door *door);

#endif
