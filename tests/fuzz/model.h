/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A simple model of one handle: which nodes are desired and live, where each run is, and what
 * its result has to be. It gets the input (requests, sets, what callbacks return, when they
 * return) and says what the output has to be. */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include <safestart/safestart.h>
#include <stdbool.h>

#include "run/run.h"

#define IDS 16
#define FAULT 0xff
#define ID_OF_ENTRY_2 4 /* is called like the second entry, if that has no usable id */
#define RUNS 8
#define TICKETS 1024
#define PAST 1024
#define EVENTS 256
#define OUTCOMES 16 /* that wait at most, with events=pull */
#define FAIL_WORDS "the pool said no"

/* By id: 0 absent, FAULT, or a value that says address and labels. */
struct model_set {
	uint8_t node[IDS];
	uint64_t unnamed; /* entries without a usable id, by position */
};

enum model_at {
	AT_GATHER,
	AT_PREPARE,
	AT_RESTART,
	AT_OUTCOME
};

struct model_run {
	struct safestart_run *run; /* NULL: a free place */
	uint64_t number, requests, ticket;
	int64_t deadline;
	enum model_at at; /* what has to happen next, or is happening */
	bool asked, retry, forced;
	bool later, finished; /* it returned LATER; its finish has been called */
	bool taken;           /* events=pull: what it asks for was taken */
	bool committed_due;   /* its set went live, and the application was not told yet */
	bool words;           /* it was failed with FAIL_WORDS */
	bool expired, cancelled, settled, answered, concluded;
	int finish_error;
	bool handed, unchanged, had_previous; /* what the source did */
	struct model_set gathered, wanted;
	bool any; /* there is a wanted set */
	/* The set is that of last_good, because there is no other; what the source did is still
	 * the verdict. */
	bool from_kept, inherited; /* inherited: that of the parent */
	int kept_verdict, kept_error;
	size_t before; /* nodes that count as live */
	uint8_t candidate[IDS];
	uint16_t changed, rejected; /* by id; changed: added and changed ones */
	bool removes;
	int verdict, error;
};

/* events=pull: what has to be taken next, but for the log and what is retired. */
struct model_event {
	int kind;
	uint64_t run;
	struct safestart_outcome outcome;
};

struct model {
	/* settings */
	bool pull;
	bool push, last_good, has_prepare, has_restart, allow_empty, retries, reconciles;
	int64_t run_timeout, min_interval;
	unsigned max_shrink;
	int64_t shrink_window;
	size_t min_nodes, max_nodes;

	struct model_set kept; /* what last_good had at the start */
	bool kept_any;
	bool keep_due; /* the set that went live has to be saved */
	bool pushed;   /* or there is a document at the source */
	struct model_set desired;
	struct model_set shown; /* what the newest run was to apply */
	bool shown_any;
	uint16_t rejected; /* shown as such */
	uint8_t live[IDS];
	uint8_t report[IDS];
	uint64_t generation;
	/* Sets that were live, and until when; since the last forced one. */
	struct {
		size_t nodes;
		int64_t until;
	} past[PAST];
	size_t pasts;
	bool anew; /* what is live is the parent's */
	bool shut;

	uint64_t runs, ticket, answered, requests; /* requests: in the open batch */
	bool force;                                /* one of them */
	bool force_open;                           /* and nothing has been gathered since */
	bool retry_owed, first;                    /* runs that need no request */
	bool restart_owed;                         /* and not carried out since */
	int64_t earliest;                          /* start of the next run */
	struct {
		int verdict;
		uint64_t run;
	} answers[TICKETS];

	struct model_set previous, forced;
	bool previous_any, previous_complete, forced_any;
	int previous_error;
	struct model_run run[RUNS], *current;
	struct model_event event[EVENTS]; /* oldest first */
	size_t events;
};

extern struct model model;

size_t model_count(const uint8_t nodes[IDS]);
size_t model_faults(const struct model_set *set);

/* What goes in. */
void model_request(uint64_t ticket, bool force);
void model_shutdown(void);
void model_turn(void); /* the loop has read the clock */
void model_forked(void);

struct model_run *model_begin(struct safestart_run *run);
struct model_run *model_find(uint64_t number);
/* A callback has returned: the run goes on, stays or is given up. */
void model_returned(struct model_run *run, int result);
/* What safestart_run_finish() has to return, or safestart_run_fail() with FAIL_WORDS. */
int model_finish(struct model_run *run, int error, bool words);
/* Close does not wait for the application with events=pull. */
void model_abandon(void);

/* What comes out. */
void model_outcome(const struct safestart_outcome *outcome);
int model_node_state(int id, bool held_by_reader, bool held_by_run);
unsigned model_later_open(void);                    /* LATER runs that nothing has ended yet */
unsigned model_owed(void);                          /* that still have to be finished */
bool model_is_at_hand(const struct model_run *run); /* it may be finished */

/* events.c: with events=pull, what the application has to be told. Without, nothing. */
void model_tell(struct model_run *run, int kind);
/* Nobody will take it any more. False: it was taken, or is none. */
bool model_withdraw(const struct model_run *run, int kind);
void model_tell_outcome(const struct safestart_outcome *outcome);
/* It was taken: is it the one that was due? */
void model_took(const struct safestart_event *event);
/* A run's deadline has passed, or it was cancelled. */
void model_tell_pointless(struct model_run *run);

#endif
