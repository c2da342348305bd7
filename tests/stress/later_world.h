/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* later_world: an application whose gather, prepare or restart answers LATER, which keeps a record
 * of all that it is told, and says what is wrong with it. No ck_assert on its threads: a forked
 * child or another thread may be inside. */
#ifndef LATER_WORLD_H
#define LATER_WORLD_H

#include <pthread.h>
#include <safestart/source.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "support/instants.h"
#include "support/support.h"

enum phase {
	GATHER,
	PREPARE,
	RESTART,
	PHASES
};

/* Who finishes what answered LATER, and when. */
enum finish {
	BY_ITSELF,     /* the callback, before it returns */
	BEFORE_RETURN, /* another thread, while the callback waits for that */
	MEANWHILE,     /* another thread, as soon as it can */
	BY_TESTER,     /* the thread that asked; with thread=no the one that dispatches */
	TOO_LATE,      /* that thread, when the deadline has passed and the ticket is answered */
	NEVER,         /* not before close has given up */
	FINISHES
};

/* What an application is like. */
struct kind {
	bool threads; /* thread=yes */
	bool waits;   /* thread=no: driven by safestart_wait(), not by safestart_dispatch() */
	bool fails;   /* it finishes with an error */
	enum phase phase;
	enum finish finish;
};

#define RUN_TIMEOUT_NS INT64_C(3600000000000) /* of made-up time: never by itself */

/* One LATER. Guarded by laters_lock, but for what the callback sets before it is counted. */
struct later {
	void *handle; /* a run or a gather; NULL: finished */
	enum phase phase;
	uint64_t run; /* 0: a gather, which does not know */
	int passing;  /* world.passing when its callback was called */
	bool expired; /* its deadline was made to pass */
	bool settles; /* its finish is the last word: the callback has returned for sure */
};

/* What is known of a run, all of it once. */
struct run_record {
	_Atomic int told;                  /* the verdict of `outcome`, plus 1 */
	_Atomic int laters;                /* of prepare and restart */
	_Atomic int in_time, late, failed; /* finishes of these */
	_Atomic bool settled;
};

/* Data of a node or of a generation. */
struct item {
	_Atomic int retired;
	bool of_node, handed;
};

#define RUNS 512
#define LATERS 64
#define ITEMS 4096
#define TICKETS 256
#define OWNED 16

extern struct world {
	struct kind kind;
	struct safestart *ss;
	bool is_child;

	/* Who uses the handle, but in wait; guarded by lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned events; /* counts up with whatever happens */
	int users;
	bool closing, closed;

	_Atomic bool shutting, shut; /* shutdown or close has begun; has returned */
	_Atomic int passing, passes; /* how often time was to pass, and has */
	_Atomic int laters_left;     /* callbacks that are still to answer LATER */
	_Atomic bool gather_failed;
	_Atomic bool interfered; /* an act has changed the desired set */
	_Atomic bool over;       /* the finisher has nothing left to do */
	_Atomic int inside;
	_Atomic bool handed_back; /* close has returned: `retire` may come on any thread */
	_Atomic int document;
	pthread_mutex_t laters_lock;
	struct later laters[LATERS];
	_Atomic int later_count;
	struct run_record runs[RUNS];
	_Atomic uint64_t newest_run;
	struct item items[ITEMS];
	_Atomic int item_count;
	int items_of_parent;
	_Atomic uint64_t tickets[TICKETS];
	struct safestart_outcome answers[TICKETS]; /* the tester's */
	_Atomic int ticket_count;
	_Atomic uint64_t newest_ticket;
	struct safestart_snapshot *owned[OWNED];
	_Atomic int owned_count;
} world;

/* The first thing that was wrong; "": nothing. Any thread. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern char what_is_wrong[512];

/* later_application.c: the callbacks, and what has to be true of them in the end. */
void world_open(const struct kind *kind);
/* When the handle is gone. */
void world_check(void);
/* In a forked child: nothing that was open is its own. */
void world_after_fork(void);

/* Around each use of the handle: false while somebody closes it. */
bool use_begin(void);
void use_end(void);
/* Only one that waits stays, when this returns: true, and no use begins before close_end(). */
bool close_begin(void);
void close_end(bool closed);
bool is_closing(void);
bool is_closed(void); /* when the one that closes has ended or given up */

void happened(void);
unsigned events_so_far(void);
void await_event(unsigned seen); /* until more than those have happened */

/* Ask for the nth document to be live. Inside a use. Returns the ticket; 0: shut down. */
uint64_t ask_for(int document);
void note_ticket(uint64_t ticket);
extern const char *const live_after[]; /* ids */

/* Time passes, beyond every deadline. */
void pass_time(void);

/* To a gather: the one that was asked for last. A callback that answers LATER if it is one of those
 * that shall, else 0; `passing` is world.passing when it was called. */
int give_document(struct safestart_gather *gather);
int answer_later(void *handle, enum phase phase, uint64_t run, int passing);
/* Finish what is open. Returns how many. */
int finish_all(int error);
bool finish_one(int error);
int laters_open(void);
/* As the kind of application has it: finish what is open, or let its deadline pass. */
void finish_what_is_due(void);

/* Data to hand over; taken back if it was refused. */
struct item *new_item(bool of_node);

/* Read, for so many moments: nothing that is seen is retired meanwhile. Inside a use. */
void read_for(int moments);
/* Is the outcome one that may be? */
void check_outcome(const struct safestart_outcome *outcome, const char *where);

#endif
