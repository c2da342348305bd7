/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * safestart.h - "the storage nodes changed", made harmless.
 *
 * A handle keeps the set of storage nodes an API server works with. Anybody may
 * ask, at any time and as often as they like, for the set to be looked at anew:
 * requests in close succession become one run, runs never overlap, and a run
 * either puts a whole new generation of nodes live or leaves the old one serving.
 *
 * Conventions, for every function below:
 *
 * - Results: 0 or positive is fine, negative is -errno. safestart_strerror() has
 *   the words; `why` buffers get the whole story, may be NULL, and always end
 *   in a NUL byte.
 * - Strings are UTF-8. What is passed in is copied before the call returns.
 * - Times are nanoseconds or milliseconds, said in the name; all of them are
 *   CLOCK_MONOTONIC. A negative timeout waits for ever, 0 does not wait.
 * - pthread_cancel(): a thread may die in safestart_wait() or safestart_wait_ready() as long as
 * what it waits for has not come, which changes nothing for others; with thread=no not while it
 * does the work there. Nothing else is a cancellation point, and callbacks run with cancellation
 * disabled (but for what safestart_snapshot_release() retires after close). Asynchronous
 * cancellation is allowed nowhere.
 * - Each comment ends with the same lines: what it returns, from which threads
 *   it may be called, whether a signal handler may call it, whether a callback
 *   may, what a forked child may expect, and since when it exists.
 *   "Fork: revives" means: in a forked child the first such call makes the
 *   handle the child's own, as safestart_after_fork() does.
 *
 * What may run at the same time as what, for one handle:
 *
 *                      | request | wait | read | push/status | dispatch | shutdown | close
 *   request            |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   wait, wait_ready   |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  yes (1)
 *   read, acquire      |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   release            |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  yes
 *   push, status       |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   dispatch           |   yes   | yes  | yes  |     yes     |   no (2) |   yes    |  no (2)
 *   shutdown           |   yes   | yes  | yes  |     yes     |   yes    |   yes    |  no
 *   close              |   no    | yes  | no   |     no      |   no     |   no     |  no
 *
 *   push: nodes_replace, announce, withdraw. (1) Close waits until they have
 *   left; they are answered at once. (2) The second one gets -EBUSY.
 *   Callbacks of one handle never overlap each other, `log` excepted.
 *   Two handles never meet: everything above holds for each by itself.
 */
#ifndef SAFESTART_SAFESTART_H
#define SAFESTART_SAFESTART_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct safestart;      /* a handle */
struct safestart_conf; /* settings, before a handle is opened */
/* One generation: an immutable set of nodes and the application's data. */
struct safestart_snapshot;
struct safestart_node;   /* one storage node in a snapshot */
struct safestart_run;    /* one run, while its callbacks are at work */
struct safestart_source; /* where nodes come from; see source.h */

/** How a run, and every request it covered, ended. */
enum safestart_verdict {
	SAFESTART_PENDING = -1, /* not yet */
	SAFESTART_APPLIED = 0,  /* a new generation is live, or `restart` was carried out */
	/* Nothing to apply: but for what was left out, the set is the one that is live. */
	SAFESTART_UNCHANGED = 1,
	SAFESTART_REFUSED = 2, /* malformed, or a guard rail: not retried until the input changes */
	SAFESTART_FAILED = 3,  /* the source or a callback failed: retried in the background */
	SAFESTART_TIMED_OUT = 4, /* took longer than run_timeout: retried in the background */
	SAFESTART_CANCELLED = 5  /* the handle was shut down */
};

/** Flags of safestart_request(). */
enum safestart_request_flag {
	/* Lifts max_shrink and min_nodes for its batch; never applies an empty set. */
	SAFESTART_FORCE = 1,
	SAFESTART_URGENT = 2, /* skips debounce and backoff, not min_interval */
	/* Reload, then hand over to a new process; this version refuses it: ticket 0. */
	SAFESTART_PROCESS = 4
};

/** What is known of a node in this process. */
enum safestart_node_state {
	SAFESTART_NODE_UNKNOWN = 0,   /* neither announced nor live */
	SAFESTART_NODE_ANNOUNCED = 1, /* in the desired set, not live yet */
	SAFESTART_NODE_APPLIED = 2,   /* live, but no request to it has been reported yet */
	SAFESTART_NODE_PROVEN = 3,    /* live, and the newest report says it works */
	SAFESTART_NODE_FAILING = 4,   /* live, and the newest report says it does not */
	/* Announced, but unusable or rejected; `why` says the reason. */
	SAFESTART_NODE_QUARANTINED = 5,
	SAFESTART_NODE_RETIRED = 6 /* left the set, a reader is still inside */
};

/** What happened to a node between the live set and the candidate. */
enum safestart_change {
	SAFESTART_ADDED = 1,
	SAFESTART_REMOVED = 2,
	SAFESTART_CHANGED = 3 /* its address or any label differs; a new incarnation is one */
};

/** Returned by `prepare`, `restart` or a source's gather: I shall finish later. */
#define SAFESTART_LATER 1

/**
 * How a run ended. Set `size` to sizeof(struct safestart_outcome) before passing
 * one in; the struct grows at its end in later versions, and a caller built
 * against an older one gets the part it knows.
 */
struct safestart_outcome {
	size_t size;
	uint64_t run;        /* which run covered the ticket; 0: none did (shut down before) */
	uint64_t generation; /* live when it ended */
	/* How many it coalesced, with lock_share of all processes; 65535: or more, one process does
	 * not count further. */
	uint64_t requests;
	uint32_t attempts; /* runs in a row that tried this set, this one included */
	/* Entries left out as unusable or rejected; 0 when timed out or cancelled. */
	uint32_t quarantined;
	int32_t verdict;   /* enum safestart_verdict */
	int32_t error;     /* 0, or -errno for every verdict from REFUSED on */
	char message[256]; /* in words: what happened, what to do, when it is tried again */
	uint64_t ticket;   /* this and every older ticket is answered */
	/* What `restart` left by safestart_run_set_status(): an exit code, say; else 0. */
	int32_t status;
	/* The process that made the run: with lock_share it may be another; 0: none did. */
	int32_t pid;
};

/**
 * The application's part. Any member may be NULL. Set `size` to
 * sizeof(struct safestart_callbacks); the struct grows at its end.
 *
 * They are called with no lock held, so they may call back into the library:
 * everything but wait, wait_ready, close and dispatch (-EDEADLK). With thread=yes
 * they are called on one of two threads of the library's, now this one, now that
 * (nothing may hang on thread-local data), one at a time, `log` on both; all signals blocked. With
 * thread=no they are called only from inside safestart_dispatch(), safestart_wait(),
 * safestart_wait_ready() and safestart_close(). One exception: data of a snapshot that is still
 * owned when the handle is closed is retired by whoever releases it.
 */
struct safestart_callbacks {
	size_t size;

	/* The set changed: make ready what the candidate needs (see safestart_run_change()),
	 * and do nothing that can't be undone: the run can still fail. Not called for a set that
	 * did not change. Returns 0, -errno (nothing is applied, tried again later), or
	 * SAFESTART_LATER; anything else positive is a mistake and taken as -EINVAL. It may be
	 * called for the next run while one that answered LATER is past its deadline and not
	 * finished yet. */
	int (*prepare)(struct safestart_run *run, void *user_data);

	/* Give back data hung on a generation with safestart_run_set_data(): no reader can see it
	 * any more. Called exactly once for each pointer that was handed over. */
	void (*retire)(void *data, void *user_data);

	/* One line for the log, without a newline, in UTF-8. Levels as in <syslog.h>; a failure
	 * that repeats by itself is said at its 1st, 2nd, 4th, 8th time, and at LOG_DEBUG in
	 * between. May be called from two threads at once with thread=yes. Be quick: the library's
	 * decisions wait meanwhile. */
	void (*log)(int level, const char *message, void *user_data);

	/* Every run that ended, in order. Valid during the call. Waiters are answered before, so
	 * safestart_wait() may have returned already. (With thread=yes it comes from a thread; when
	 * that can't be started, which is why the run failed, the log says so instead.) */
	void (*outcome)(const struct safestart_outcome *outcome, void *user_data);

	/* As `retire`, for data hung on a node with safestart_run_set_node_data(). */
	void (*retire_node)(void *data, void *user_data);

	/* Whatever else has to be reloaded. Called after commit in every run that gets that far,
	 * for an unchanged set too, but not for a `reconcile` that found nothing new. Results as
	 * prepare; a failure makes the run FAILED and retried, a generation that was committed
	 * stays. */
	int (*restart)(struct safestart_run *run, void *user_data);
};

/* ---- The library ------------------------------------------------------- */

/**
 * The version of the library that is loaded, as "1.0.0".
 * Returns: a static string, never NULL.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
const char *safestart_version(void);

/**
 * A result of this library in words; `error` may be given as -errno or errno.
 * Does not depend on the locale.
 * Returns: a static string, never NULL, also for numbers nobody knows.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
const char *safestart_strerror(int error);

/**
 * Free a string this library returned as `char *`. NULL is fine.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
void safestart_free(void *memory);

/* ---- Settings ---------------------------------------------------------- */

/**
 * New settings, all at their defaults.
 * Returns: settings, freed with safestart_conf_free(); NULL when out of memory.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
struct safestart_conf *safestart_conf_new(void);

/**
 * Free settings; a handle opened with them keeps its own copy. NULL is fine.
 * Threads: any, nobody else using conf.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
void safestart_conf_free(struct safestart_conf *conf);

/**
 * Set one setting; safestart_setting() lists them. The last value given counts.
 * Durations take ns us ms s m h, sizes KiB MiB GiB, booleans yes and no; a
 * duration without a unit is refused, except 0.
 * Returns: 0; -EINVAL for an unknown key, a bad value or a NULL argument, with the
 *   reason and the nearest valid key in `why`; -ENOMEM. On error nothing changed.
 * Threads: one at a time per conf.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_conf_set(struct safestart_conf *conf, const char *key, const char *value, char *why,
		       size_t why_size);

/**
 * Set the callbacks and the pointer they all get as `user_data`. The struct is
 * copied; what user_data points to has to live until safestart_close() has
 * returned 0 and the last owned snapshot is released.
 * Returns: 0; -EINVAL when conf or callbacks is NULL, or callbacks->size is smaller than 1.0's.
 * Threads: one at a time per conf.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_conf_set_callbacks(struct safestart_conf *conf,
				 const struct safestart_callbacks *callbacks, void *user_data);

/**
 * Make a source of your own known, so that `source` may name its scheme and its
 * settings may be set. The struct is copied, the strings in it have to
 * outlive conf and every handle opened with it. See source.h.
 * Returns: 0; -EINVAL when something needed is missing, -EEXIST when scheme or a setting is taken,
 * -ENOMEM. Threads: one at a time per conf.  Signals: no.  Callbacks: allowed.  Fork: safe.
 * Since: 1.0
 */
int safestart_conf_add_source(struct safestart_conf *conf, const struct safestart_source *source,
			      void *user_data);

/**
 * The table of settings, one row a call, from index 0. Any out pointer may be NULL;
 * the strings are static. `value` is the default, "" for none.
 * Returns: 0; -ENOENT past the end.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_setting(size_t index, const char **key, const char **value, const char **help);

/**
 * Would this document be taken? Parses `json` as the library would and judges it
 * by the settings that need no live set (max_bytes, max_nodes, min_nodes, allow_empty).
 * NULL conf: defaults.
 * Returns: 0 when all of it is usable; positive: so many entries would be quarantined,
 *   the first one's reason in `why`; -EINVAL malformed or nothing usable, -E2BIG too large,
 *   -ERANGE a guard rail, -ENOMEM; `why` has the words.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
int safestart_check(const struct safestart_conf *conf, const char *json, char *why,
		    size_t why_size);

/* ---- A handle's life --------------------------------------------------- */

/**
 * Open a handle. NULL conf means defaults: a pushed set, own threads. Never blocks on a
 * source: the first load goes on in the background (safestart_wait_ready()); until then
 * readers find generation 0, an empty set. With thread=yes one thread is started
 * here, more when they are first needed; all of them block every signal. Callbacks may come
 * before this has returned; *out is set before. With `control`, one more thread ("safestart-ctl",
 * with thread=no too) makes the socket NAME.PID.sock in that directory and answers there: to this
 * user and to root, for the socket has mode 0600. It calls nothing of the application's. A
 * directory that is missing is made, 0700, when only its last part is; a socket that can't be made
 * is said in the log and tried again every `reconcile` (30 s when that is 0). Open it after
 * privileges were dropped. Returns: 0 and the handle in *out; -EINVAL for contradictory settings or
 * a source that can't be used, -ENOTDIR when `control` is no directory, -ENOMEM, -EMFILE, -ENFILE,
 * -EAGAIN (no thread); `why` has the words, *out is NULL and nothing is left behind. Threads: any.
 * Signals: no.  Callbacks: allowed.  Fork: see safestart_after_fork().  Since: 1.0
 */
int safestart_open(struct safestart **out, const struct safestart_conf *conf, char *why,
		   size_t why_size);

/**
 * Wait until a first generation is live. With source=none there is none to wait for: 0 at once. Why
 * there is none yet, says safestart_last_outcome(). In a forked child an inherited generation
 * counts, though its data is NULL. Returns: 0; -ETIMEDOUT; -ECANCELED after shutdown; -EDEADLK in a
 * callback, and with thread=no on the dispatching thread while a LATER run is open; -EINVAL when ss
 * is NULL. Threads: any.  Signals: no.  Callbacks: -EDEADLK.  Fork: revives.  Since: 1.0
 */
int safestart_wait_ready(struct safestart *ss, int timeout_ms);

/**
 * Make the handle this forked child's own: threads are started, a run begins at once in which
 * every node counts as added, generations go on counting. Before it the child reads the inherited
 * nodes, with NULL as data (the pools belong to the parent and are never retired
 * here), and requests are kept. Data is NULL until that run has put the child's own generation
 * live, which is not what safestart_wait_ready() waits for; safestart_wait() for a request made
 * here is. Calling it again, or in a process that did not fork, changes nothing. A child forked
 * inside a callback must not return from it. Not needed by a child that execs or exits at once.
 * (The library looks after liburcu-bp around fork, for the whole process: a host that uses it as
 * well must not call its fork handlers a second time.)
 * Returns: 0; -ENOMEM, -EMFILE, -ENFILE or -EAGAIN: call it again when there is room; -EINVAL when
 * ss is NULL. Threads: any.  Signals: no.  Callbacks: allowed.  Fork: this is it.  Since: 1.0
 */
int safestart_after_fork(struct safestart *ss);

/**
 * No new runs. Every open ticket is answered CANCELLED at once, the running one's included; only a
 * run whose set is live, with no `restart` left to call, is answered by its true outcome when it
 * ends. safestart_run_cancelled() tells the callback inside. Reading goes on working. Never blocks;
 * again is fine.
 * Returns: 0; -EINVAL when ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the child's only.  Since: 1.0
 */
int safestart_shutdown(struct safestart *ss);

/**
 * Shut down, wait for the callback inside, for open LATER runs, for threads inside wait and for
 * borrowers, together at most run_timeout; then retire everything and free the handle. Snapshots
 * that are still owned outlive it. Nobody may read any more once it was called, also if it gives
 * up; the log then says what it waited for, unless that is `log` itself. NULL is fine. With
 * thread=no it carries out what is left on the calling thread. In a forked child that was not
 * revived nothing of the application's is called. Returns: 0 and ss is gone; -ETIMEDOUT: still
 * valid, call again; -EDEADLK in a callback, and with thread=no while a LATER run is open (finish
 * it, then call again: still valid); -EBUSY: thread=no and another thread is in dispatch (still
 * valid). Threads: one, nobody else using ss but in wait.  Signals: no.  Callbacks: -EDEADLK. Fork:
 * the child's only.  Since: 1.0
 */
int safestart_close(struct safestart *ss);

/* ---- Asking, and being answered ---------------------------------------- */

/**
 * Ask for the node locations to be applied; returns without waiting. The run that covers the
 * request begins to read after this call and sees everything the caller wrote before it. Requests
 * in close succession share one run and one ticket. Takes no lock, allocates nothing, keeps errno,
 * is never refused because of its rate.
 * Returns: the ticket of the batch that covers this request, for safestart_wait(); 0 when ss is
 *   NULL or shut down. Tickets start at 1 and rise by 1 a batch.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: kept until the child is revived.
 * Since: 1.0
 */
uint64_t safestart_request_restart(struct safestart *ss);

/**
 * As safestart_request_restart(), with flags (enum safestart_request_flag, or-ed) and a reason in
 * words (NULL: none; its first 127 bytes are kept, of the first reason given in a batch).
 * Returns: the ticket; 0 when ss is NULL or shut down, or flags has a bit that this version does
 * not know. Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: kept until the child is
 * revived.  Since: 1.0
 */
uint64_t safestart_request(struct safestart *ss, uint32_t flags, const char *reason);

/**
 * Wait for a ticket's one and only answer. A waiter that gives up changes nothing for others.
 * `outcome` may be NULL; otherwise its `size` has to be set. With thread=no the thread that
 * last dispatched carries out the work from here.
 * Returns: 0 when answered, whatever the verdict; -ETIMEDOUT with the outcome filled in as PENDING
 * and what is being waited for; -EDEADLK in a callback, and with thread=no on the dispatching
 * thread while a LATER run is open (unless timeout_ms is 0); -EINVAL: NULL, a ticket never issued,
 * or outcome->size too small; -ENODATA: answered, but no longer kept (the last 1024 are). Threads:
 * any.  Signals: no.  Callbacks: -EDEADLK.  Fork: revives; tickets from before the fork are
 * answered by the child's first run.  Since: 1.0
 */
int safestart_wait(struct safestart *ss, uint64_t ticket, int timeout_ms,
		   struct safestart_outcome *outcome);

/**
 * How the newest run ended, asked for or not.
 * Returns: 0; -EAGAIN before the first run has ended; -EINVAL: NULL or outcome->size too small.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_last_outcome(struct safestart *ss, struct safestart_outcome *outcome);

/* ---- Telling it the nodes (source=push) -------------------------------- */

/**
 * Replace the whole desired set by a Prometheus file_sd document and ask for it to be applied; the
 * last call wins: [{"targets":["10.0.0.1:8087"],"labels":{"id":"riak-1","zone":"a"}}]. Unusable
 * entries are quarantined, guard rails are judged by the run. The set is kept even when the run
 * refuses it, so that a forced request can apply it. Returns: 0 and the ticket in *ticket (may be
 * NULL); -EINVAL malformed, with the reason in `why`, nothing changed; -E2BIG, -ENOMEM likewise;
 * -ENOTSUP when the source is not push; -ECANCELED after shutdown. Threads: any.  Signals: no.
 * Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_nodes_replace(struct safestart *ss, const char *json, uint64_t *ticket, char *why,
			    size_t why_size);

/**
 * Add one node to the desired set, or give the one with this id another address or incarnation; its
 * labels stay. NULL as incarnation keeps the old one. When nothing was ever pushed it starts
 * from the set that is live, or that last_good keeps. Asks for the set to be applied, always:
 * announcing twice is harmless. Returns: 0 and the ticket in *ticket (may be NULL); -EINVAL for a
 * bad id or address; -ENOMEM; -E2BIG when max_nodes is reached; -ENOTSUP when the source is not
 * push; -ECANCELED after shutdown. Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.
 * Since: 1.0
 */
int safestart_node_announce(struct safestart *ss, const char *id, const char *address,
			    const char *incarnation, uint64_t *ticket);

/**
 * Take one node out of the desired set and ask for it to be applied.
 * Returns: 0 and the ticket in *ticket (may be NULL); -ENOENT no such id in the desired set;
 * -EINVAL NULL; -ENOMEM; -ENOTSUP when the source is not push; -ECANCELED after shutdown. Threads:
 * any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_node_withdraw(struct safestart *ss, const char *id, uint64_t *ticket);

/**
 * Say how a real request to a node went: 0 worked, anything else is how it failed, an errno or
 * -errno, which is told with the node's state (1 and -1 say no more than that it failed). The
 * newest report makes the node proven or failing. One load when nothing changes by it. The node has
 * to be from a snapshot that is borrowed or owned. NULL is fine. Returns: 0. Threads: any. Signals:
 * safe.  Callbacks: allowed.  Fork: counts for the child's own process only.  Since: 1.0
 */
int safestart_node_report(const struct safestart_node *node, int error);

/**
 * What is known of a node in this process.
 * Returns: enum safestart_node_state, with the reason or an explanation in `why`; -EINVAL when ss
 * or id is NULL. Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
int safestart_node_state(struct safestart *ss, const char *id, char *why, size_t why_size);

/* ---- Reading ----------------------------------------------------------- */

/**
 * Borrow the live snapshot: for the hot path. Until safestart_read_unlock() on the same thread the
 * snapshot, its nodes and their data stay valid. Don't block, don't fork and don't close inside,
 * and call nothing that is not signal-safe; a borrower that stays delays what is retired, never the
 * next reload. Grace periods are liburcu-bp's, one for the whole process: a borrower of any handle
 * delays what every handle retires, and fork and close. May be nested. A thread's first read is
 * registered with liburcu, which ends the process by abort() if it has no memory for that: read
 * once early where that matters. Returns: a snapshot, never NULL (ss must not be NULL); before the
 * first load generation 0, empty. Threads: any, unlock on the same one.  Signals: safe.  Callbacks:
 * allowed.  Fork: safe, see safestart_after_fork().  Since: 1.0
 */
const struct safestart_snapshot *safestart_read_lock(struct safestart *ss);

/**
 * End a borrow begun by safestart_read_lock() on this thread.
 * Threads: the borrower's.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
void safestart_read_unlock(struct safestart *ss);

/**
 * Own the live snapshot: for a request that outlives the call, a coroutine, a language with a
 * garbage collector. It stays valid until safestart_snapshot_release(), on any thread, after close
 * too. Returns: a snapshot, never NULL (ss must not be NULL). Threads: any.  Signals: safe.
 * Callbacks: allowed.  Fork: the child has a count of its own.  Since: 1.0
 */
struct safestart_snapshot *safestart_snapshot_acquire(struct safestart *ss);

/**
 * Give an owned snapshot back; once per acquire. While the handle is open nothing of the
 * application's is called from here; after close, the last owner's release calls `retire`
 * and `retire_node` (and is then not signal-safe). NULL is fine.
 * Threads: any.  Signals: safe while the handle is open.  Callbacks: allowed.  Fork: safe.
 * Since: 1.0
 */
void safestart_snapshot_release(struct safestart_snapshot *snapshot);

/**
 * The number of the live generation, by one load: lets a binding keep its own copy of the nodes
 * until it changes. A read that follows finds this generation or a later one.
 * Returns: the generation; 0 before the first load and when ss is NULL.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: safe.  Since: 1.0
 */
uint64_t safestart_generation(const struct safestart *ss);

/* The getters below take a snapshot or node that is borrowed, owned or a run's (none may be NULL),
 * and what they return is valid as long as that. Threads: any.  Signals: safe
 * (safestart_snapshot_json: no).  Callbacks: allowed.  Fork: safe; data is NULL in a child.
 * Since: 1.0 */

/** Returns: the snapshot's generation; a run's candidate has the number it will have once live. */
uint64_t safestart_snapshot_generation(const struct safestart_snapshot *snapshot);
/** Returns: how many nodes it has. */
size_t safestart_snapshot_size(const struct safestart_snapshot *snapshot);
/** Returns: the node at index, in the order of ids (byte by byte); NULL past the end. */
const struct safestart_node *safestart_snapshot_at(const struct safestart_snapshot *snapshot,
						   size_t index);
/** Returns: the node with that id; NULL when there is none. */
const struct safestart_node *safestart_snapshot_find(const struct safestart_snapshot *snapshot,
						     const char *id);
/** Returns: what safestart_run_set_data() hung on it; NULL: nothing, or inherited by a fork. */
void *safestart_snapshot_data(const struct safestart_snapshot *snapshot);
/** Returns: the nodes as a file_sd document, one group a node, for bindings; freed with
 * safestart_free(); NULL when out of memory. */
char *safestart_snapshot_json(const struct safestart_snapshot *snapshot);

/** Returns: the node's id. */
const char *safestart_node_id(const struct safestart_node *node);
/** Returns: host name or address, an IPv6 address without its brackets. */
const char *safestart_node_host(const struct safestart_node *node);
/** Returns: the port, in host byte order. */
uint16_t safestart_node_port(const struct safestart_node *node);
/** Returns: the value of a label; NULL: none. "id" is the node's id. */
const char *safestart_node_label(const struct safestart_node *node, const char *name);
/** Returns: the value of the label at index, ordered by name, its name in *name (may be NULL); NULL
 * past the end. `id` is not among them. */
const char *safestart_node_label_at(const struct safestart_node *node, size_t index,
				    const char **name);
/** Returns: what safestart_run_set_node_data() hung on it; NULL: nothing, or inherited by a fork.
 */
void *safestart_node_data(const struct safestart_node *node);

/* ---- Inside a run ------------------------------------------------------ */

/* A run is valid while `prepare` or `restart` is inside it, and after SAFESTART_LATER until
 * safestart_run_finish() is called; its snapshots and their nodes as long as the run. */

/**
 * Returns: the run's number, as in its outcome and in the log; runs count from 1.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
uint64_t safestart_run_number(const struct safestart_run *run);

/**
 * Returns: the snapshot that was live when the run began.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
const struct safestart_snapshot *safestart_run_current(const struct safestart_run *run);

/**
 * Returns: the snapshot that will be live; in `restart` the one that is. Rejected nodes stay in it
 * until commit. Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.
 * Since: 1.0
 */
const struct safestart_snapshot *safestart_run_candidate(const struct safestart_run *run);

/**
 * One difference between the two, by index from 0, in the order of ids; *kind gets an enum
 * safestart_change. Returns: the candidate's node for added and changed, the live one for removed;
 * NULL past the end. Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.
 * Since: 1.0
 */
const struct safestart_node *safestart_run_change(const struct safestart_run *run, size_t index,
						  int *kind);

/**
 * Leave one added or changed node out of this set: a changed one keeps its old entry, the others
 * apply. It is quarantined with `reason` (may be NULL) and tried again, with backoff. Only in
 * `prepare` and before finish. Returns: 0; -ENOENT no such node in the candidate; -EINVAL a node
 * that did not change, or not in prepare; -ENOMEM. Threads: any.  Signals: no.  Callbacks: allowed.
 * Fork: the parent's only.  Since: 1.0
 */
int safestart_run_reject(struct safestart_run *run, const char *id, const char *reason);

/**
 * Hang data on a node of the candidate. The node owns it from here: it is retired with the last
 * generation that has the node, or soon after the run if the run fails or the node is rejected. A
 * node that does not change in later generations inherits it. Passing the pointer that the live
 * node of this id has keeps it (one retire in the end). Again replaces. Only in `prepare` and
 * before finish. Returns: 0; -ENOENT not a node of the candidate; -EINVAL not in prepare; -ENOMEM:
 * not taken, still yours. Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's
 * only.  Since: 1.0
 */
int safestart_run_set_node_data(struct safestart_run *run, const struct safestart_node *node,
				void *data);

/**
 * Hang data on the generation. Without it the generation's data is NULL. The pointer that the live
 * generation has may be passed on; any other is owned and retired as above. Only in `prepare` and
 * before finish. Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.
 * Since: 1.0
 */
void safestart_run_set_data(struct safestart_run *run, void *data);

/**
 * Leave a number in the run's outcome, as its `status`: an exit code, say. With lock_share the
 * other processes that this run answers find it in theirs. The last call counts; only what
 * `restart` left before it ended in time. Threads: any.  Signals: safe.  Callbacks: allowed.  Fork:
 * the parent's only.  Since: 1.0
 */
void safestart_run_set_status(struct safestart_run *run, int status);

/**
 * Is it pointless to go on?
 * Returns: 1 when the deadline has passed or the handle was shut down, else 0.
 * Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_cancelled(const struct safestart_run *run);

/**
 * Finish what answered SAFESTART_LATER: 0 or -errno (positive is a mistake and taken as -EINVAL).
 * Exactly once for each LATER, also when the run has been cancelled: until then its memory is kept
 * for you. May be called before the callback has returned. The run must not be used after it.
 * Returns: 0; -ESTALE: too late, the result is ignored, what was hung on the run will be retired.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: the parent's only.  Since: 1.0
 */
int safestart_run_finish(struct safestart_run *run, int error);

/* ---- Driven by the application's event loop (thread=no) ---------------- */

/**
 * The descriptor to poll for reading (level-triggered): when it is readable, call
 * safestart_dispatch(). Don't read, close or change it. Its number stays the same in a forked
 * child, where an epoll set from before the fork goes on watching the parent's: add it to one of
 * the child's own. Returns: a descriptor, the handle's own, valid until close; -EINVAL when ss is
 * NULL. Threads: any.  Signals: safe.  Callbacks: allowed.  Fork: the child has its own under this
 * number.  Since: 1.0
 */
int safestart_fd(struct safestart *ss);

/**
 * Do what is due, callbacks included; wait for something to become due for at most timeout_ms. When
 * more is due than a few runs it returns in between, and the descriptor stays readable. Returns: 0;
 * -EBUSY another thread is in it (with thread=yes the library's always is); -EDEADLK in a callback;
 * -ECANCELED when it was shut down and nothing is left to do; -EINVAL when ss is NULL. Threads:
 * any, one at a time.  Signals: no.  Callbacks: -EDEADLK.  Fork: revives.  Since: 1.0
 */
int safestart_dispatch(struct safestart *ss, int timeout_ms);

/* ---- What is going on -------------------------------------------------- */

/**
 * Everything an operator asks, as one JSON object: generation, nodes with their states, the run in
 * progress, the last outcome, counters. Never waits for a callback. "digest" and "desired_digest"
 * are of the live and of the desired set: equal sets (nodes, addresses, labels) have equal digests,
 * in every process and on every host; 16 hexadecimal digits, null before anything was desired.
 * Returns: a string, freed with safestart_free(); NULL when out of memory or ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
char *safestart_status_json(struct safestart *ss);

/**
 * The same as figures in the Prometheus exposition format, each with the label name="...".
 * Returns: a string, freed with safestart_free(); NULL when out of memory or ss is NULL.
 * Threads: any.  Signals: no.  Callbacks: allowed.  Fork: revives.  Since: 1.0
 */
char *safestart_metrics_text(struct safestart *ss);

#ifdef __cplusplus
}
#endif
#endif
