/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ticket: which tickets are answered, and with which outcome. Any thread; the handle's lock guards
 * all of it. It must not know the door or the run. */
#ifndef SAFESTART_TICKET_H
#define SAFESTART_TICKET_H

#include <safestart/safestart.h>
#include <stdbool.h>

#define TICKETS_KEPT 1024

/* Guarded by the handle's lock. */
struct ticket_book {
	uint64_t answered;                  /* the newest ticket that has its outcome [P6] */
	struct safestart_outcome *outcomes; /* by ticket, the newest TICKETS_KEPT */
	struct safestart_outcome last;      /* of the newest run, asked for or not */
	bool any;                           /* there was a run: `last` is valid */
};

int ticket_init(struct ticket_book *book); /* 0 or -ENOMEM */
void ticket_clear(struct ticket_book *book);

/* Give this outcome to every open ticket up to outcome->ticket. Those that have one keep it. [P6]
 */
void ticket_answer(struct ticket_book *book, const struct safestart_outcome *outcome);

/* Returns: 0; -EAGAIN not answered yet; -ENODATA no longer kept. */
int ticket_find(const struct ticket_book *book, uint64_t ticket, struct safestart_outcome *outcome);

/* Copy into the caller's struct, whose size stays as it was; NULL is fine. Returns: 0; -EINVAL when
 * it is smaller than that of version 1.0. */
int ticket_copy(struct safestart_outcome *to, const struct safestart_outcome *from);
int ticket_check_size(const struct safestart_outcome *outcome);

const char *ticket_verdict_name(int verdict);

#endif
