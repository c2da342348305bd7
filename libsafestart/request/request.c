/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * request: the door behind request.h. Requesters run on any thread and in any signal handler, the
 * rest on the dispatching thread. No lock, no allocation, no system call but the wake-up and the
 * barrier. [P5]
 *
 * One atomic word holds the open batch: its sequence, which is the ticket, how many requests it
 * has, and its flags.
 *
 *   63            24 23        8 7      0
 *   [ sequence     ] [ requests ] [ flags ]
 *
 * Every change of the word is a read-modify-write, so all changes have one order. A request is a
 * release, closing is an acquire: either a request is in the batch that is closed, and all that its
 * thread wrote before is visible to the run, or it finds the next batch open. There is nothing in
 * between. [P2]
 *
 * A request that would change nothing, because the loop has seen the batch and 65535 requests were
 * counted, is only a load (request_enter()). It releases nothing. Instead, the thread that closes
 * such a batch makes every thread pass a full barrier (membarrier()), and reads nothing before
 * that. A thread that loaded the closed batch's word
 *   - before its barrier: had also written what it wrote before the load, and the run sees it;
 *   - after its barrier: cannot have, because by then the word was the next batch's.
 */
#include "request/request.h"

#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/invariant.h"
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

/* What holds of every value the word ever has. Takes a value that was loaded once: the word itself
 * may change at any moment. A batch without a request has nothing a request would leave behind. */
static inline __attribute__((unused)) bool word_holds(uint64_t word)
{
	const uint64_t asked = REQUEST_PENDING | REQUEST_FRESH | REQUEST_FORCE | REQUEST_URGENT;

	return ticket_of(word) > 0 && (word & 0x80) == 0 &&
	       (word & REQUEST_PENDING ? requests_of(word) > 0
				       : requests_of(word) == 0 && (word & asked) == 0);
}

/* Make every thread of the process pass a full barrier. False: the kernel does not offer it.
 * liburcu has usually registered the process already, and a forked child inherits that. */
static bool barrier_on_all_threads(void)
{
#ifdef HAVE_TSAN
	/* The sanitizer does not see this barrier, and would report a race on what was written
	 * before a load. */
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
	atomic_init(&door->word, ONE_TICKET | (barrier_on_all_threads() ? REQUEST_LOAD : 0));
	invariant(word_holds(atomic_load_explicit(&door->word, memory_order_relaxed)));
}

/*
 * The reason is written before the batch is joined: once the word has REQUEST_PENDING, the loop may
 * close the batch and read it. A slot is claimed by compare-and-swap. A requester that finds it
 * claimed leaves it alone: another requester is inside, or the thread that this signal handler
 * interrupted. Partner: take_reason().
 */
static bool write_reason(struct request_door *door, uint64_t ticket, const char *text)
{
	struct request_reason *reason = &door->reasons[ticket & 1];
	uint64_t free = 0;

	invariant(ticket > 0); /* else the claim would read as free */
	if (!atomic_compare_exchange_strong_explicit(&reason->owner, &free, ticket * 2,
						     memory_order_acquire, memory_order_relaxed))
		return false;
	message_copy(reason->text, sizeof(reason->text), text);
	atomic_store_explicit(&reason->owner, ticket * 2 + 1, memory_order_release);
	return true;
}

/* The batch was closed in the meantime: the reason belongs to the next one. */
static void withdraw_reason(struct request_door *door, uint64_t ticket)
{
	uint64_t ready = ticket * 2 + 1;

	atomic_compare_exchange_strong_explicit(&door->reasons[ticket & 1].owner, &ready, 0,
						memory_order_relaxed, memory_order_relaxed);
}

/* Write the reason for the batch of `word`, and take it back from the batch that was closed
 * meanwhile. A slot that is taken means that this batch has a reason already. */
static void move_reason(struct request_door *door, uint64_t word, const char **reason,
			uint64_t *wrote_for)
{
	if (*reason == NULL || *wrote_for == ticket_of(word))
		return;
	if (*wrote_for != 0)
		withdraw_reason(door, *wrote_for);
	*wrote_for = write_reason(door, ticket_of(word), *reason) ? ticket_of(word) : 0;
	if (*wrote_for == 0)
		*reason = NULL;
}

uint64_t request_join(struct request_door *door, uint32_t flags, const char *reason)
{
	uint64_t old = atomic_load_explicit(&door->word, memory_order_relaxed), new, wrote_for = 0;

	invariant((flags & ~(uint32_t)(REQUEST_FORCE | REQUEST_URGENT)) == 0);
	do {
		invariant(word_holds(old));
		if (old & REQUEST_SHUT)
			return 0;
		move_reason(door, old, &reason, &wrote_for);
		new = old | flags | REQUEST_PENDING | REQUEST_FRESH;
		if ((old & REQUESTS) != REQUESTS)
			new += ONE_REQUEST;
		/* The count never runs over into the ticket. */
		invariant(word_holds(new));
		invariant(ticket_of(new) == ticket_of(old));
	} while (!atomic_compare_exchange_weak_explicit(&door->word, &old, new,
							memory_order_acq_rel,
							memory_order_relaxed));
	/* The thread that set the flags may be preempted before this line, so every requester wakes
	 * the loop until the loop has seen them. The loop does not look by itself soon enough for
	 * an urgent request, so that one always wakes it. */
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
	invariant(word_holds(old));
	invariant(word_holds(new));
	*flags = (uint32_t)(old & FLAGS);
	return (old & REQUEST_FRESH) != 0;
}

bool request_listen(struct request_door *door)
{
	uint64_t old = atomic_fetch_and_explicit(&door->word, ~(uint64_t)REQUEST_SEEN,
						 memory_order_acq_rel);

	invariant(word_holds(old));
	return (old & REQUEST_FRESH) != 0;
}

/* A slot is used by every second batch, so what is in it is of this batch or of an earlier one:
 * later ones open only after this thread has closed the batch in between. */
static inline __attribute__((unused)) bool owner_holds(uint64_t owner, uint64_t ticket)
{
	return owner == 0 || ((owner / 2) % 2 == ticket % 2 && owner / 2 <= ticket);
}

static void take_reason(struct request_door *door, uint64_t ticket, char *text)
{
	struct request_reason *reason = &door->reasons[ticket & 1];
	uint64_t owner = atomic_load_explicit(&reason->owner, memory_order_relaxed);

	invariant(owner_holds(owner, ticket));
	text[0] = '\0';
	if (!(owner & 1))
		return; /* no request gave one, or it is still being written: not worth a wait */
	/* Claimed as a writer claims it, because its writer may withdraw it at this moment and
	 * another writer may follow. What an earlier batch left behind is removed as well. */
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
		invariant(word_holds(old));
		if (!(old & REQUEST_PENDING)) {
			batch->ticket = ticket_of(old) - 1;
			return false;
		}
		new = (ticket_of(old) + 1) * ONE_TICKET | (old & (REQUEST_SHUT | REQUEST_LOAD));
		invariant(word_holds(new));
		invariant(ticket_of(new) == ticket_of(old) + 1);
	} while (!atomic_compare_exchange_weak_explicit(&door->word, &old, new,
							memory_order_acq_rel,
							memory_order_relaxed));
	/* Requests may have joined by a load: the barrier is the partner of that load. It fails
	 * only when a seccomp filter has forbidden membarrier() since request_init(); liburcu
	 * aborts then as soon as a generation is replaced. It is too late for this batch; the next
	 * ones do without loads. */
	if ((old & REQUEST_LOAD) && (old & REQUESTS) == REQUESTS && !barrier_on_all_threads())
		atomic_fetch_and_explicit(&door->word, ~(uint64_t)REQUEST_LOAD,
					  memory_order_relaxed);
	batch->ticket = ticket_of(old);
	batch->requests = requests_of(old);
	batch->flags = (uint32_t)(old & FLAGS);
	take_reason(door, batch->ticket, batch->reason);
	invariant(batch->ticket > 0);
	invariant(batch->requests > 0);
	return true;
}

static uint64_t last_issued(uint64_t word)
{
	invariant(word_holds(word));
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
	for (int i = 0; i < 2; i++) { /* a thread that was writing does not exist here */
		if (!(atomic_load_explicit(&door->reasons[i].owner, memory_order_relaxed) & 1))
			atomic_store_explicit(&door->reasons[i].owner, 0, memory_order_relaxed);
	}
}
