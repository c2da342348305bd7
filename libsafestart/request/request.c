/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One atomic word holds the open batch: its sequence, which is the ticket, how many asked, and its
 * flags.
 *
 *   63            24 23        8 7      0
 *   [ sequence     ] [ requests ] [ flags ]
 *
 * Every change of it is a read-modify-write, so all of them have one order. A request is release,
 * closing is acquire: either a request is in the batch that is closed, and all its maker wrote
 * before is visible to the run, or it finds the next batch open. There is nothing in between. [P2]
 *
 * A request that would change nothing, for the loop has seen the batch and 65535 were counted, is a
 * load (request_enter()). It releases nothing. Instead, whoever closes such a batch then makes
 * every thread pass a full barrier, each at some point between two of its instructions, and only
 * then looks at anything. A thread that loaded the closed batch's word
 *   - before its barrier: so was all written that it wrote before the load, and the run sees it;
 *   - after its barrier: cannot be, for by then the word was the next batch's.
 */
#include "request/request.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/message.h"
#include "base/thread.h"

#define FLAGS UINT64_C(0x3f) /* of a batch */
#define ONE_REQUEST (UINT64_C(1) << 8)
#define REQUESTS REQUEST_COUNT_MAX
#define ONE_TICKET REQUEST_ONE_TICKET

static uint64_t ticket_of(uint64_t word)
{
	return word / ONE_TICKET;
}

static uint64_t requests_of(uint64_t word)
{
	return (word & REQUESTS) / ONE_REQUEST;
}

/* Every thread of the process passes a full barrier. False: it can't be had here. liburcu has
 * usually registered already, and a forked child inherits that. */
static bool drain(void)
{
#ifdef HAVE_TSAN
	/* It does not see this, and would call what was written before a load a race. */
	return false;
#endif
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0 ||
	       (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
}

void request_init(struct request_door *door, int wake_fd)
{
	memset(door, 0, sizeof(*door));
	door->wake_fd = wake_fd;
	atomic_init(&door->word, ONE_TICKET | (drain() ? REQUEST_LOAD : 0));
}

/*
 * The reason is written before the batch is joined: once the word says that somebody is in, the
 * loop may close it and look. A slot is claimed by compare-and-swap; who finds it taken leaves it,
 * whether it is another requester or the thread this signal handler interrupted. Partner:
 * take_reason().
 */
static bool leave_reason(struct request_door *door, uint64_t ticket, const char *text)
{
	struct request_reason *reason = &door->reasons[ticket & 1];
	uint64_t free = 0;

	if (!atomic_compare_exchange_strong_explicit(&reason->owner, &free, ticket * 2,
						     memory_order_acquire, memory_order_relaxed))
		return false;
	message_copy(reason->text, sizeof(reason->text), text);
	atomic_store_explicit(&reason->owner, ticket * 2 + 1, memory_order_release);
	return true;
}

/* The batch was closed meanwhile: the reason belongs to the next one. */
static void withdraw_reason(struct request_door *door, uint64_t ticket)
{
	uint64_t ready = ticket * 2 + 1;

	atomic_compare_exchange_strong_explicit(&door->reasons[ticket & 1].owner, &ready, 0,
						memory_order_relaxed, memory_order_relaxed);
}

uint64_t request_join(struct request_door *door, uint32_t flags, const char *reason)
{
	uint64_t old = atomic_load_explicit(&door->word, memory_order_relaxed), new, wrote_for = 0;

	do {
		if (old & REQUEST_SHUT)
			return 0;
		if (reason != NULL && wrote_for != ticket_of(old)) {
			if (wrote_for != 0)
				withdraw_reason(door, wrote_for);
			wrote_for = leave_reason(door, ticket_of(old), reason) ? ticket_of(old) : 0;
			if (wrote_for == 0)
				reason = NULL;
		}
		new = old | flags | REQUEST_PENDING | REQUEST_FRESH;
		if ((old & REQUESTS) != REQUESTS)
			new += ONE_REQUEST;
	} while (!atomic_compare_exchange_weak_explicit(&door->word, &old, new,
							memory_order_acq_rel,
							memory_order_relaxed));
	/* Whoever sets the flags may be preempted before this line; as long as the loop has not
	 * seen them, everybody else wakes it as well. Urgent is not waited for, so it always wakes.
	 */
	if (!(old & REQUEST_SEEN) || (flags & REQUEST_URGENT))
		loop_wake(door->wake_fd);
	return ticket_of(old);
}

bool request_look(struct request_door *door, uint32_t *flags)
{
	uint64_t old = atomic_load_explicit(&door->word, memory_order_relaxed), new;

	do {
		new = (old & ~(uint64_t)REQUEST_FRESH) | REQUEST_SEEN;
	} while (!atomic_compare_exchange_weak_explicit(&door->word, &old, new,
							memory_order_acq_rel,
							memory_order_relaxed));
	*flags = (uint32_t)(old & FLAGS);
	return (old & REQUEST_FRESH) != 0;
}

bool request_listen(struct request_door *door)
{
	uint64_t old = atomic_fetch_and_explicit(&door->word, ~(uint64_t)REQUEST_SEEN,
						 memory_order_acq_rel);

	return (old & REQUEST_FRESH) != 0;
}

static void take_reason(struct request_door *door, uint64_t ticket, char *text)
{
	struct request_reason *reason = &door->reasons[ticket & 1];
	uint64_t owner = atomic_load_explicit(&reason->owner, memory_order_relaxed);

	text[0] = '\0';
	if (!(owner & 1))
		return; /* nobody gave one, or is still writing: not worth waiting for */
	/* Claimed like a writer's, for its maker may withdraw it this very moment and a writer come
	 * after him. What an earlier batch left behind goes as well. */
	if (!atomic_compare_exchange_strong_explicit(&reason->owner, &owner, ticket * 2,
						     memory_order_acquire, memory_order_relaxed))
		return;
	if (owner == ticket * 2 + 1)
		memcpy(text, reason->text, REQUEST_REASON_SIZE);
	/* Release: the next writer may overwrite the text. */
	atomic_store_explicit(&reason->owner, 0, memory_order_release);
}

bool request_close(struct request_door *door, struct request_batch *batch)
{
	uint64_t old = atomic_load_explicit(&door->word, memory_order_relaxed), new;

	do {
		if (!(old & REQUEST_PENDING)) {
			batch->ticket = ticket_of(old) - 1;
			return false;
		}
		new = (ticket_of(old) + 1) * ONE_TICKET | (old & (REQUEST_SHUT | REQUEST_LOAD));
	} while (!atomic_compare_exchange_weak_explicit(&door->word, &old, new,
							memory_order_acq_rel,
							memory_order_relaxed));
	/* Some may have joined by a load. It only fails where a filter has forbidden it since;
	 * liburcu aborts there as soon as a generation is replaced. This batch can't be helped, and
	 * the next will do without. */
	if ((old & REQUEST_LOAD) && (old & REQUESTS) == REQUESTS && !drain())
		atomic_fetch_and_explicit(&door->word, ~(uint64_t)REQUEST_LOAD,
					  memory_order_relaxed);
	batch->ticket = ticket_of(old);
	batch->requests = requests_of(old);
	batch->flags = (uint32_t)(old & FLAGS);
	take_reason(door, batch->ticket, batch->reason);
	return true;
}

static uint64_t last_issued(uint64_t word)
{
	return word & REQUEST_PENDING ? ticket_of(word) : ticket_of(word) - 1;
}

uint64_t request_shut(struct request_door *door)
{
	return last_issued(
		atomic_fetch_or_explicit(&door->word, REQUEST_SHUT, memory_order_acq_rel));
}

bool request_is_shut(const struct request_door *door)
{
	return (atomic_load_explicit(&door->word, memory_order_acquire) & REQUEST_SHUT) != 0;
}

uint64_t request_issued(const struct request_door *door, uint64_t *open_requests)
{
	uint64_t word = atomic_load_explicit(&door->word, memory_order_acquire);

	if (open_requests != NULL)
		*open_requests = requests_of(word);
	return last_issued(word);
}

void request_after_fork(struct request_door *door)
{
	atomic_fetch_and_explicit(&door->word, ~(uint64_t)REQUEST_SEEN, memory_order_relaxed);
	for (int i = 0; i < 2; i++) { /* whoever was writing does not exist here */
		if (!(atomic_load_explicit(&door->reasons[i].owner, memory_order_relaxed) & 1))
			atomic_store_explicit(&door->reasons[i].owner, 0, memory_order_relaxed);
	}
}
