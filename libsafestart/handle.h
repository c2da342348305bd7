/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* handle: what one handle is made of, and who guards which part. Internal; included by the rooms
 * above request, gate, nodeset, snapshot, loop, worker and conf, which know nothing of it.
 *
 * Locks, in the order in which they are taken (and taken around fork):
 *   list of handles (fork.c) → push.lock → lock → worker.lock → control->lock → events->lock →
 * home->lock → the lock file's `opening` → liburcu's. run->lock stands alone. None is held across a
 * callback, a log line, a grace period or a call that can block. */
#ifndef SAFESTART_HANDLE_H
#define SAFESTART_HANDLE_H

#include <pthread.h>
#include <safestart/safestart.h>
#include <safestart/source.h>
#include <syslog.h>

#include "base/events.h"
#include "base/loop.h"
#include "base/worker.h"
#include "conf/conf.h"
#include "lock/file.h"
#include "lock/share.h"
#include "request/gate.h"
#include "request/request.h"
#include "request/ticket.h"
#include "snapshot/snapshot.h"
#include "source/push.h"

enum source_kind {
	SOURCE_PUSH,
	SOURCE_NONE,
	SOURCE_ADDED /* by conf: file, or the application's */
};

struct handle_source {
	enum source_kind kind;
	const struct conf_source *chosen; /* SOURCE_ADDED; conf's */
	void *state;                      /* worker, and open and close */
	/* Hint; -1: none yet. Once there is one it stays; dispatching thread and worker. */
	_Atomic int fd;
	bool open;
	bool inherited; /* the state is the parent's: open anew before the first gather */
	bool torn;      /* and the parent was inside it: leave it alone */
	bool hinted;    /* the last hint was of interest */
	bool ended;     /* nothing more will come from fd. Dispatching thread */
	bool warned;    /* that it can't be watched. Dispatching thread */
};

/* What the worker remembers from run to run. Worker only. */
struct handle_memory {
	struct nodeset *gathered; /* what the source handed over last; NULL: it failed, see error */
	bool complete; /* the last gather was in time; else there is nothing to be unchanged from */
	int error;     /* of the last gather; 0 with gathered NULL: there was none yet */
	char words[256];
	struct nodeset *tried;     /* the set the last run tried */
	uint32_t attempts;         /* runs in a row that tried it and are to be repeated */
	struct nodeset *unchanged; /* a set that was found to change nothing */
	uint64_t unchanged_from;   /* of that generation */
	struct nodeset *forced;    /* the set a forced run tried and has not applied yet */
	bool kept_tried;           /* last_good was looked at */
};

/* A node that prepare rejected. */
struct rejection {
	char *id;
	char *reason;
	struct rejection *next;
};

struct handle_figures {
	uint64_t runs[SAFESTART_CANCELLED + 1]; /* by verdict */
	uint64_t requests;                      /* in closed batches */
	int64_t behind_since;                   /* 0: not behind */
	int64_t run_started;                    /* of the run in progress */
	int64_t next_start;        /* what the gate says: GATE_NEVER if nothing is due */
	char last_good_error[160]; /* last_good could not be written */
};

/* The lock between processes; see process_lock.c. The dispatching thread's. */
struct process_lock {
	struct lock_file file;
	unsigned held; /* runs that have not let go of it */
	int64_t since; /* waiting for it; 0: not */
	int64_t retry_at;
	int64_t ended;     /* when it was let go of */
	uint32_t failures; /* times in a row that it was not to be had */
	bool said;         /* that waiting takes long */
	bool warned;       /* that outcomes can't be shared */
	bool greeted;      /* the file was looked at once */

	/* lock_share. */
	bool asked; /* requests may have come that are not in the shared batch */
	bool urgent;
	bool left;  /* and could not enter it any more: they are the next run's */
	bool taken; /* `batch` was taken out of the door */
	struct request_batch batch;
	struct share_me me;
	uint64_t closed; /* the run that begins is that shared batch's; 0: nobody else's */
	uint64_t total;  /* requests of all processes in it */
	bool covered;    /* another process has made the run */
	struct safestart_outcome end; /* PROCESS_LOCK_ENDED */
};

/* For showing. */
struct process_lock_view {
	enum process_lock_state {
		PROCESS_LOCK_FREE,
		PROCESS_LOCK_HELD,
		PROCESS_LOCK_WAITING
	} state;
	int64_t since; /* not for free */
	char holder[LOCK_HOLDER_SIZE];
};

struct safestart {
	struct snapshot_view view;   /* first: readers cast */
	struct request_door door;    /* lock-free */
	struct safestart_conf *conf; /* constant after open */
	struct snapshot_home *home;
	struct loop loop;
	struct worker worker;
	struct push push;
	struct handle_source source;
	struct handle_memory memory;
	struct control *control;                     /* NULL: no control socket; constant */
	struct events *events;                       /* the same */
	struct safestart_snapshot *closing_snapshot; /* takes the live one's place when closing */
	bool thread;                                 /* constant */

	/* The dispatching thread's, see dispatch.c. */
	struct gate gate;
	struct safestart_run *parked; /* runs that answered LATER */
	struct job retire_job;
	struct job hint_job;
	struct job last_good_job;
	bool last_good_wanted; /* last_good is older than what is live */
	/* Times in a row that it could not be written; by the worker. */
	_Atomic uint32_t last_good_failures;
	int64_t last_good_at; /* when it is tried again; LOOP_NEVER: nothing is due */
	uint32_t starved;  /* times in a row that a thread, or memory for a run, could not be had */
	bool owed;         /* a callback was in the way of a run: run when it has returned */
	const char *cause; /* of the next run, if nobody asks; NULL: a mere reconcile */
	uint64_t warned_about; /* generation whose borrower was reported */
	uint32_t random;
	struct process_lock process_lock;

	/* Guarded by lock. */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* anything below that somebody waits for; always broadcast */
	struct ticket_book tickets;
	struct safestart_run *run; /* in progress and not answered */
	uint64_t runs;             /* numbers given */
	bool anew;                 /* live is another process's: all nodes count as added */
	struct nodeset *desired;   /* what the newest run was to apply */
	struct rejection *rejections;
	struct handle_figures figures;
	struct process_lock_view lock_view;
	/* Runs that answered LATER, and neither finish nor deadline nor shutdown has come. */
	unsigned later_open;
	unsigned later_owed;   /* and those of which the finish is still owed */
	unsigned gathers_owed; /* of these, the sources' */
	bool dispatching;
	pthread_t dispatcher; /* who dispatched last */
	unsigned turn_wanted; /* threads that wait for the one that dispatches */
	unsigned waiters;     /* threads inside wait or wait_ready */
	bool drained;         /* shut down and nothing left to do */
	/* Thread=no, or nobody but close is left to dispatch: who dispatches executes the jobs,
	 * too. */
	bool driven;
	bool first_started;  /* by open and revive */
	bool second_started; /* dispatching thread, and close after all is done */
	pthread_t first, second;
	_Atomic bool stop; /* they are to end */
	/* Snapshot_epoch() of the process that drives it; changed under lock. */
	_Atomic uint32_t epoch;
	int fork_error; /* descriptors could not be made in the child */

	struct safestart *next; /* in fork.c's list, guarded by its lock */
};

static inline const struct settings *handle_settings(const struct safestart *ss)
{
	return &ss->conf->settings;
}

/* A line for the application's log. Dispatching thread or worker, no lock held. */
void log_line(struct safestart *ss, int level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A job or a run has something for the dispatching thread. */
static inline void handle_wake(struct safestart *ss)
{
	request_wake(ss->loop.wake_fd);
}

/* dispatch.c: the decisions. dispatch_turn, if the handle is driven: -EBUSY, -ECANCELED or 0; not
 * for callbacks. */
int dispatch_turn(struct safestart *ss, int timeout_ms);
void dispatch_init(struct safestart *ss);
int dispatch_start(struct safestart *ss); /* the first thread of ours. 0 or -errno */
void dispatch_stop(struct safestart *ss);
/* Post a job; with threads, there have to be two of them. 0; -errno: no thread to be had, not
 * posted. Dispatching thread. */
int dispatch_post(struct safestart *ss, struct job *job);

/* process_lock.c: the lock between processes. May the run that is due begin? */
enum process_lock_verdict {
	PROCESS_LOCK_BEGIN, /* yes, and it holds the lock, if there is one */
	PROCESS_LOCK_WAIT,  /* ask again at process_lock.retry_at */
	PROCESS_LOCK_ENDED  /* it is over without having begun: process_lock.end */
};
void process_lock_init(struct safestart *ss);
void process_lock_greet(struct safestart *ss); /* say at once what will be wrong */
enum process_lock_verdict process_lock_ask(struct safestart *ss, int64_t now);
/* After BEGIN and ENDED: whom the run answers. False: nobody asked for it. */
bool process_lock_take(struct safestart *ss, struct safestart_run *run,
		       enum process_lock_verdict verdict);
void process_lock_publish(struct safestart_run *run); /* its outcome is known */
void process_lock_leave(struct safestart_run *run);   /* its last callback has returned */
void process_lock_undo(struct safestart *ss);         /* after BEGIN: there will be no run */

/* xorshift: spreads what would meet; nothing depends on its quality. Dispatching thread. */
uint32_t handle_random(struct safestart *ss);

/* outcome.c: CANCELLED to every ticket nobody will answer any more. */
void outcome_cancel_tickets_locked(struct safestart *ss);

/* A thread or memory could not be had, once more: at which level is it said? Dispatching thread. */
int handle_starves(struct safestart *ss);

/* housekeeping.c. housekeeping_post: what cannot be posted is said; 0 or -errno: try again. */
void housekeeping_init(struct safestart *ss);
int housekeeping_post(struct safestart *ss, struct job *job, const char *what);
/* write last_good, if it is wanted and not being written. */
void housekeeping_write_last_good(struct safestart *ss);
void housekeeping_log(struct safestart *ss); /* what the control thread wants in the log */
/* The same, if the last time failed; returns when to come again. */
int64_t housekeeping_retry_last_good(struct safestart *ss, int64_t now);

/* fork.c */
int fork_register(struct safestart *ss); /* 0 or -ENOMEM */
void fork_unregister(struct safestart *ss);
/* 0 at once unless this is a child that does not own it yet. */
int fork_revive(struct safestart *ss);

/* Write last_good now. Worker, in no callback. */
void last_good_write(struct safestart *ss);

/* last_good.c: the file of last_good. 0 or -errno and why; -ENOENT: nothing was kept yet. Any
 * thread, no lock held. */
int last_good_load(struct nodeset **out, const struct settings *settings, char *why,
		   size_t why_size);
int last_good_save(const char *path, const char *json, char *why, size_t why_size);

#endif
