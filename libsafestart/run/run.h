/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: one run: gather → check → prepare → commit → restart → outcome. Made and ended by the
 * dispatching thread, carried out on the worker, finished (after LATER) by any thread. */
#ifndef SAFESTART_RUN_H
#define SAFESTART_RUN_H

#include <errno.h>

#include "handle.h"

enum run_phase {
	RUN_GATHER,
	RUN_PREPARE,
	RUN_RESTART,
	RUN_END
};

/* How far a phase has come: changed under the handle's lock only, read by anybody. EXPIRED,
 * CANCELLED and SETTLED exclude each other, but for a shutdown that comes between SETTLED and
 * COMMITTED. */
enum run_bit {
	RUN_LATER = 1,      /* the callback answered LATER */
	RUN_CALLED = 2,     /* finish was called */
	RUN_SETTLED = 4,    /* in time: the deadline is off */
	RUN_EXPIRED = 8,    /* the deadline was first */
	RUN_CANCELLED = 16, /* shut down */
	RUN_COMMITTED = 32  /* live */
};

struct safestart_run {
	struct job job;      /* first: the worker hands it back */
	struct job delivery; /* of the outcome to the application */
	unsigned jobs; /* of the two that are out, plus one while parked; dispatching thread */
	struct safestart *ss;
	uint64_t number;
	struct request_batch batch; /* whom it answers */
	bool forced;                /* the worker's */
	bool asked;                 /* by a request, a hint, the first load */
	bool retry;                 /* of an earlier one; neither: a mere reconcile */
	const char *cause;          /* in words, for a run without requests */
	bool answered;              /* dispatching thread */
	/* It holds the lock between processes. These three are process_lock.c's, dispatching
	 * thread. */
	bool locked;
	/* The batch of all processes that it answers; 0: there is none, or it is answered. */
	uint64_t shared, shared_id;
	int64_t started;
	_Atomic int64_t deadline; /* changed under the handle's lock */
	_Atomic uint32_t bits;
	_Atomic int phase;      /* enum run_phase; written by the worker */
	int finish_error;       /* written before RUN_CALLED, under the handle's lock */
	char finish_words[256]; /* with it: the application's, "" if it has none */
	bool resumed;           /* the worker goes on after LATER */
	/* events=pull, guarded by the handle's lock: what it asks of the application, and that this
	 * is pointless now. What outlives the run: allocated with it. */
	struct letter call, cancelled;
	struct letter *spare;
	bool untaken; /* the application did not take what it was asked */
	struct safestart_run *next_parked;

	/* The worker's. */
	struct safestart_gather gather;
	int gather_error;
	char words[256]; /* why the gather failed, or the refusal */
	struct nodeset *wanted;
	/* Remembered until now; freeing it takes a while, which what goes live need not wait for.
	 */
	struct nodeset *outgoing;
	struct safestart_snapshot *current;   /* owned */
	struct safestart_snapshot *candidate; /* until commit; afterwards the live one, owned */
	struct safestart_snapshot *unwanted;  /* a candidate of which `prepare` has rejected all */
	struct nodeset_plan plan;
	bool committed;
	bool over;      /* it has ended; what it held is given back once it is answered */
	size_t before;  /* nodes that count as live: those of last_good too, when none are */
	bool from_kept; /* the source failed, another set stands in */
	bool inherited; /* the one that the parent had live; else last_good's */
	int kept_verdict;
	bool kept_later;    /* last_good is there, and could not be read now */
	size_t kept_unread; /* entries of a last_good that cannot be used */
	int kept_error;     /* why not, and in words */
	char kept_why[100];
	bool again; /* to be retried */
	bool keep;  /* last_good is to be written for it */
	uint32_t attempts;

	/* Guarded by `lock`: what prepare says, from any thread after LATER. */
	pthread_mutex_t lock;
	struct rejection *rejections;
	size_t rejection_count;
	bool copied; /* unchanged nodes that got data are copies of the live ones */
	/* Data that was replaced or rejected: retired when the run is torn down. */
	struct payload *to_retire;
	bool data_lost; /* set_data had no memory: the run fails */
	uint64_t stray; /* the data then; retired with the rest */

	_Atomic int32_t status; /* safestart_run_set_status() */
	struct safestart_outcome outcome;
};

/* A run about to begin. NULL: no memory. */
struct safestart_run *run_new(struct safestart *ss);
void run_free(struct safestart_run *run);

static inline bool run_gave_up(const struct safestart_run *run)
{
	return (atomic_load_explicit(&run->bits, memory_order_acquire) &
		(RUN_EXPIRED | RUN_CANCELLED)) != 0;
}

/* An error after which asking again without a change of the input is pointless. */
static inline bool run_is_refusal(int error)
{
	return error == -EINVAL || error == -E2BIG || error == -ERANGE;
}

/* Is the live generation another process's, none of it prepared in this one? With generation 0
 * there is nothing to inherit. Any thread. */
bool run_is_inherited(struct safestart *ss);

/* Why a callback failed: in the application's words if it has given some. */
static inline const char *run_error_words(const struct safestart_run *run, int error)
{
	return run->finish_words[0] != '\0' ? run->finish_words : safestart_strerror(error);
}

/* What it is at: "gather", "prepare", "restart". */
const char *run_phase_name(const struct safestart_run *run);

/* ---- step.c ---- */

enum step_result {
	STEP_GO_ON,
	STEP_PARK,   /* it answered LATER, and finish has not been called yet */
	STEP_GIVE_UP /* expired or cancelled */
};

/* A phase begins (worker). False: there is no point. */
bool step_begin(struct safestart_run *run, enum run_phase phase);

/* Its callback has returned *result (worker); with LATER and an early finish, *result becomes the
 * finish's. */
enum step_result step_returned(struct safestart_run *run, enum run_phase phase, int *result);

/* The outcome is known (worker). False: too late, the deadline or the shutdown has answered. */
bool step_settle(struct safestart_run *run);

/* Give up unless it is settled: at the deadline / at shutdown. The handle's lock is held. True: it
 * was open. */
bool step_expire_locked(struct safestart_run *run, int64_t now);
bool step_cancel_locked(struct safestart_run *run);
void step_set_locked(struct safestart_run *run, uint32_t bits);
/* Close does not wait for the application's finish. The handle's lock is held. */
void step_abandon_locked(struct safestart_run *run);

/* Is it pointless to go on? For the callback that is inside. Any thread; signal-safe. */
bool step_is_pointless(const struct safestart_run *run);

/* It answered LATER and finish has not been called / has been. */
bool step_is_parked(const struct safestart_run *run);
bool step_is_called(const struct safestart_run *run);

/* For showing: without memory for all of them, the first ones. */
struct rejection *run_copy_rejections(const struct rejection *from);
void run_free_rejections(struct rejection *rejections);

/* gather.c: ask the source, or find that there is none to ask. 0, -errno, SAFESTART_LATER. */
int gather_call(struct safestart_run *run);
/* What came of it, into run->wanted. 0 or -errno, run->words says why. */
int gather_result(struct safestart_run *run, int result);
/* The set that is applied if nothing came of it; NULL: none. */
struct nodeset *gather_stand_in(struct safestart_run *run);

/* candidate.c: from the wanted set to a snapshot that could be live. 0 or -ENOMEM. */
int candidate_build(struct safestart_run *run);
/* What was reported while the run prepared holds for the copies of unchanged nodes as well: just
 * before commit. */
void candidate_carry_reports(struct safestart_run *run);
/* Take out what prepare rejected, of the nodes and of the changes. Returns how many changes are
 * left. */
size_t candidate_settle(struct safestart_run *run);

#endif
