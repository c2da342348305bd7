/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ticket: which tickets are answered, and how. All of it is guarded by the handle's lock. */
#ifndef SAFESTART_TICKET_H
#define SAFESTART_TICKET_H

#include <safestart/safestart.h>
#include <stdbool.h>

#define TICKETS_KEPT 1024

struct ticket_book {
	uint64_t answered;                  /* every ticket up to this one */
	struct safestart_outcome *outcomes; /* by ticket, the newest TICKETS_KEPT */
	struct safestart_outcome last;      /* of the newest run, asked for or not */
	bool any;
};

int ticket_init(struct ticket_book *book); /* 0 or -ENOMEM */
void ticket_clear(struct ticket_book *book);

/* Answer every open ticket up to outcome->ticket. */
void ticket_answer(struct ticket_book *book, const struct safestart_outcome *outcome);

/* 0; -EAGAIN not answered yet; -ENODATA no longer kept. */
int ticket_find(const struct ticket_book *book, uint64_t ticket, struct safestart_outcome *outcome);

/* Into the caller's struct, as much of it as its size says; NULL is fine. 0; -EINVAL smaller
 * than 1.0's. */
int ticket_copy(struct safestart_outcome *to, const struct safestart_outcome *from);
int ticket_check_size(const struct safestart_outcome *outcome);

const char *ticket_verdict_name(int verdict);

#endif
