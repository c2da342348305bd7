/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "request/ticket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ticket_init(struct ticket_book *book)
{
	*book = (struct ticket_book){0};
	/* Pages are touched as tickets come. */
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
	/* After a fork there can be several: those the parent's run had in hand. */
	while (book->answered < outcome->ticket) {
		book->answered++;
		book->outcomes[book->answered % TICKETS_KEPT] = *outcome;
	}
}

int ticket_find(const struct ticket_book *book, uint64_t ticket, struct safestart_outcome *outcome)
{
	if (ticket > book->answered)
		return -EAGAIN;
	if (book->answered - ticket >= TICKETS_KEPT)
		return -ENODATA;
	*outcome = book->outcomes[ticket % TICKETS_KEPT];
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
