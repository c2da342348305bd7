/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* worker: the jobs in which sources and the application's callbacks run: one at a time, in the
 * order they were posted. Which thread carries one out is up to dispatch. Knows which callback is
 * inside, for the words, and whether the calling thread is in one. */
#ifndef SAFESTART_WORKER_H
#define SAFESTART_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job {
	void (*execute)(struct job *job); /* by worker_execute_one() */
	void (*done)(struct job *job);    /* on the dispatching thread, afterwards */
	bool posted;                      /* dispatching thread only */
	struct job *next;                 /* guarded by worker->lock */
};

/* Which callback is inside. */
struct callback_inside {
	const char *what; /* NULL: none */
	uint64_t run;     /* 0: not a run's */
	int64_t since;
	bool busy; /* a job is being executed, with or without */
};

struct worker {
	pthread_mutex_t lock;      /* guards what follows */
	struct job *first, **last; /* to be executed */
	struct job *finished, **finished_last;
	struct job *executing;
	struct callback_inside callback;
};

void worker_init(struct worker *worker);
void worker_clear(struct worker *worker);

/* Dispatching thread. */
void worker_post(struct worker *worker, struct job *job);

/* Carry out the next job here. False: there is none, or another thread is inside one and will see
 * to the next. */
bool worker_execute_one(struct worker *worker);

/* Take back a job that has not begun. False: it has, or is not posted. Dispatching thread. */
bool worker_withdraw(struct worker *worker, struct job *job);

/* The next job that was executed, NULL: none. Dispatching thread. */
struct job *worker_take_finished(struct worker *worker);

bool worker_is_executing(struct worker *worker, const struct job *job);
/* Nothing waiting, executing, or finished and not taken. */
bool worker_is_idle(struct worker *worker);
struct callback_inside worker_callback(struct worker *worker);
/* Note which callback begins or has ended. Dispatching thread or the one that executes the job. */
void worker_set_callback(struct worker *worker, const struct callback_inside *callback);

/* ---- Around fork: the handle's lock is held ---- */
void worker_before_fork(struct worker *worker);
void worker_after_fork_parent(struct worker *worker);
/* The jobs are the parent's. Returns whether one was being executed: what it had in hand cannot
 * be trusted. */
bool worker_after_fork_child(struct worker *worker);

#endif
