/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ticket: the outcomes behind ticket.h, a ring of the newest TICKETS_KEPT. The caller holds the
 * handle's lock. */
#include "request/ticket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"

/* The newest answered ticket is in its place in the ring: an outcome that covers it. */
static inline __attribute__((unused)) bool book_holds(const struct ticket_book *book)
{
	return book->outcomes != NULL &&
	       (book->answered == 0 ||
		book->outcomes[book->answered % TICKETS_KEPT].ticket >= book->answered);
}

int ticket_init(struct ticket_book *book)
{
	*book = (struct ticket_book){0};
	/* calloc: pages that no ticket has reached yet cost no memory. */
	book->outcomes = calloc(TICKETS_KEPT, sizeof(*book->outcomes));
	return book->outcomes != NULL ? 0 : -ENOMEM;
}

void ticket_clear(struct ticket_book *book)
{
	free(book->outcomes);
	book->outcomes = NULL;
}

void ticket_answer(struct ticket_book *book, const struct safestart_outcome *outcome)
{
	invariant(book_holds(book));
	/* Usually one. After a fork there can be several: those of the parent's run in progress. */
	while (book->answered < outcome->ticket) {
		book->answered++;
		book->outcomes[book->answered % TICKETS_KEPT] = *outcome;
	}
	invariant(book_holds(book));
	invariant(book->answered >= outcome->ticket);
}

int ticket_find(const struct ticket_book *book, uint64_t ticket, struct safestart_outcome *outcome)
{
	invariant(book_holds(book));
	if (ticket > book->answered)
		return -EAGAIN;
	if (book->answered - ticket >= TICKETS_KEPT)
		return -ENODATA;
	*outcome = book->outcomes[ticket % TICKETS_KEPT];
	invariant(ticket == 0 || outcome->ticket >= ticket); /* it covers this ticket [P6] */
	return 0;
}

int ticket_check_size(const struct safestart_outcome *outcome)
{
	return outcome == NULL || outcome->size >= sizeof(*outcome) ? 0 : -EINVAL;
}

int ticket_copy(struct safestart_outcome *to, const struct safestart_outcome *from)
{
	if (to == NULL)
		return 0;
	int error = ticket_check_size(to);
	if (error == 0) {
		size_t size = to->size;
		*to = *from;
		to->size = size;
	}
	return error;
}

const char *ticket_verdict_name(int verdict)
{
	static const char *const names[] = {"pending", "applied",   "unchanged", "refused",
					    "failed",  "timed_out", "cancelled"};

	return verdict >= SAFESTART_PENDING && verdict <= SAFESTART_CANCELLED ? names[verdict + 1]
									      : "unknown";
}
