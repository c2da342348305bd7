/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mailbox: with events=pull the application is never called; what it would be told waits here until
 * it takes it. What must not be lost needs no memory when it is put in: its letter is part of what
 * it is about, or was allocated with it. Any thread; a small lock guards it all, and nothing that
 * can block is done under it. */
#ifndef SAFESTART_BASE_MAILBOX_H
#define SAFESTART_BASE_MAILBOX_H

#include <pthread.h>
#include <safestart/safestart.h>
#include <stdbool.h>

/* So many outcomes and log lines wait at most. [P23] */
#define MAILBOX_OUTCOMES 16
#define MAILBOX_LOGS 256

/* At the beginning of what carries it. */
struct letter {
	struct letter *next; /* in the mailbox; before that the sender's, for a list of its own */
	uint64_t value;      /* by its kind: a run, the number of a run, a key, a level */
	uint8_t kind;        /* enum safestart_event_kind; 0: nothing yet */
	bool waiting;        /* in the mailbox; guarded by its lock */
	bool given;          /* to the mailbox, which frees it, by free() */
};

struct outcome_letter {
	struct letter letter;
	struct safestart_outcome outcome;
};

struct mailbox {
	pthread_mutex_t lock; /* guards all of it */
	struct letter *first, **end;
	struct letter *taken;    /* the last one: its text is valid until the next is taken */
	unsigned logs, outcomes; /* that wait */
	struct outcome_letter *newest_outcome;
	uint64_t logs_lost;
	/* One more than wait, for the taken one. */
	struct outcome_letter outcome_letters[MAILBOX_OUTCOMES + 1];
	int read_fd, write_fd; /* a stream socket: readable while something waits; -1: shut */
	bool own;              /* the socket is this process's */
	bool signalled;        /* there is a byte in it */
	bool over;             /* nothing but letters about data comes any more: it stays so */
};

/* NULL: *error says why. */
struct mailbox *mailbox_new(int *error);
/* The handle goes: nothing is taken any more, and what is put in is thrown away. / NULL is fine. */
void mailbox_shut(struct mailbox *mailbox);
void mailbox_free(struct mailbox *mailbox);

/* Put in a letter whose kind and value are set. Never fails. */
void mailbox_put(struct mailbox *mailbox, struct letter *letter);
/* These are copied. A line for which there is no room or no memory is counted, and the next one
 * that fits is preceded by a line that says so. */
void mailbox_put_log(struct mailbox *mailbox, int level, const char *text);
void mailbox_put_outcome(struct mailbox *mailbox, const struct safestart_outcome *outcome);
/* Take it back. False: it does not wait, for it was taken or never put in. */
bool mailbox_withdraw(struct mailbox *mailbox, struct letter *letter);
/* Nothing but letters about data will come: what polls the descriptor has to notice. */
void mailbox_end(struct mailbox *mailbox);

/* The descriptor tells the truth, or the host still refuses it (false): ask again. */
bool mailbox_signal(struct mailbox *mailbox);

/* Take the oldest: 1, or 0 if there is none, or -ECANCELED after mailbox_end(). `run_number` is not
 * set for letters about a run. */
int mailbox_take(struct mailbox *mailbox, struct safestart_event *event);

/* Around fork. The child's mailbox is empty: what waited was the parent's. mailbox_own_socket()
 * gives it a socket of its own under the same numbers: 0; -errno: call it again. [P17] */
void mailbox_before_fork(struct mailbox *mailbox);
void mailbox_after_fork_parent(struct mailbox *mailbox);
void mailbox_after_fork_child(struct mailbox *mailbox);
int mailbox_own_socket(struct mailbox *mailbox);

#endif
