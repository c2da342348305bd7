/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine's part of a handle: everything that decides. Who guards what stands at each group. */
#ifndef SAFESTART_ENGINE_PART_H
#define SAFESTART_ENGINE_PART_H

#include <pthread.h>
#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/worker.h"
#include "lock/file.h"
#include "lock/share.h"
#include "request/request.h"

struct engine_figures {
	uint64_t runs[SAFESTART_CANCELLED + 1]; /* by verdict */
	uint64_t requests;                      /* in closed batches */
	int64_t behind_since;                   /* 0: not behind */
	int64_t run_started;                    /* of the run in progress */
	int64_t next_start; /* what the gate says: GATE_NEVER if nothing is due */
};

/* The lock between processes; see process_lock.c. The dispatching thread's. */
struct process_lock {
	struct lock_file file;
	unsigned held; /* runs that have not let go of it */
	int64_t since; /* waiting for it; 0: not */
	int64_t retry_at;
	int64_t ended;      /* when it was released */
	uint32_t failures;  /* times in a row that it was not available */
	bool said;          /* that waiting takes long */
	bool warned;        /* that outcomes cannot be shared */
	uint32_t unwritten; /* outcomes in a row that could not be written */
	bool checked;       /* the file was looked at once */

	/* lock_share. */
	bool asked; /* requests may have come that are not in the shared batch */
	bool urgent;
	bool left;  /* and could not enter it any more: they are the next run's */
	bool taken; /* `batch` was taken out of the door */
	struct request_batch batch;
	struct share_me me;
	uint64_t closed;              /* the shared batch of the run that begins; 0: none */
	uint64_t total;               /* requests of all processes in it */
	bool covered;                 /* another process has made the run */
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

struct engine_part {
	/* The dispatching thread's, see dispatch.c. */
	struct safestart_run *parked; /* runs that answered LATER */
	struct job retire_job;
	struct job hint_job;
	struct job last_good_job;
	/* Outcomes that the application has not been told yet, and the newest of them. */
	unsigned deliveries;
	struct safestart_run *newest_delivery;
	bool hinted;            /* the last hint was of interest; written inside hint_job */
	bool hint_ended;        /* nothing more will come from the source's descriptor */
	uint32_t hint_failures; /* times in a row that it could not be watched */
	int64_t listen_at;      /* when the source's descriptor is listened to again; LOOP_NEVER: it
				   is, or hint_job is posted */
	int64_t listen_pause;   /* before that, while hints of no interest keep coming */
	int64_t idle_hint;      /* when the last of those came */
	bool last_good_wanted;  /* last_good is older than what is live */
	int64_t last_good_at;   /* when it is tried again; LOOP_NEVER: nothing is due */
	/* Times in a row that something was missing: each has a log line of its own. */
	uint32_t no_memory;       /* for a run */
	uint32_t no_thread;       /* the second one */
	uint32_t no_grace_thread; /* never again once there was one */
	bool wait_for_readers;    /* the retire job has to; read inside it */
	bool run_deferred;        /* a callback was in the way of a run: run when it has returned */
	const char *cause;        /* of the next run without a request; NULL: a mere reconcile */
	bool asked;               /* and it is as good as a request, not a retry */
	uint64_t warned_about;    /* generation whose borrower was reported */
	uint32_t random;
	struct process_lock process_lock;

	/* Guarded by the handle's lock. */
	struct engine_figures figures;
	struct process_lock_view lock_view;
	bool dispatching;
	pthread_t dispatcher; /* the thread that dispatched last */
	unsigned turn_wanted; /* threads that wait for the one that dispatches */
	unsigned waiters;     /* threads inside wait or wait_ready */
	bool drained;         /* shut down and nothing left to do */
	bool abandons;        /* close has begun: what the application has taken and not finished
				 (events=pull) is finished for it */
	bool driven;          /* thread=no, or nobody but close is left to dispatch: the thread that
				 dispatches executes the jobs, too */

	/* Our threads: see threads.c. */
	void *(*body)(void *handle); /* what they run */
	bool first_started;          /* by open and revive */
	bool second_started;         /* dispatching thread, and close after all is done */
	pthread_t first, second;
	_Atomic bool stop; /* they are to end */
};

#endif
