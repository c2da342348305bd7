/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* engine: what its files offer each other and the storeys above. Everything here is the
 * dispatching thread's unless it says otherwise; only waiters wait. */
#ifndef SAFESTART_ENGINE_ENGINE_H
#define SAFESTART_ENGINE_ENGINE_H

#include "handle.h"

/* ---- threads.c: our threads, and posting what they execute ---- */

/* The first of them; it runs engine.body, as the second will. 0 or -errno. The thread that opens or
 * revives. */
int threads_start(struct safestart *ss);
/* Join them. The thread that closes. */
void threads_stop(struct safestart *ss);
/* Post a job; with thread=yes there have to be two threads, until the handle is shut down. 0;
 * -errno: no thread could be started, the job is not posted. */
int threads_post(struct safestart *ss, struct job *job);

/* xorshift: spreads what would meet; nothing depends on its quality. */
uint32_t engine_random(struct safestart *ss);

/* ---- outcome.c: a run's outcome is known: tell the gate, the waiters, the log, the application */

void outcome_of_run(struct safestart_run *run, bool again);
void outcome_expired(struct safestart_run *run);   /* past its deadline */
void outcome_cancelled(struct safestart_run *run); /* shut down; its ticket is answered already */
void outcome_not_started(struct safestart_run *run, int error); /* no thread could be started */
void outcome_drop(struct safestart_run *run); /* one of run->jobs is done with it */

/* CANCELLED to every ticket that no run will answer any more. Any thread, under the handle's lock.
 */
void outcome_cancel_tickets_locked(struct safestart *ss);

/* ---- housekeeping.c: what is done besides runs ---- */

void housekeeping_init(struct safestart *ss);
/* A job that cannot be posted is reported. 0; -errno: try again. */
int housekeeping_post(struct safestart *ss, struct job *job, const char *what);
/* Write last_good, if it is wanted and not being written. */
void housekeeping_write_last_good(struct safestart *ss);
/* The same, if the last time failed; returns when to come again. */
int64_t housekeeping_retry_last_good(struct safestart *ss, int64_t now);
/* Listen to the source's descriptor again, if that is due; returns when to come again. */
int64_t housekeeping_listen(struct safestart *ss, int64_t now);
/* What the control thread wants in the log. */
void housekeeping_log(struct safestart *ss);

/* ---- process_lock.c: the lock between processes ---- */

enum process_lock_verdict {
	PROCESS_LOCK_BEGIN, /* the run may begin, and holds the lock, if there is one */
	PROCESS_LOCK_WAIT,  /* ask again at process_lock.retry_at */
	PROCESS_LOCK_ENDED  /* it is over without having begun: process_lock.end */
};
void process_lock_init(struct safestart *ss);
/* Report at once what would be wrong with the file. */
void process_lock_check_file(struct safestart *ss);
/* May the run that is due begin? */
enum process_lock_verdict process_lock_ask(struct safestart *ss, int64_t now);
/* After BEGIN and ENDED: the requests that the run answers. False: there are none. */
bool process_lock_take(struct safestart *ss, struct safestart_run *run,
		       enum process_lock_verdict verdict);
void process_lock_publish(struct safestart_run *run); /* its outcome is known */
void process_lock_leave(struct safestart_run *run);   /* its last callback has returned */
void process_lock_undo(struct safestart *ss);         /* after BEGIN: there will be no run */

/* ---- dispatch.c: the decisions ---- */

/* At open. / In a forked child: nothing that the parent had going is here. The handle's lock is
 * held. */
void dispatch_init(struct safestart *ss);
void dispatch_after_fork_child(struct safestart *ss);
/* With thread=yes: from here on our threads dispatch. 0 or -errno. */
int dispatch_start(struct safestart *ss);
/* One turn on this thread, if the handle is driven: 0, -EBUSY, -ECANCELED. Any thread; not for
 * callbacks. */
int dispatch_turn(struct safestart *ss, int timeout_ms);

#endif
